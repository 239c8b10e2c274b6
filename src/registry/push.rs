//! Pushing manifests: distribution-spec, "Pushing Manifests". What a manifest refers to must be there before it is.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::pull::undamaged;
use super::{Checks, Error, IndexPlatforms, PushedManifest, Registry, RepositoryClass, Result};
use crate::oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, Relation, RepositoryName, Role, Tag};
use crate::storage::NewManifest;

/// References looked for at once.
const PARALLEL_CHECKS: usize = 16;

/// Longest part of a refused URL that is quoted.
const QUOTED_URL: usize = 200;

impl Registry {
    /// Stores `bytes` as a manifest of the repository under `reference`, and under `more_tags` besides.
    ///
    /// Durable on return, in an order in which a crash leaves no tag without its manifest.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestTooLarge`], [`Error::DigestMismatch`] when `reference` is a digest of
    /// something else, [`Error::ReferencesUnknown`], [`Error::LayerUrlRefused`], [`Error::ClassDenied`], [`Error::ReadOnly`].
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
        self.check_references(name, &manifest).await?;
        self.store.put_manifest(name, NewManifest { manifest: &manifest, tags: &tags }).await?;
        if !tags.is_empty() {
            self.store.point_tags(name, &tags, &manifest.digest()).await?;
        }
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

    async fn check_references(&self, name: &RepositoryName, manifest: &Manifest) -> Result<()> {
        let checks: Vec<_> = manifest.relations().iter().map(|relation| self.check_reference(name, relation)).collect();
        let missing: Vec<Option<Digest>> = stream::iter(checks).buffered(PARALLEL_CHECKS).try_collect().await?;
        let mut missing: Vec<Digest> = missing.into_iter().flatten().collect();
        missing.dedup();
        if missing.is_empty() { Ok(()) } else { Err(Error::ReferencesUnknown { name: name.clone(), missing }) }
    }

    /// The digest that `relation` refers to when it is missing.
    async fn check_reference(&self, name: &RepositoryName, relation: &Relation) -> Result<Option<Digest>> {
        let descriptor = &relation.descriptor;
        let digest = &descriptor.digest;
        let present = match relation.role {
            Role::Child if !self.must_exist(descriptor) => true,
            Role::Child => {
                // Cache images of old BuildKit versions list blobs as children.
                undamaged_bool(self.store.has_manifest(name, digest).await)?
                    || undamaged(self.store.referenced_blob_size(name, digest).await)?.is_some()
            }
            Role::Layer if descriptor.media_type.is_non_distributable() => {
                self.check_urls(descriptor)?;
                true
            }
            Role::Config | Role::Layer => undamaged(self.store.referenced_blob_size(name, digest).await)?.is_some(),
        };
        Ok((!present).then_some(*digest))
    }

    fn must_exist(&self, child: &Descriptor) -> bool {
        let validation = &self.config.validation;
        match (&validation.checks, &validation.index_platforms) {
            (Checks::Skipped, _) | (_, IndexPlatforms::None) => false,
            (Checks::Applied, IndexPlatforms::All) => true,
            (Checks::Applied, IndexPlatforms::List(platforms)) => child.platform.as_ref().is_some_and(|platform| {
                platforms.iter().any(|wanted| wanted.os == platform.os && wanted.architecture == platform.architecture)
            }),
        }
    }

    /// A layer that lies elsewhere needs no blob here, but only where the operator allows it to lie.
    fn check_urls(&self, layer: &Descriptor) -> Result<()> {
        let validation = &self.config.validation;
        if validation.checks == Checks::Skipped {
            return Ok(());
        }
        let rules = &validation.urls;
        let refused = layer.urls.iter().find(|url| {
            let shape = (url.starts_with("https://") || url.starts_with("http://")) && !url.contains('#');
            let allowed = match (&rules.allow, &rules.deny) {
                (None, None) => false,
                (allow, deny) => {
                    allow.as_ref().is_none_or(|allow| allow.is_match(url))
                        && !deny.as_ref().is_some_and(|deny| deny.is_match(url))
                }
            };
            !(shape && allowed)
        });
        match refused {
            None => Ok(()),
            Some(url) => {
                let url = url.chars().take(QUOTED_URL).collect();
                Err(Error::LayerUrlRefused { digest: layer.digest, url })
            }
        }
    }
}

fn undamaged_bool(result: crate::storage::Result<bool>) -> Result<bool> {
    Ok(undamaged(result.map(|present| present.then_some(())))?.is_some())
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
