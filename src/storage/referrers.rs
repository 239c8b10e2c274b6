//! The referrers index: for each subject the manifests that name it, as descriptors ready to be listed.
//!
//! distribution writes no such index, so a repository is looked through once for manifests that the index has not seen; the
//! record of what it has seen keeps that from being repeated. Everything here can be rebuilt from the manifests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::try_join;
use tracing::warn;

use super::driver::{ListPage, WriteMode};
use super::layout::RepositoryPaths;
use super::manifests::{digest_of, referrer_entry};
use super::{Error, Result, Store, found};
use crate::oci::{Algorithm, Descriptor, Digest, Manifest, RepositoryName, Tag};

/// How long a repository counts as indexed before it is listed again, in case another program writes to the same store.
const TRUSTED_FOR: Duration = Duration::from_mins(5);

/// Repositories remembered as indexed; beyond it all are forgotten, which costs one listing each.
const MOST_REMEMBERED: usize = 100_000;

/// Manifests read at once while a repository is looked through.
const PARALLEL_READS: usize = 16;

/// Largest entry or record read, bytes. A descriptor carries its manifest's annotations, so it may be nearly as large.
const LARGEST_ENTRY: u64 = 64 * 1024 * 1024;

/// Whether answering a question may add to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexWrites {
    /// What is found is kept.
    Allowed,
    /// Nothing may be written: the registry is in read-only mode.
    Forbidden,
}

/// Which repositories were looked through, and when.
#[derive(Debug, Default)]
pub(super) struct IndexedRepositories(Mutex<HashMap<RepositoryName, Instant>>);

impl IndexedRepositories {
    fn contains(&self, name: &RepositoryName) -> bool {
        let indexed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexed.get(name).is_some_and(|when| when.elapsed() < TRUSTED_FOR)
    }

    fn insert(&self, name: &RepositoryName) {
        let mut indexed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if indexed.len() >= MOST_REMEMBERED {
            indexed.clear();
        }
        indexed.insert(name.clone(), Instant::now());
    }
}

/// The children of an index that a client without a referrers API keeps under a fallback tag.
#[derive(Deserialize)]
struct FallbackIndex {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

impl Store {
    /// The digests of the manifests that name `subject`, in order: those of the index and those under the fallback tag, for
    /// which the descriptor comes along.
    pub async fn referrers_of(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        manifest_limit: u64,
        writes: IndexWrites,
    ) -> Result<BTreeMap<Digest, Option<Descriptor>>> {
        let (found, fallback, listed) = try_join!(
            self.index_referrers(name, manifest_limit, writes),
            self.fallback_referrers(name, subject, manifest_limit),
            self.listed_referrers(name, subject),
        )?;
        let found = found.into_iter().filter(|(of, _)| of == subject).map(|(_, descriptor)| descriptor);
        let described = fallback.into_iter().chain(found).map(|descriptor| (descriptor.digest, Some(descriptor)));
        // An entry of the index wins over the fallback tag: it was made from the manifest.
        Ok(described.chain(listed.into_iter().map(|digest| (digest, None))).collect())
    }

    /// The digests of the entries that the index has for `subject`.
    pub async fn listed_referrers(&self, name: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>> {
        let directories =
            Algorithm::ALL.map(|algorithm| (algorithm, RepositoryPaths(name).referrers(subject, algorithm)));
        let everything = ListPage::all();
        let listings = directories.iter().map(|(_, directory)| self.driver.list(directory, &everything));
        let listings = try_join_all(listings).await?;
        let names = directories.iter().zip(&listings);
        let digests = names.flat_map(|((algorithm, _), listing)| {
            listing.entries.iter().filter_map(|entry| digest_of(*algorithm, &entry.name))
        });
        Ok(digests.collect())
    }

    /// The descriptor of one referrer of the index; `None` when it or its manifest has gone meanwhile.
    pub async fn referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        referrer: &Digest,
    ) -> Result<Option<Descriptor>> {
        let path = RepositoryPaths(name).referrer(subject, referrer);
        let Some(content) = found(self.driver.read(&path, LARGEST_ENTRY).await)? else { return Ok(None) };
        // A torn entry can be rebuilt from its manifest and must not hide the others.
        Ok(serde_json::from_slice(&content).ok())
    }

    async fn fallback_referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        manifest_limit: u64,
    ) -> Result<Vec<Descriptor>> {
        let tag = Tag::referrers_fallback(subject);
        let Some(digest) = self.resolve_tag(name, &tag).await? else { return Ok(Vec::new()) };
        let content = self.manifest_content(&digest, manifest_limit).await?;
        let index = content.and_then(|content| serde_json::from_slice::<FallbackIndex>(&content.bytes).ok());
        Ok(index.map_or_else(Vec::new, |index| index.manifests))
    }

    /// Looks through the repository for manifests that the index has not seen and gives those that name a subject. They are
    /// added to the index where that may be written; where it cannot be, the next question looks again.
    async fn index_referrers(
        &self,
        name: &RepositoryName,
        manifest_limit: u64,
        writes: IndexWrites,
    ) -> Result<Vec<(Digest, Descriptor)>> {
        if self.indexed.contains(name) {
            return Ok(Vec::new());
        }
        let (revisions, seen) = try_join!(self.revisions(name), self.read_record(name))?;
        let revisions: BTreeSet<Digest> = revisions.into_iter().collect();
        let reads: Vec<_> =
            revisions.difference(&seen).map(|digest| self.entry_for(name, *digest, manifest_limit)).collect();
        let complete = reads.is_empty();
        let found: Vec<Option<_>> = stream::iter(reads).buffer_unordered(PARALLEL_READS).try_collect().await?;
        let found: Vec<(Digest, Descriptor)> = found.into_iter().flatten().collect();
        if !complete {
            if writes == IndexWrites::Forbidden {
                return Ok(found);
            }
            if let Err(error) = self.add_to_index(name, &found, &revisions).await {
                warn!(repository = name.as_str(), %error, "the referrers index cannot be written; it is made anew each time");
                return Ok(found);
            }
        }
        self.indexed.insert(name);
        Ok(found)
    }

    async fn add_to_index(
        &self,
        name: &RepositoryName,
        found: &[(Digest, Descriptor)],
        seen: &BTreeSet<Digest>,
    ) -> Result<()> {
        let entry =
            |(subject, referrer): &(Digest, Descriptor)| referrer_entry(RepositoryPaths(name), subject, referrer);
        if !found.is_empty() {
            self.driver.write_many(found.iter().map(entry).collect::<Result<_>>()?).await?;
        }
        self.write_record(name, seen).await
    }

    async fn entry_for(
        &self,
        name: &RepositoryName,
        digest: Digest,
        manifest_limit: u64,
    ) -> Result<Option<(Digest, Descriptor)>> {
        let (bytes, media_type) = match self.manifest(name, &digest, manifest_limit).await {
            Ok(Some(found)) => found,
            // One unreadable manifest must not hide the referrers that the others are; scrubbing names it.
            Ok(None) | Err(Error::Damaged { .. } | Error::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Old manifests may break rules that new ones must follow; they have no subject then either.
        let Ok(manifest) = Manifest::parse(Some(media_type), bytes, digest.algorithm()) else { return Ok(None) };
        Ok(manifest.subject().map(|subject| (subject.digest, manifest.referrer())))
    }

    async fn read_record(&self, name: &RepositoryName) -> Result<BTreeSet<Digest>> {
        let path = RepositoryPaths(name).referrers_record();
        let content = found(self.driver.read(&path, LARGEST_ENTRY).await)?.unwrap_or_default();
        Ok(content
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
            .collect())
    }

    async fn write_record(&self, name: &RepositoryName, seen: &BTreeSet<Digest>) -> Result<()> {
        let mut content = String::new();
        for digest in seen {
            content.push_str(&digest.to_string());
            content.push('\n');
        }
        let path = RepositoryPaths(name).referrers_record();
        self.driver.write(&path, Bytes::from(content), WriteMode::Overwrite).await
    }
}
