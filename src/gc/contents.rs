//! What one repository has: its tags, its manifests and what these refer to. Judges nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::references::{self, Known, Look, References};
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::collection::{Fingerprint, Found, Manifests, fingerprint};
use crate::storage::driver::Latency;
use crate::storage::{Error as StorageError, Retry, Store};

/// Tags read by one call where calls cost more than reads.
const TAGS_AT_ONCE: usize = 4096;

/// What a repository has, as far as it was read.
pub(super) struct Contents {
    /// What its tags point to, unless that adds nothing.
    pub(super) targets: Option<Vec<Digest>>,
    pub(super) revisions: Vec<Revision>,
    pub(super) has_tags: bool,
}

/// A manifest of the repository that is being marked.
pub(super) struct Revision {
    pub(super) found: Found,
    /// Under which its content lies.
    pub(super) content: Digest,
    pub(super) references: Arc<References>,
}

/// Reads repositories.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) known: Known,
    pub(super) manifest_limit: u64,
    /// Whether to look where tags point to.
    pub(super) reads_tags: bool,
}

impl Reader {
    /// Begins to read the repository as a task of its own, so that several are understood at the same time. It ends when
    /// nobody waits for it any more.
    pub(super) fn begin(
        &self,
        name: RepositoryName,
    ) -> impl Future<Output = Result<(RepositoryName, Contents), Error>> + use<> {
        let (reader, path) = (self.clone(), name.to_string());
        let mut task = JoinSet::new();
        task.spawn(async move { reader.read(&name).await.map(|contents| (name, contents)) });
        async move {
            let source = match task.join_next().await {
                Some(Ok(read)) => return read,
                Some(Err(failed)) => failed.into(),
                None => "it was never begun".into(),
            };
            Err(StorageError::Backend { operation: "mark", path, retry: Retry::Pointless, source }.into())
        }
    }

    /// Reads what the repository has.
    pub(super) async fn read(&self, name: &RepositoryName) -> Result<Contents, Error> {
        let Manifests { tags, revisions: mut found } = self.store.survey_manifests(name).await?;
        let targets = if self.reads_tags { Some(self.targets(name, &tags, &mut found).await?) } else { None };
        Ok(Contents { targets, revisions: self.revisions(name, found).await?, has_tags: !tags.is_empty() })
    }

    /// What the tags point to, all of which is in `found` afterwards. A tag that points to nothing stops everything: either it or
    /// the listing is wrong.
    async fn targets(&self, name: &RepositoryName, tags: &[Tag], found: &mut Vec<Found>) -> Result<Vec<Digest>, Error> {
        let targets = self.targets_of(name, tags).await?;
        let mut known: HashSet<Fingerprint> = found.iter().map(|found| fingerprint(&found.digest)).collect();
        let mut tagged = Vec::with_capacity(targets.len());
        for (tag, target) in targets {
            let Some(digest) = target else { continue };
            if !known.contains(&fingerprint(&digest)) {
                // Pushed after the manifests were listed, or removed since, or the listing was not whole.
                if !self.arrives(name, tag, &digest).await? {
                    continue;
                }
                known.insert(fingerprint(&digest));
                found.push(Found { digest, size: 0, modified: SystemTime::now() });
            }
            tagged.push(digest);
        }
        Ok(tagged)
    }

    async fn targets_of<'t>(
        &self,
        name: &RepositoryName,
        tags: &'t [Tag],
    ) -> Result<Vec<(&'t Tag, Option<Digest>)>, Error> {
        if self.store.latency() == Latency::Remote {
            let reads: Vec<_> = tags.iter().map(|tag| self.target(name, tag)).collect();
            return stream::iter(reads).buffer_unordered(self.store.questions_at_once()).try_collect().await;
        }
        let mut targets = Vec::with_capacity(tags.len());
        for tags in tags.chunks(TAGS_AT_ONCE) {
            for (tag, target) in tags.iter().zip(self.store.survey_tags(name, tags).await?) {
                targets.push((tag, readable(name, tag, target)?));
            }
        }
        Ok(targets)
    }

    /// Whether the repository has the manifest `digest` that the tag points to. It may be on its way: a push that a collector
    /// got in the way of puts its manifest again, or its tag back. `false` when the tag has moved or gone, or when a
    /// collection removed the manifest and nobody was told that it was pushed again.
    async fn arrives(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<bool, Error> {
        let begun = Instant::now();
        let mut look = Look::First;
        while self.store.survey_revision(name, digest).await?.is_none() {
            if self.target(name, tag).await?.1 != Some(*digest) {
                return Ok(false);
            }
            if look.asks_records() && self.store.is_tag_remnant(name, tag, digest).await? {
                return Ok(false);
            }
            if look == Look::Last {
                let reason = format!("it points to {digest}, which the repository does not have");
                return Err(unreadable(name, tag, reason));
            }
            look = Look::next(begun).await;
        }
        Ok(true)
    }

    /// What `tag` points to; `None` when it was removed meanwhile.
    async fn target<'t>(&self, name: &RepositoryName, tag: &'t Tag) -> Result<(&'t Tag, Option<Digest>), Error> {
        Ok((tag, readable(name, tag, self.store.survey_tag(name, tag).await)?))
    }

    /// Reads every manifest of the repository.
    async fn revisions(&self, name: &RepositoryName, found: Vec<Found>) -> Result<Vec<Revision>, Error> {
        let mut wanted = Vec::with_capacity(found.len());
        for found in found {
            let content = if found.may_lead_elsewhere() {
                match self.store.survey_revision(name, &found.digest).await? {
                    Some(content) => content,
                    None => continue,
                }
            } else {
                found.digest
            };
            wanted.push((found, content));
        }
        let pairs: Vec<_> = wanted.iter().map(|(found, content)| (found.digest, *content)).collect();
        let read = references::read_all(&self.store, name, &pairs, &self.known, self.manifest_limit).await?;
        let revisions = wanted.into_iter().zip(read);
        Ok(revisions
            .filter_map(|((found, content), references)| Some(Revision { found, content, references: references? }))
            .collect())
    }
}

/// A tag that holds no digest stops everything: it may have held one that is needed.
fn readable(
    name: &RepositoryName,
    tag: &Tag,
    target: Result<Option<Digest>, StorageError>,
) -> Result<Option<Digest>, Error> {
    match target {
        Err(error @ StorageError::Damaged { .. }) => Err(unreadable(name, tag, error.to_string())),
        other => Ok(other?),
    }
}

fn unreadable(name: &RepositoryName, tag: &Tag, reason: String) -> Error {
    Error::Unreadable { repository: name.clone(), what: format!("tag {tag}"), reason }
}
