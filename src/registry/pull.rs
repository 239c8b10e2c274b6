//! Pull: distribution-spec, "Pull". Manifests are given as stored; nothing is negotiated.

use std::net::IpAddr;

use tracing::warn;

use super::{Blob, Error, Registry, Result, StoredManifest};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::storage::driver::Reading;
use crate::storage::{self, BlobAddress};

impl Registry {
    /// The blob `digest` of the repository; `reading` says what will be read of it first.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest, reading: Reading) -> Result<Blob> {
        let object = undamaged(self.store.open_blob(name, digest, reading).await)?;
        let object = object.ok_or_else(|| Error::BlobUnknown { name: name.clone(), digest: *digest })?;
        Ok(Blob { size: object.size, content: object.content })
    }

    /// Bytes of the blob `digest` of the repository, asked of the store each time.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<u64> {
        let size = undamaged(self.store.blob_size(name, digest).await)?;
        size.ok_or_else(|| Error::BlobUnknown { name: name.clone(), digest: *digest })
    }

    /// Where the client at `client` may fetch the blob from the store itself, for a short while and with GET; `None` when it
    /// is to be served here.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn blob_address(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        let address = undamaged(self.store.blob_address(name, digest, client).await.map(Some))?;
        match address.unwrap_or(BlobAddress::Missing) {
            BlobAddress::Here => Ok(None),
            BlobAddress::Elsewhere(address) => Ok(Some(address)),
            BlobAddress::Missing => Err(Error::BlobUnknown { name: name.clone(), digest: *digest }),
        }
    }

    /// Whether [`Registry::blob_address`] may give an address.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.store.redirects()
    }

    /// The manifest that `reference` names in the repository.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<StoredManifest> {
        let unknown = || Error::ManifestUnknown { name: name.clone(), reference: reference.clone() };
        let limit = self.stored_manifest_limit();
        let (digest, stored) = match reference {
            Reference::Digest(digest) => (*digest, self.store.manifest(name, digest, limit).await),
            Reference::Tag(tag) => {
                let digest = undamaged(self.store.resolve_tag(name, tag).await)?.ok_or_else(unknown)?;
                (digest, self.store.known_manifest(name, &digest, limit).await)
            }
        };
        let (bytes, media_type) = undamaged(stored)?.ok_or_else(unknown)?;
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
