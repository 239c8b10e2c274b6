//! The removal of a whole repository: its tags, and then a collection of it alone, so that a push that goes on beside it
//! either finds its parts gone before it is acknowledged, or keeps them.

use std::time::SystemTime;

use super::mark::{Scope, Spare};
use super::plan::Garbage;
use super::references::Known;
use super::{Collector, Error, Mode, Report, Watcher};
use crate::oci::RepositoryName;
use crate::storage::collection::{EpochId, Fingerprints, Manifests};

impl Collector {
    /// Removes the tags, manifests and links of the repository. Its content goes with the next collection, as far as no
    /// other repository needs it.
    ///
    /// # Errors
    /// [`Error::NoRepository`] when nothing is there; otherwise as [`Collector::collect`]. Tags may have gone then.
    pub async fn remove_repository(&self, name: &RepositoryName, tell: Watcher<'_>) -> Result<Report, Error> {
        let mut report = Report { repositories: 1, ..Report::default() };
        let removing = self.config.mode == Mode::Remove;
        if removing {
            report.recovered = self.recover(tell).await?;
            self.refuse_forgetful_store().await?;
            self.refuse_mixed_use().await?;
        }
        let Manifests { tags, revisions } = self.store.survey_manifests(name).await?;
        if tags.is_empty() && revisions.is_empty() && !self.store.repository_exists(name).await? {
            return Err(Error::NoRepository(name.clone()));
        }
        if !removing {
            report.eligible.manifests = revisions.len() as u64;
            report.eligible.layer_links = self.count_links(name).await?;
            return Ok(report);
        }
        for tag in &tags {
            self.store.delete_tag(name, tag).await?;
        }
        let scope = Scope::Repository(name);
        let known = Known::default();
        // Nothing has a tag any more, and nothing is too young.
        let spare = Spare::YoungerThan(SystemTime::now() + std::time::Duration::from_hours(24));
        let mut marked = self.mark(scope, spare, &known, tell).run().await?;
        let garbage = Garbage::of_repositories(&mut marked);
        report.eligible = garbage.tally;
        self.work_off(scope, EpochId::random(), garbage, &known, tell, &mut report).await?;
        if let Some(mut noted) = self.store.tagged_repositories().await? {
            noted.retain(|other| other != name);
            self.store.note_tagged_repositories(&noted).await?;
        }
        Ok(report)
    }

    async fn count_links(&self, name: &RepositoryName) -> Result<u64, Error> {
        let (mut links, mut from) = (0, None);
        loop {
            let page = self.store.survey_links(name, &Fingerprints::new(), from).await?;
            links += page.found.len() as u64;
            from = page.next;
            if from.is_none() {
                return Ok(links);
            }
        }
    }
}
