//! Putting back what a collection removed: to running collectors it is a push, with everything that makes a push safe. What
//! keeps clients out, a limit or a read-only registry, was no matter when it was removed and is none now.

use super::{Registry, Result};
use crate::oci::{Digest, Manifest, RepositoryName};
use crate::storage::NewManifest;

impl Registry {
    /// Makes the content `content` the repository's blob `digest` again, durably. `false` when the content is not there.
    pub async fn restore_blob(&self, name: &RepositoryName, digest: &Digest, content: &Digest) -> Result<bool> {
        if self.store.content_size(content).await?.is_none() {
            return Ok(false);
        }
        self.store.link_blob(name, digest, content).await?;
        self.spare_blob(name, digest).await;
        Ok(true)
    }

    /// Stores the manifest, without a tag, as [`Registry::put_manifest`] does: what it refers to has to be there.
    ///
    /// # Errors
    /// [`super::Error::ReferencesUnknown`], [`super::Error::LayerUrlRefused`], [`super::Error::BeingCollected`].
    pub async fn restore_manifest(&self, name: &RepositoryName, manifest: &Manifest) -> Result<()> {
        self.publish_manifest(name, NewManifest { manifest, tags: &[] }).await
    }
}
