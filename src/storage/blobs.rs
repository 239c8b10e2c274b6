//! Blobs: content under its digest, and the links that say which repositories it belongs to.

use super::driver::{Object, Reading};
use super::layout::{RepositoryPaths, blob_data};
use super::{Result, Store, found};
use crate::oci::{Digest, RepositoryName};

impl Store {
    /// Opens the blob `digest` of the repository; `None` when the link or the content is missing.
    pub async fn open_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Object>> {
        let Some(target) = self.linked_blob(name, digest).await? else { return Ok(None) };
        found(self.driver.open(&blob_data(&target), Reading::Whole).await)
    }

    /// Bytes of the blob `digest` of the repository, asked of the driver each time; `None` when the link or the content is
    /// missing.
    pub async fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        match self.linked_blob(name, digest).await? {
            Some(target) => self.content_size(&target).await,
            None => Ok(None),
        }
    }

    /// Bytes of the content `digest`, whichever repositories it belongs to.
    pub async fn content_size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(found(self.driver.stat(&blob_data(digest)).await)?.map(|stat| stat.size))
    }

    /// The digest under which the content of the repository's blob lies. It is another one where distribution took a sha512
    /// upload, which it keeps under sha256.
    pub async fn linked_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        self.read_link(&RepositoryPaths(name).layer_link(digest)).await
    }

    /// Makes the content `target` the repository's blob `digest`, durably. The content must be durable already.
    pub async fn link_blob(&self, name: &RepositoryName, digest: &Digest, target: &Digest) -> Result<()> {
        self.write_link(&RepositoryPaths(name).layer_link(digest), target).await
    }

    /// Takes the blob from the repository. The content stays for others and for collection.
    pub async fn unlink_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.driver.delete(&RepositoryPaths(name).layer_link(digest)).await
    }
}
