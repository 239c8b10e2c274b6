//! Pull: distribution-spec, "Pull". Manifests are given as stored; nothing is negotiated.

use tracing::warn;

use super::{Blob, Error, Registry, Result, StoredManifest};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::storage;

impl Registry {
    /// The blob `digest` of the repository.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Blob> {
        let object = undamaged(self.store.open_blob(name, digest).await)?;
        let object = object.ok_or_else(|| Error::BlobUnknown { name: name.clone(), digest: *digest })?;
        Ok(Blob { size: object.size, content: object.content })
    }

    /// The manifest that `reference` names in the repository.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<StoredManifest> {
        let unknown = || Error::ManifestUnknown { name: name.clone(), reference: reference.clone() };
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => undamaged(self.store.resolve_tag(name, tag).await)?.ok_or_else(unknown)?,
        };
        let limit = self.stored_manifest_limit();
        let (bytes, media_type) = undamaged(self.store.manifest(name, &digest, limit).await)?.ok_or_else(unknown)?;
        Ok(StoredManifest { digest, media_type, bytes })
    }
}

/// Reads what is damaged as missing, so that a client that pushes it again repairs it, and tells the operator.
pub(super) fn undamaged<T>(result: storage::Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(error @ storage::Error::Damaged { .. }) => {
            warn!(%error, "damaged content is treated as missing; pushing it again repairs it");
            Ok(None)
        }
        other => Ok(other?),
    }
}
