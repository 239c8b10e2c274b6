//! Tags: links from a name that may be moved to a manifest.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::driver::{ListPage, Listing};
use super::layout::RepositoryPaths;
use super::{Error, Result, Store, link_content};
use crate::oci::{Digest, RepositoryName, Tag};

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

    /// The tags that point to the manifest `digest` now.
    ///
    /// Reads every tag: a torn link is none that points here, every other error is an error.
    pub async fn tags_of(&self, name: &RepositoryName, digest: &Digest) -> Result<Vec<Tag>> {
        let listing = self.list_tags(name, &ListPage::all()).await?;
        let tags = listing.entries.iter().filter_map(|entry| entry.name.parse::<Tag>().ok());
        let looks: Vec<_> = tags.map(|tag| self.points_to(name, tag, digest)).collect();
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
}
