//! Mending of what can be mended without guessing: links whose path says what they hold, and indexes that follow from
//! manifests. What was pushed is never removed, and content is never touched.

use super::contents::Contents;
use super::finding::Mend;
use super::judge::Judge;
use super::{Error, Finding, Mending, Scrubber};
use crate::oci::RepositoryName;
use crate::storage::inspection::Thing;

impl Scrubber {
    /// Mends `finding` of the repository and notes whether that did it.
    pub(super) async fn mend(
        &self,
        contents: &Contents,
        name: &RepositoryName,
        finding: &mut Finding,
    ) -> Result<(), Error> {
        let Some(mend) = finding.mend.take() else { return Ok(()) };
        let thing = match mend {
            Mend::Link(thing, target) => {
                self.store.mend_link(name, &thing, &target).await?;
                thing
            }
            Mend::Entry(subject, referrer) => {
                self.store.mend_entry(name, &subject, &referrer).await?;
                Thing::Referrer { subject, referrer: referrer.digest }
            }
            Mend::Remove(thing) => {
                self.store.remove_thing(name, &thing).await?;
                self.undo_if_needed(contents, name, &thing).await?;
                thing
            }
        };
        let left = Judge::new(&self.store, &self.config, name, contents).judge(&thing).await?;
        if !left.iter().any(|left| left.problem == finding.problem && left.path == finding.path) {
            finding.mending = Mending::Done;
        }
        Ok(())
    }

    /// Puts back an entry that somebody needs who pushed its manifest meanwhile.
    async fn undo_if_needed(&self, contents: &Contents, name: &RepositoryName, removed: &Thing) -> Result<(), Error> {
        let judge = Judge::new(&self.store, &self.config, name, contents);
        match removed {
            Thing::Referrer { subject, referrer } => {
                if let Some(Some((of, descriptor))) = judge.listed(referrer).await?
                    && of == *subject
                {
                    self.store.mend_entry(name, subject, &descriptor).await?;
                }
            }
            Thing::TagEntry(_, digest) if judge.has_revision(digest).await? => {
                self.store.mend_link(name, removed, digest).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
