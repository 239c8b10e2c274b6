//! Pushing manifests: distribution-spec, "Pushing Manifests". What a manifest refers to must be there before it is.

use bytes::Bytes;

use super::{Error, PushedManifest, Registry, RepositoryClass, Result};
use crate::oci::{Algorithm, Manifest, MediaType, Reference, RepositoryName, Tag};
use crate::storage::NewManifest;

impl Registry {
    /// Stores `bytes` as a manifest of the repository under `reference`, and under `more_tags` besides.
    ///
    /// Durable on return, in an order in which a crash leaves no tag without its manifest.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestTooLarge`], [`Error::DigestMismatch`] when `reference` is a digest of
    /// something else, [`Error::ReferencesUnknown`], [`Error::LayerUrlRefused`], [`Error::ClassDenied`], [`Error::ReadOnly`],
    /// [`Error::BeingCollected`].
    pub async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        more_tags: &[Tag],
        content_type: Option<MediaType>,
        bytes: Bytes,
    ) -> Result<PushedManifest> {
        self.writable()?;
        let limit = self.config.limits.manifest_bytes;
        if bytes.len() > limit {
            return Err(Error::ManifestTooLarge { limit });
        }
        // The bytes may be a small part of a large network buffer, which whoever keeps them would keep as a whole.
        let bytes = Bytes::copy_from_slice(&bytes);
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let manifest = Manifest::parse(content_type, bytes, algorithm)?;
        let mut tags = more_tags.to_vec();
        match reference {
            Reference::Digest(expected) if *expected != manifest.digest() => {
                return Err(Error::DigestMismatch { expected: *expected, computed: manifest.digest() });
            }
            Reference::Digest(_) => {}
            Reference::Tag(tag) => tags.insert(0, tag.clone()),
        }
        tags.sort();
        tags.dedup();
        self.check_class(&manifest)?;
        self.publish_manifest(name, NewManifest { manifest: &manifest, tags: &tags }).await?;
        let subject = manifest.subject().map(|subject| subject.digest);
        Ok(PushedManifest { digest: manifest.digest(), subject, tags })
    }

    fn check_class(&self, manifest: &Manifest) -> Result<()> {
        let allowed = &self.config.repository_classes;
        let Some(config) = manifest.config_media_type() else { return Ok(()) };
        if allowed.is_empty() || class_of(config).is_some_and(|class| allowed.contains(&class)) {
            return Ok(());
        }
        Err(Error::ClassDenied { config: config.to_string() })
    }
}

/// What a repository with such a config is used for: distribution's `policy.repository.classes`.
fn class_of(config: &MediaType) -> Option<RepositoryClass> {
    match config.as_str() {
        "application/vnd.docker.container.image.v1+json" | "application/vnd.oci.image.config.v1+json" => {
            Some(RepositoryClass::Image)
        }
        "application/vnd.docker.plugin.v1+json" => Some(RepositoryClass::Plugin),
        _ => None,
    }
}
