//! Scrubbing: reads what is stored and judges it. Works beside running registries and collectors: whatever looks wrong is
//! looked at again when pushes and deletions that were under way have ended, and only what is wrong both times is told.
//!
//! Memory is bounded by what one repository holds, and 24 bytes for each content of the store.

mod contents;
mod finding;
mod judge;
mod manifest;
mod mend;
mod problem;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use self::contents::{Contents, Wholeness};
use self::judge::Judge;
use super::Error;
use crate::oci::{Algorithm, Digest, Hasher, RepositoryName};
use crate::registry::Validation;
use crate::storage::collection::{Fingerprint, fingerprint};
use crate::storage::driver::{EntryKind, Latency, ListPage, More};
use crate::storage::inspection::{Lying, Section, Thing};
use crate::storage::{Holding, Result as StorageResult, Store};

pub use finding::{Finding, Mending, ScrubReport};
pub use problem::{Problem, Severity};

/// Names asked for at once.
const NAMES_AT_ONCE: usize = 1000;

/// Contents hashed at once on a disk of this machine.
const LOCAL_HASHES: usize = 2;

/// Suspicions kept until they are looked at again.
const MOST_SUSPICIONS: usize = 20_000;

/// How to scrub.
#[derive(Debug, Clone)]
pub struct Scrub {
    /// How closely content is looked at.
    pub reading: ScrubReading,
    /// Whether what can be mended without guessing is mended.
    pub repairs: Repairs,
    /// Time after which what looked wrong is looked at again: longer than a push or a deletion takes from its first write
    /// to its last.
    pub settle: Duration,
    /// Largest manifest read, bytes.
    pub manifest_limit: u64,
    /// Which children of an index must be there.
    pub validation: Validation,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            reading: ScrubReading::Sizes,
            repairs: Repairs::None,
            settle: Duration::from_secs(6),
            manifest_limit: 64 * 1024 * 1024,
            validation: Validation::default(),
        }
    }
}

/// `--read-data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubReading {
    /// Links and manifests are read, other content only where its size is odd. In a bucket, which writes objects as a whole,
    /// links of the right size are believed.
    Sizes,
    /// All of it.
    Everything,
}

/// `--repair`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repairs {
    /// Nothing is written.
    None,
    /// What can be mended without guessing is.
    Apply,
}

/// Reads what is stored and judges it.
#[derive(Debug)]
pub struct Scrubber {
    store: Store,
    config: Scrub,
}

/// Something that looked wrong.
#[derive(Debug, Clone)]
enum Suspicion {
    Content(Digest),
    Foreign(Box<Finding>),
    Thing(RepositoryName, Thing),
}

impl Scrubber {
    /// A scrubber of what lies in `store`.
    #[must_use]
    pub fn new(store: Store, config: Scrub) -> Self {
        Self { store, config }
    }

    /// One look at everything. `tell` is called for each finding.
    ///
    /// # Errors
    /// The store failed in a way that leaves open what is there. Single objects that cannot be read are findings.
    pub async fn scrub(&self, tell: &(dyn Fn(&Finding) + Send + Sync)) -> Result<ScrubReport, Error> {
        let mut report = ScrubReport::default();
        let mut suspicions = Vec::new();
        let contents = self.content(&mut report, &mut suspicions).await?;
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Anything, last, NAMES_AT_ONCE).await?;
            for name in &page.names {
                self.repository(name, &contents, &mut report, &mut suspicions).await?;
                if suspicions.len() >= MOST_SUSPICIONS {
                    self.confirm(&contents, std::mem::take(&mut suspicions), tell, &mut report).await?;
                }
            }
            match (page.more, page.names.last()) {
                (More::Yes, Some(last)) => after = Some(last.clone()),
                _ => break,
            }
        }
        self.confirm(&contents, suspicions, tell, &mut report).await?;
        Ok(report)
    }

    /// Looks at all content.
    async fn content(&self, report: &mut ScrubReport, suspicions: &mut Vec<Suspicion>) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        let empty = Algorithm::ALL.map(|algorithm| Hasher::digest(algorithm, b""));
        let at_once = match self.store.latency() {
            Latency::Local => LOCAL_HASHES,
            Latency::Remote => self.store.questions_at_once(),
        };
        let mut after = None;
        loop {
            let page = self.store.inspect_content(after).await?;
            let mut to_hash = Vec::new();
            for object in page.objects {
                let (digest, size) = match object {
                    Lying::Known(digest, size) => (digest, size),
                    Lying::Foreign(path) => {
                        suspicions.push(Suspicion::Foreign(Box::new(Finding::foreign(None, &path))));
                        continue;
                    }
                };
                report.contents += 1;
                report.bytes += size;
                contents.insert(&digest, size);
                if self.config.reading == ScrubReading::Everything {
                    to_hash.push(digest);
                } else if size == 0 && !empty.contains(&digest) {
                    contents.judge(&digest, Wholeness::Damaged);
                    suspicions.push(Suspicion::Content(digest));
                }
            }
            report.hashed += to_hash.len() as u64;
            let hashes = to_hash.into_iter().map(|digest| async move {
                Ok::<_, Error>((digest, soft(self.store.digest_of_content(&digest).await)?))
            });
            let mut hashes = stream::iter(hashes.collect::<Vec<_>>()).buffer_unordered(at_once);
            while let Some((digest, hashed)) = hashes.try_next().await? {
                if !matches!(hashed, Ok(None)) && hashed != Ok(Some(digest)) {
                    contents.judge(&digest, Wholeness::Damaged);
                    suspicions.push(Suspicion::Content(digest));
                }
            }
            after = page.next;
            if after.is_none() {
                contents.sort();
                return Ok(contents);
            }
        }
    }

    /// Looks at one repository: its links, its manifests and tags, its referrers index.
    async fn repository(
        &self,
        name: &RepositoryName,
        contents: &Contents,
        report: &mut ScrubReport,
        suspicions: &mut Vec<Suspicion>,
    ) -> Result<(), Error> {
        report.repositories += 1;
        let mut judge = Judge::new(&self.store, &self.config, name, contents);
        self.tag_names(name, suspicions).await?;
        self.section(&mut judge, Section::Layers, report, suspicions).await?;
        judge.note_manifests().await?;
        self.section(&mut judge, Section::Manifests, report, suspicions).await?;
        self.section(&mut judge, Section::Referrers, report, suspicions).await
    }

    async fn tag_names(&self, name: &RepositoryName, suspicions: &mut Vec<Suspicion>) -> Result<(), Error> {
        let mut page = ListPage { after: None, limit: NAMES_AT_ONCE };
        loop {
            let listing = self.store.list_tags(name, &page).await?;
            let directories = listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
            for entry in directories.filter(|entry| entry.name.parse::<crate::oci::Tag>().is_err()) {
                let path = self.store.tag_directory(name, &entry.name);
                suspicions.push(Suspicion::Foreign(Box::new(Finding::foreign(Some(name), &path))));
            }
            page.after = listing.entries.last().map(|entry| entry.name.clone());
            if listing.more == More::No || page.after.is_none() {
                return Ok(());
            }
        }
    }

    async fn section(
        &self,
        judge: &mut Judge<'_>,
        section: Section,
        report: &mut ScrubReport,
        suspicions: &mut Vec<Suspicion>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.inspect_repository(judge.name, section, after).await?;
            let mut things = Vec::with_capacity(page.objects.len());
            for object in page.objects {
                match object {
                    Lying::Known(thing, size) => things.push((thing, size)),
                    Lying::Foreign(path) => {
                        suspicions.push(Suspicion::Foreign(Box::new(Finding::foreign(Some(judge.name), &path))));
                    }
                }
            }
            let looked = {
                let judge = &*judge;
                let looks = things.into_iter().map(|(thing, size)| async move {
                    let suspect = judge.first_look(&thing, size).await?;
                    Ok::<_, Error>((thing, suspect))
                });
                let looks: Vec<_> = looks.collect();
                let looked = stream::iter(looks).buffered(self.store.questions_at_once());
                looked.try_collect::<Vec<(Thing, Option<Thing>)>>().await?
            };
            for (thing, suspect) in looked {
                count(&thing, report);
                match suspect {
                    Some(suspect) => suspicions.push(Suspicion::Thing(judge.name.clone(), suspect)),
                    None => judge.is_right(&thing),
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Looks again at what looked wrong, when whatever was under way has ended, and tells what still is; mends it if asked.
    async fn confirm(
        &self,
        contents: &Contents,
        suspicions: Vec<Suspicion>,
        tell: &(dyn Fn(&Finding) + Send + Sync),
        report: &mut ScrubReport,
    ) -> Result<(), Error> {
        if suspicions.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(self.config.settle).await;
        contents.forget_judgements();
        let mut findings = Vec::new();
        let mut seen = HashSet::new();
        for suspicion in suspicions {
            match suspicion {
                Suspicion::Foreign(finding) => findings.push((None, *finding)),
                Suspicion::Content(digest) => {
                    findings.extend(self.judge_content(contents, &digest).await?.map(|finding| (None, finding)));
                }
                Suspicion::Thing(name, thing) => {
                    // What is wrong with a tag shows at each entry of its history.
                    if seen.insert((name.clone(), thing.clone())) {
                        let found = Judge::new(&self.store, &self.config, &name, contents).judge(&thing).await?;
                        findings.extend(found.into_iter().map(|finding| (Some(name.clone()), finding)));
                    }
                }
            }
        }
        let missing: HashSet<(RepositoryName, Fingerprint)> = findings
            .iter()
            .filter(|(_, finding)| finding.problem == Problem::PartMissing)
            .filter_map(|(name, finding)| Some((name.clone()?, fingerprint(finding.part.as_ref()?))))
            .collect();
        for (name, mut finding) in findings {
            if let (Problem::DanglingLayerLink, Some(part), Some(name)) = (finding.problem, &finding.part, &name)
                && missing.contains(&(name.clone(), fingerprint(part)))
            {
                // The manifest that needs it is told of.
                continue;
            }
            if let (Repairs::Apply, Some(name), Mending::Possible) = (self.config.repairs, &name, finding.mending) {
                self.mend(contents, name, &mut finding).await?;
            }
            match (finding.mending, finding.severity) {
                (Mending::Done, _) => report.mended += 1,
                (_, Severity::Error) => report.errors += 1,
                (_, Severity::Warning) => report.warnings += 1,
            }
            tell(&finding);
        }
        Ok(())
    }

    async fn judge_content(&self, contents: &Contents, digest: &Digest) -> Result<Option<Finding>, Error> {
        let path = self.store.content_path(digest);
        let (problem, found) = match soft(contents.wholeness(&self.store, digest).await)? {
            Ok(Wholeness::Whole | Wholeness::Gone) => return Ok(None),
            Ok(Wholeness::Damaged) => (Problem::WrongContent, "the bytes have another digest".to_owned()),
            Err(reason) => (Problem::Unreadable, reason),
        };
        Ok(Some(Finding::of_content(problem, digest, &path, found)))
    }
}

fn count(thing: &Thing, report: &mut ScrubReport) {
    match thing {
        Thing::Layer(_) => report.layer_links += 1,
        Thing::Revision(_) => report.manifests += 1,
        Thing::Tag(_) => report.tags += 1,
        Thing::TagEntry(..) | Thing::Referrer { .. } => {}
    }
}

/// Tells what is wrong with one object from what is wrong with the store: the former is a finding, given in words.
fn soft<T>(result: StorageResult<T>) -> Result<Result<T, String>, Error> {
    use crate::storage::{Error as StorageError, Retry};
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(
            error @ (StorageError::Backend { retry: Retry::Pointless, .. }
            | StorageError::Damaged { .. }
            | StorageError::TooLarge { .. }),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
