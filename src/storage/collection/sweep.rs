//! Removal of what is doomed: manifests with what belongs to them, links, content. Must not know why.
//!
//! Everything removed is gone durably when the call returns `Ok`, and no request to remove it is left under way; after an
//! error one may be.

use std::collections::HashSet;
use std::time::SystemTime;

use super::Key;
use crate::oci::{Digest, RepositoryName};
use crate::storage::driver::{Capabilities, ListPage, Tree};
use crate::storage::layout::{RepositoryPaths, StoragePath, blob_data};
use crate::storage::manifests::digest_of;
use crate::storage::{Result, Store, found};

/// Objects asked for at once.
const PAGE: usize = 50_000;

/// Objects removed by one call: what S3 takes in one request.
const BATCH: usize = 1000;

impl Store {
    /// Removes manifests from the repository, each with the digest of its subject if it has one: their entries in tag
    /// histories first, then in the referrers index, then the manifests.
    ///
    /// `issued` of this and the others is the time that requests across a network bear; see
    /// [`crate::storage::driver::Driver::delete_once`].
    pub async fn sweep_revisions(
        &self,
        name: &RepositoryName,
        doomed: &[(Digest, Option<Digest>)],
        issued: SystemTime,
    ) -> Result<()> {
        let paths = RepositoryPaths(name);
        let digests: HashSet<Digest> = doomed.iter().map(|(digest, _)| *digest).collect();
        self.delete_in_batches(&self.tag_entries_of(name, &digests).await?, issued).await?;
        let entries = doomed.iter().filter_map(|(digest, subject)| Some(paths.referrer(subject.as_ref()?, digest)));
        self.delete_in_batches(&entries.collect::<Vec<_>>(), issued).await?;
        let revisions =
            doomed.iter().flat_map(|(digest, _)| [paths.revision_link(digest), paths.revision_media_type(digest)]);
        let swept = self.delete_in_batches(&revisions.collect::<Vec<_>>(), issued).await;
        for (digest, _) in doomed {
            self.revision_links.remove(&(name.clone(), *digest));
        }
        swept
    }

    /// Removes links to blobs, each from its repository.
    pub async fn sweep_links(&self, doomed: &[(RepositoryName, Digest)], issued: SystemTime) -> Result<()> {
        let links: Vec<StoragePath> =
            doomed.iter().map(|(name, digest)| RepositoryPaths(name).layer_link(digest)).collect();
        let swept = self.delete_in_batches(&links, issued).await;
        for link in doomed {
            self.layer_links.remove(link);
        }
        swept
    }

    /// Removes content.
    pub async fn sweep_blobs(&self, doomed: &[Digest], issued: SystemTime) -> Result<()> {
        self.delete_in_batches(&doomed.iter().map(blob_data).collect::<Vec<_>>(), issued).await
    }

    /// Whether what `key` names is there, asked of the driver.
    pub async fn exists(&self, key: &Key) -> Result<bool> {
        let path = match key {
            Key::Revision(name, digest) => RepositoryPaths(name).revision_link(digest),
            Key::Link(name, digest) => RepositoryPaths(name).layer_link(digest),
            Key::Blob(digest) => blob_data(digest),
        };
        Ok(found(self.driver.stat(&path).await)?.is_some())
    }

    /// What the store was seen to promise; see [`crate::storage::driver::Driver::capabilities`].
    pub async fn capabilities(&self) -> Result<Capabilities> {
        self.driver.capabilities().await
    }

    async fn delete_in_batches(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()> {
        for batch in paths.chunks(BATCH) {
            self.driver.delete_once(batch, issued).await?;
        }
        Ok(())
    }

    /// Where the histories of the repository's tags name one of `digests`.
    async fn tag_entries_of(&self, name: &RepositoryName, digests: &HashSet<Digest>) -> Result<Vec<StoragePath>> {
        let directory = RepositoryPaths(name).tags();
        let mut entries = Vec::new();
        let mut page = ListPage { after: None, limit: PAGE };
        loop {
            let Tree { objects, next } = self.driver.tree(&directory, &page).await?;
            entries.extend(objects.into_iter().map(|object| object.path).filter(|path| {
                let below = path.below(&directory).unwrap_or_default();
                match below.split('/').collect::<Vec<_>>().as_slice() {
                    [_, "index", algorithm, hex, "link"] => {
                        let digest = algorithm.parse().ok().and_then(|algorithm| digest_of(algorithm, hex));
                        digest.is_some_and(|digest| digests.contains(&digest))
                    }
                    _ => false,
                }
            }));
            page.after = next;
            if page.after.is_none() {
                return Ok(entries);
            }
        }
    }
}
