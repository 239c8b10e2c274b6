//! Whether what a manifest refers to is there: distribution-spec, "Pushing Manifests", and for an index what its children
//! need as well where a collection may have left them incomplete.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::pull::undamaged;
use super::{Checks, Error, IndexPlatforms, Registry, Result};
use crate::oci::{Descriptor, Digest, Manifest, Relation, RepositoryName, Role};

/// References looked for at once.
const PARALLEL_CHECKS: usize = 16;

/// Longest part of a refused URL that is quoted.
const QUOTED_URL: usize = 200;

/// What is asked of the store about each reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// Nothing was ever collected: a link that this process saw a moment ago is still there.
    Shortly,
    /// Content and link, each time, and those of children's references too.
    Thoroughly,
}

impl Registry {
    /// Looks for everything that `manifest` refers to; gives the children's manifests that were read meanwhile.
    ///
    /// # Errors
    /// [`Error::ReferencesUnknown`], [`Error::LayerUrlRefused`].
    pub(super) async fn check_references(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
        asking: Asking,
    ) -> Result<Vec<Manifest>> {
        let mut missing = self.missing(name, manifest, asking).await?;
        let mut children = Vec::new();
        if asking == Asking::Thoroughly && missing.is_empty() {
            let mut seen: HashSet<Digest> = HashSet::from([manifest.digest()]);
            let mut todo: Vec<Digest> = children_of(manifest);
            while let Some(digest) = todo.pop() {
                if !seen.insert(digest) {
                    continue;
                }
                let Some(child) = self.child(name, &digest).await? else { continue };
                missing.extend(self.missing(name, &child, asking).await?);
                todo.extend(children_of(&child));
                children.push(child);
            }
        }
        missing.dedup();
        if missing.is_empty() { Ok(children) } else { Err(Error::ReferencesUnknown { name: name.clone(), missing }) }
    }

    /// The manifest `digest`, if it is one: an index may also list blobs, and children that need not be here.
    async fn child(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Manifest>> {
        let stored = undamaged(self.store.known_manifest(name, digest, self.stored_manifest_limit()).await)?;
        Ok(stored.and_then(|(bytes, media_type)| Manifest::parse(Some(media_type), bytes, digest.algorithm()).ok()))
    }

    /// What `manifest` refers to and is missing.
    async fn missing(&self, name: &RepositoryName, manifest: &Manifest, asking: Asking) -> Result<Vec<Digest>> {
        let checks: Vec<_> =
            manifest.relations().iter().map(|relation| self.check_reference(name, relation, asking)).collect();
        let missing: Vec<Option<Digest>> = stream::iter(checks).buffered(PARALLEL_CHECKS).try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// The digest that `relation` refers to when it is missing.
    async fn check_reference(
        &self,
        name: &RepositoryName,
        relation: &Relation,
        asking: Asking,
    ) -> Result<Option<Digest>> {
        let descriptor = &relation.descriptor;
        let digest = &descriptor.digest;
        let present = match relation.role {
            Role::Child if !self.must_exist(descriptor) => true,
            Role::Child => {
                // Cache images of old BuildKit versions list blobs as children.
                self.has_child(name, digest, asking).await? || self.has_part(name, digest, asking).await?
            }
            Role::Layer if descriptor.media_type.is_non_distributable() => {
                self.check_urls(descriptor)?;
                true
            }
            Role::Config | Role::Layer => self.has_part(name, digest, asking).await?,
        };
        Ok((!present).then_some(*digest))
    }

    async fn has_part(&self, name: &RepositoryName, digest: &Digest, asking: Asking) -> Result<bool> {
        match asking {
            Asking::Shortly => Ok(undamaged(self.store.referenced_blob_size(name, digest).await)?.is_some()),
            Asking::Thoroughly => match undamaged(self.store.survey_link(name, digest).await)? {
                Some(content) => Ok(self.store.content_size(&content).await?.is_some()),
                None => Ok(false),
            },
        }
    }

    async fn has_child(&self, name: &RepositoryName, digest: &Digest, asking: Asking) -> Result<bool> {
        match asking {
            Asking::Shortly => {
                let present = self.store.has_manifest(name, digest).await;
                Ok(undamaged(present.map(|present| present.then_some(())))?.is_some())
            }
            Asking::Thoroughly => match undamaged(self.store.survey_revision(name, digest).await)? {
                Some(content) => Ok(self.store.content_size(&content).await?.is_some()),
                None => Ok(false),
            },
        }
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

fn children_of(manifest: &Manifest) -> Vec<Digest> {
    let children = manifest.relations().iter().filter(|relation| relation.role == Role::Child);
    children.map(|relation| relation.descriptor.digest).collect()
}
