//! Delete: distribution-spec, "Content Management". Links go, content stays for collection.

use super::pull::undamaged;
use super::{Error, Registry, Result};
use crate::oci::{Digest, Manifest, Reference, RepositoryName};
use crate::storage::driver::Latency;

impl Registry {
    /// Removes a tag, or a manifest with every tag that points to it.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::DeletionDisabled`], [`Error::ReadOnly`].
    pub async fn delete_manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<()> {
        self.deletable()?;
        let unknown = || Error::ManifestUnknown { name: name.clone(), reference: reference.clone() };
        match reference {
            Reference::Tag(tag) => {
                // A torn link is no manifest to pull, but it is a tag that its owner must be able to remove.
                let target = self.store.resolve_tag(name, tag).await;
                if matches!(target, Ok(None)) {
                    return Err(unknown());
                }
                Ok(self.store.delete_tag(name, tag).await?)
            }
            Reference::Digest(digest) => {
                if !self.store.has_manifest(name, digest).await? {
                    return Err(unknown());
                }
                // Everything is read before anything goes, so that a failure to read leaves the manifest as it was.
                let subject = self.subject_of(name, digest).await?;
                self.store.delete_tags_of(name, digest).await?;
                self.store.delete_manifest(name, digest, subject.as_ref()).await?;
                // A push may have tagged it meanwhile; see Registry::publish_manifest. In a bucket this costs a request for
                // each tag, so there such a tag is left to the next push or deletion.
                if self.store.latency() == Latency::Local && !self.store.has_manifest(name, digest).await? {
                    self.store.delete_tags_of(name, digest).await?;
                }
                Ok(())
            }
        }
    }

    async fn subject_of(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        let stored = undamaged(self.store.known_manifest(name, digest, self.stored_manifest_limit()).await)?;
        let manifest =
            stored.and_then(|(bytes, media_type)| Manifest::parse(Some(media_type), bytes, digest.algorithm()).ok());
        Ok(manifest.and_then(|manifest| manifest.subject().map(|subject| subject.digest)))
    }

    /// Takes a blob from the repository.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::DeletionDisabled`], [`Error::ReadOnly`].
    pub async fn delete_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.deletable()?;
        if undamaged(self.store.linked_blob(name, digest).await)?.is_none() {
            return Err(Error::BlobUnknown { name: name.clone(), digest: *digest });
        }
        Ok(self.store.unlink_blob(name, digest).await?)
    }
}
