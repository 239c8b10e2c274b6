//! Discovery: distribution-spec, "Content Discovery", and distribution's catalog.

use futures_util::{StreamExt, stream};
use tokio::try_join;

use super::{Access, Error, Page, PageRequest, Registry, Result};
use crate::oci::{Descriptor, Digest, RepositoryName, Tag};
use crate::storage::driver::{ListPage, More};
use crate::storage::{Holding, IndexWrites};

/// Repositories in a page of the catalog when the client does not say how many.
const CATALOG_DEFAULT: usize = 100;

impl Registry {
    /// The tags of the repository in byte order. Without a limit in the request all of them.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] when nothing was ever pushed to the repository.
    pub async fn tags(&self, name: &RepositoryName, page: &PageRequest) -> Result<Page<Tag>> {
        let limit = page.limit.map_or(usize::MAX, |limit| limit.min(self.config.limits.tags_page));
        if limit == 0 {
            self.require_repository(name).await?;
            return Ok(Page { items: Vec::new(), next: None, limit });
        }
        let listing = self.store.list_tags(name, &ListPage { after: page.after.clone(), limit }).await?;
        if listing.entries.is_empty() {
            self.require_repository(name).await?;
        }
        let next = match listing.more {
            More::Yes => listing.entries.last().map(|entry| entry.name.clone()),
            More::No => None,
        };
        // A name that is no tag was put there by hand and cannot be pulled.
        let items = listing.entries.iter().filter_map(|entry| entry.name.parse().ok()).collect();
        Ok(Page { items, next, limit })
    }

    async fn require_repository(&self, name: &RepositoryName) -> Result<()> {
        if self.store.repository_exists(name).await? { Ok(()) } else { Err(Error::NameUnknown(name.clone())) }
    }

    /// The repositories that hold manifests, component by component in byte order.
    pub async fn catalog(&self, page: &PageRequest) -> Result<Page<RepositoryName>> {
        let most = self.config.limits.catalog_page;
        let limit = page.limit.unwrap_or(CATALOG_DEFAULT).min(most);
        if limit == 0 {
            return Ok(Page { items: Vec::new(), next: None, limit });
        }
        let listed = self.store.list_repositories(Holding::Manifests, page.after.as_deref(), limit).await?;
        let next = match listed.more {
            More::Yes => listed.names.last().map(ToString::to_string),
            More::No => None,
        };
        Ok(Page { items: listed.names, next, limit })
    }

    /// The manifests that name `subject`, of the artifact types in `filter` or, when it is empty, of all types. The subject
    /// need not exist, and neither need the repository. Pages are in order of the referrers' digests.
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        filter: &[String],
        page: &PageRequest,
    ) -> Result<Page<Descriptor>> {
        let most = self.config.limits.referrers_page;
        let limit = page.limit.unwrap_or(most).min(most);
        let mut items = Vec::new();
        let mut last = None;
        let writes = match self.config.access {
            Access::ReadWrite => IndexWrites::Allowed,
            Access::ReadOnly => IndexWrites::Forbidden,
        };
        let referrers = self.store.referrers_of(name, subject, self.stored_manifest_limit(), writes).await?;
        let keyed = referrers.into_iter().map(|(digest, fallback)| (digest.to_string(), digest, fallback));
        let candidates = keyed.filter(|(key, ..)| page.after.as_ref().is_none_or(|after| key > after));
        let looks: Vec<_> = candidates
            .map(|(key, digest, fallback)| async move {
                Ok::<_, Error>((key, self.referrer(name, subject, &digest, fallback).await?))
            })
            .collect();
        let mut looks = stream::iter(looks).buffered(self.store.questions_at_once());
        while let Some(look) = looks.next().await {
            if items.len() == limit {
                return Ok(Page { items, next: last, limit });
            }
            let (key, descriptor) = look?;
            if let Some(descriptor) = descriptor.filter(|descriptor| is_wanted(descriptor, filter)) {
                last = Some(key);
                items.push(descriptor);
            }
        }
        Ok(Page { items, next: None, limit })
    }

    /// The descriptor of a referrer whose manifest is there: distribution deletes manifests without telling the index.
    async fn referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        digest: &Digest,
        fallback: Option<Descriptor>,
    ) -> Result<Option<Descriptor>> {
        let descriptor = async {
            match fallback {
                Some(descriptor) => Ok(Some(descriptor)),
                None => self.store.referrer(name, subject, digest).await,
            }
        };
        let (descriptor, present) = try_join!(descriptor, self.store.has_manifest(name, digest))?;
        Ok(descriptor.filter(|_| present))
    }
}

fn is_wanted(descriptor: &Descriptor, filter: &[String]) -> bool {
    filter.is_empty() || descriptor.artifact_type.as_ref().is_some_and(|kind| filter.contains(kind))
}
