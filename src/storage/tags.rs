//! Tags: links from a name that may be moved to a manifest.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::driver::{Latency, ListPage, Listing};
use super::layout::{RepositoryPaths, StoragePath};
use super::{Error, Result, Store, link_content};
use crate::oci::{Digest, RepositoryName, Tag};

/// Tags removed at once where each is removed by itself.
const PARALLEL_DELETES: usize = 16;

/// Objects asked for at once while the tags' objects are listed.
const OBJECTS_AT_ONCE: usize = 1000;

impl Store {
    /// What `tag` points to.
    pub async fn resolve_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.read_link(&RepositoryPaths(name).tag_link(tag)).await
    }

    /// Points `tags` to the manifest `digest`, durably. Its revision link must be durable already, and so must the entry in
    /// each tag's own index, which [`Store::put_manifest`] writes.
    pub async fn point_tags(&self, name: &RepositoryName, tags: &[Tag], digest: &Digest) -> Result<()> {
        let paths = RepositoryPaths(name);
        let links = tags.iter().map(|tag| (paths.tag_link(tag), link_content(digest))).collect();
        self.driver.write_many(links).await
    }

    /// Removes `tag` with its history. The manifest stays.
    pub async fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        self.driver.delete_prefix(&RepositoryPaths(name).tag(tag)).await
    }

    /// One page of the names of tags, in byte order.
    pub async fn list_tags(&self, name: &RepositoryName, page: &ListPage) -> Result<Listing> {
        self.driver.list(&RepositoryPaths(name).tags(), page).await
    }

    /// Removes every tag that points to the manifest `digest`, with its history.
    ///
    /// Every tag is read before any goes: a torn link is none that points here, every other error is an error.
    pub async fn delete_tags_of(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        match self.latency {
            Latency::Local => {
                let listing = self.list_tags(name, &ListPage::all()).await?;
                let tags = listing.entries.iter().filter_map(|entry| entry.name.parse().ok()).collect();
                let tags = self.pointing_to(name, tags, digest).await?;
                let deletes: Vec<_> = tags.iter().map(|tag| self.delete_tag(name, tag)).collect();
                stream::iter(deletes).buffer_unordered(PARALLEL_DELETES).try_collect().await
            }
            Latency::Remote => {
                let mut objects = self.tag_objects(name).await?;
                let tags = self.pointing_to(name, objects.keys().cloned().collect(), digest).await?;
                let gone: Vec<StoragePath> = tags.iter().filter_map(|tag| objects.remove(tag)).flatten().collect();
                if gone.is_empty() { Ok(()) } else { self.driver.delete_many(&gone).await }
            }
        }
    }

    /// Of `tags` those that point to the manifest `digest` now.
    async fn pointing_to(&self, name: &RepositoryName, tags: Vec<Tag>, digest: &Digest) -> Result<Vec<Tag>> {
        let looks: Vec<_> = tags.into_iter().map(|tag| self.points_to(name, tag, digest)).collect();
        let found: Vec<Option<Tag>> = stream::iter(looks).buffer_unordered(self.tag_reads).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// `tag`, if it points to `digest`.
    async fn points_to(&self, name: &RepositoryName, tag: Tag, digest: &Digest) -> Result<Option<Tag>> {
        let target = match self.resolve_tag(name, &tag).await {
            Err(Error::Damaged { .. }) => None,
            other => other?,
        };
        Ok((target.as_ref() == Some(digest)).then_some(tag))
    }

    /// Every object of every tag, by one walk rather than one listing a tag.
    async fn tag_objects(&self, name: &RepositoryName) -> Result<BTreeMap<Tag, Vec<StoragePath>>> {
        let directory = RepositoryPaths(name).tags();
        let mut objects: BTreeMap<Tag, Vec<StoragePath>> = BTreeMap::new();
        let mut page = ListPage { after: None, limit: OBJECTS_AT_ONCE };
        loop {
            let tree = self.driver.tree(&directory, &page).await?;
            for object in tree.objects {
                let tag = object.path.below(&directory).and_then(|below| below.split('/').next()?.parse().ok());
                if let Some(tag) = tag {
                    objects.entry(tag).or_default().push(object.path);
                }
            }
            page.after = tree.next;
            if page.after.is_none() {
                return Ok(objects);
            }
        }
    }
}
