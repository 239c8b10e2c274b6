//! The removal of what a verdict dooms: manifests, then links, then content; and the certainty that it is over.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::bin::{Keeping, Swept};
use super::collect::Watcher;
use super::pulse::Pulse;
use super::references::{self, Known};
use super::{Collection, Error, Event};
use crate::oci::{Digest, RepositoryName};
use crate::storage::collection::{EpochId, Key};
use crate::storage::driver::Latency;
use crate::storage::{Error as StorageError, Retry, Store};

/// Things removed between two looks whether this collector may go on: what a request to a bucket takes.
const AT_ONCE: usize = 1000;

/// Such removals under way at the same time.
const SIDE_BY_SIDE: usize = 4;

/// Attempts at one removal that fails for a reason likely to pass.
const ATTEMPTS: u32 = 6;

/// What went before the removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// Somebody who died may have begun it, and requests of theirs may still be on their way.
    SomebodyElse,
}

/// Removes what is doomed.
pub(super) struct Sweep<'a> {
    pub(super) store: &'a Store,
    pub(super) config: &'a Collection,
    pub(super) pulse: &'a Pulse,
    pub(super) epoch: EpochId,
    pub(super) tell: Watcher<'a>,
}

impl Sweep<'_> {
    /// Removes `doomed` and returns when it is certain that no request to remove any of it can take effect any more. A
    /// request to a bucket that was answered is over; one that was not may arrive as long as it is good for.
    pub(super) async fn run(&self, known: &Known, doomed: &[Key], before: Before) -> Result<Swept, Error> {
        let (store, limit) = (self.store, self.config.manifest_limit);
        let keeping = self.begin_bin(doomed, before).await?;
        let mut revisions: BTreeMap<&RepositoryName, Vec<(Digest, Option<Digest>)>> = BTreeMap::new();
        let mut links = Vec::new();
        let mut blobs = Vec::new();
        for key in doomed {
            match key {
                Key::Revision(name, digest) => {
                    let subject = subject(store, known, limit, name, digest).await?;
                    revisions.entry(name).or_default().push((*digest, subject));
                }
                Key::Link(name, digest) => links.push((name.clone(), *digest)),
                Key::Blob(digest) => blobs.push(*digest),
            }
        }
        let mut certain = before == Before::Nothing;
        let parts = revisions.iter().flat_map(|(name, doomed)| doomed.chunks(AT_ONCE).map(move |part| (*name, part)));
        let parts =
            parts.map(|(name, part)| self.persistently(move |issued| store.sweep_revisions(name, part, issued)));
        certain &= all_certain(parts.collect()).await?;
        let parts = links.chunks(AT_ONCE).map(|part| self.links(part, keeping));
        certain &= all_certain(parts.collect()).await?;
        let mut swept = Swept::of(keeping);
        let parts: Vec<_> = blobs.chunks(AT_ONCE).map(|part| self.content(part, keeping)).collect();
        let mut parts = stream::iter(parts).buffer_unordered(SIDE_BY_SIDE);
        while let Some((stay, part)) = parts.try_next().await? {
            swept.not_kept.extend(stay);
            certain &= part;
        }
        if !certain && store.latency() == Latency::Remote {
            (self.tell)(Event::WaitingForRequests(self.config.request_lifetime));
            tokio::time::sleep(self.config.request_lifetime).await;
        }
        Ok(swept)
    }

    /// Moves links into the bin, and removes what cannot be moved there. Gives whether the removal is certain to be over.
    async fn links(&self, part: &[(RepositoryName, Digest)], keeping: Keeping) -> Result<bool, Error> {
        let stay = match keeping {
            Keeping::Until(_) => self.attempt(|_| self.store.put_links_into_bin(self.epoch, part)).await?.0,
            Keeping::Not(_) => part.to_vec(),
        };
        Ok(stay.is_empty() || self.persistently(|issued| self.store.sweep_links(&stay, issued)).await?)
    }

    /// Moves content into the bin, and removes what cannot be moved there. Gives that, and whether the removal is certain to
    /// be over.
    async fn content(&self, part: &[Digest], keeping: Keeping) -> Result<(Vec<Digest>, bool), Error> {
        let stay = match keeping {
            Keeping::Until(_) => self.attempt(|_| self.store.put_into_bin(self.epoch, part)).await?.0,
            Keeping::Not(_) => part.to_vec(),
        };
        let certain = stay.is_empty() || self.persistently(|issued| self.store.sweep_blobs(&stay, issued)).await?;
        Ok((stay, certain))
    }

    /// Does `work`, again while it fails for a reason likely to pass. Whether the first attempt succeeded, so that no
    /// request is left that may take effect later.
    async fn persistently<F: Future<Output = Result<(), StorageError>>>(
        &self,
        work: impl Fn(SystemTime) -> F,
    ) -> Result<bool, Error> {
        Ok(self.attempt(work).await?.1 == 1)
    }

    /// The same; gives the answer and the number of attempts.
    async fn attempt<T, F: Future<Output = Result<T, StorageError>>>(
        &self,
        work: impl Fn(SystemTime) -> F,
    ) -> Result<(T, u32), Error> {
        let mut attempt = 1;
        loop {
            match work(self.pulse.issue()?).await {
                Ok(answer) => return Ok((answer, attempt)),
                Err(StorageError::Backend { retry: Retry::Later, .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Does all `parts`, some side by side; whether each was certain to be over.
async fn all_certain(parts: Vec<impl Future<Output = Result<bool, Error>>>) -> Result<bool, Error> {
    stream::iter(parts).buffer_unordered(SIDE_BY_SIDE).try_fold(true, async |all, part| Ok(all && part)).await
}

/// The subject of a doomed manifest, whose entry in the referrers index goes with it.
async fn subject(
    store: &Store,
    known: &Known,
    limit: u64,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Digest>, Error> {
    if let Some(references) = known.get(digest) {
        return Ok(references.subject);
    }
    match references::read(store, name, digest, digest, limit).await {
        Ok(references) => Ok(references.and_then(|references| references.subject)),
        // It is doomed already. An entry without its manifest is never shown.
        Err(Error::Unreadable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
