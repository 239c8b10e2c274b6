//! Manifests: small immutable content, the revision links that say which repositories it belongs to, and a cache of bytes.
//!
//! The cache holds content under its digest and nothing else: whether a repository has a tag or a manifest is asked of the
//! driver each time, so a stale answer cannot outlive a delete.

use bytes::Bytes;
use futures_util::future::try_join_all;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::blobs::Ahead;
use super::driver::{Latency, ListPage, WriteMode};
use super::layout::{RepositoryPaths, StoragePath, blob_data};
use super::{Error, LARGEST_LINK, Result, Store, found, link_content};
use crate::oci::{Algorithm, DeclaredType, Descriptor, Digest, Manifest, MediaType, RepositoryName, Tag};

/// The bytes of a manifest and what they say of their type.
#[derive(Debug, Clone)]
pub struct ManifestContent {
    /// The exact bytes.
    pub bytes: Bytes,
    /// What they say of themselves.
    pub declared: DeclaredType,
}

/// A manifest to be stored, with everything that goes with it.
#[derive(Debug, Clone, Copy)]
pub struct NewManifest<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The tags that will point to it.
    pub tags: &'a [Tag],
}

#[derive(Debug)]
pub(super) struct ManifestCache(Cache<Digest, ManifestContent, ByBytes>);

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Digest, ManifestContent> for ByBytes {
    fn weight(&self, _: &Digest, content: &ManifestContent) -> u64 {
        // Key, media type and the cache's own bookkeeping count too, or many tiny manifests would be free.
        content.bytes.len() as u64 + 256
    }
}

impl ManifestCache {
    pub(super) fn new(bytes: u64) -> Self {
        let likely_entries = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 100_000);
        Self(Cache::with_weighter(likely_entries, bytes, ByBytes))
    }
}

impl Store {
    /// Whether the repository has the manifest `digest`, asked of the driver each time.
    pub async fn has_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        Ok(self.linked_manifest(name, digest).await?.is_some())
    }

    /// The manifest `digest` of the repository and its media type; `None` when the link or the content is missing.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes; `Damaged` when nothing says what media type it has.
    pub async fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<(Bytes, MediaType)>> {
        let ahead = match self.where_it_pays() {
            Ahead::Yes if self.manifest_cache.0.peek(digest).is_none() => Ahead::Yes,
            _ => Ahead::No,
        };
        let content = |target: Digest| async move { self.manifest_content(&target, limit).await };
        let content = self.behind(self.linked_manifest(name, digest), digest, ahead, content).await?;
        self.with_media_type(name, digest, content).await
    }

    /// [`Store::manifest`] for a caller that knows already that the repository has it, from its tag or its link. A link seen a
    /// moment ago is not asked for again.
    pub async fn known_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<(Bytes, MediaType)>> {
        let Some(target) = self.revision_links.get(&(name.clone(), *digest)) else {
            return self.manifest(name, digest, limit).await;
        };
        let content = self.manifest_content(&target, limit).await?;
        self.with_media_type(name, digest, content).await
    }

    /// The digest under which the content of the repository's manifest lies.
    async fn linked_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        let target = self.read_link(&RepositoryPaths(name).revision_link(digest)).await?;
        match &target {
            Some(target) => self.revision_links.insert((name.clone(), *digest), *target),
            None => self.revision_links.remove(&(name.clone(), *digest)),
        }
        Ok(target)
    }

    pub(super) async fn with_media_type(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        content: Option<ManifestContent>,
    ) -> Result<Option<(Bytes, MediaType)>> {
        let Some(content) = content else { return Ok(None) };
        let paths = RepositoryPaths(name);
        let media_type = match content.declared {
            DeclaredType::Named(media_type) => media_type,
            DeclaredType::Shaped(shape) => self.pushed_media_type(paths, digest).await?.unwrap_or(shape),
            DeclaredType::Unknown => self.pushed_media_type(paths, digest).await?.ok_or_else(|| Error::Damaged {
                path: paths.revision_media_type(digest).to_string(),
                reason: "the manifest does not name its media type and neither does this file".to_owned(),
            })?,
        };
        Ok(Some((content.bytes, media_type)))
    }

    /// The manifest `digest`, whichever repositories it belongs to.
    pub async fn manifest_content(&self, digest: &Digest, limit: u64) -> Result<Option<ManifestContent>> {
        if let Some(content) = self.manifest_cache.0.get(digest) {
            return Ok(Some(content));
        }
        let path = blob_data(digest);
        let Some(bytes) = found(self.driver.read(&path, limit).await)? else { return Ok(None) };
        if bytes.is_empty() {
            return Err(Error::Damaged { path: path.to_string(), reason: "the manifest is empty".to_owned() });
        }
        let content = ManifestContent { declared: DeclaredType::of(&bytes), bytes };
        self.manifest_cache.0.insert(*digest, content.clone());
        Ok(Some(content))
    }

    async fn pushed_media_type(&self, paths: RepositoryPaths<'_>, digest: &Digest) -> Result<Option<MediaType>> {
        let content = found(self.driver.read(&paths.revision_media_type(digest), LARGEST_LINK).await)?;
        Ok(content.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
    }

    /// Stores a manifest durably, except that its tags do not point to it yet: [`Store::point_tags`] comes after. Content
    /// before link, link before referrer; what the manifest refers to must be durable already.
    pub async fn put_manifest(&self, name: &RepositoryName, new: NewManifest<'_>) -> Result<()> {
        let paths = RepositoryPaths(name);
        let manifest = new.manifest;
        let digest = manifest.digest();
        let declared = DeclaredType::of(manifest.bytes());
        let mut objects = Vec::new();
        let tells_its_type = match &declared {
            DeclaredType::Named(media_type) | DeclaredType::Shaped(media_type) => media_type == manifest.media_type(),
            DeclaredType::Unknown => false,
        };
        if !tells_its_type {
            let content = Bytes::from(manifest.media_type().to_string());
            objects.push((paths.revision_media_type(&digest), content));
        } else if !matches!(declared, DeclaredType::Named(_)) {
            // An earlier push of the same bytes may have called them something else.
            self.driver.delete(&paths.revision_media_type(&digest)).await?;
        }
        objects.push((paths.revision_link(&digest), link_content(&digest)));
        if let Some(subject) = manifest.subject() {
            objects.push(referrer_entry(paths, &subject.digest, &manifest.referrer())?);
        }
        for tag in new.tags {
            objects.push((paths.tag_index_link(tag, &digest), link_content(&digest)));
        }
        let content = (blob_data(&digest), manifest.bytes().clone());
        match self.latency {
            // A disk puts them in their places one after the other.
            Latency::Local => objects.insert(0, content),
            // A bucket writes all at once, and a link whose content a dead replica left unwritten would be damage.
            Latency::Remote => self.driver.write(&content.0, content.1, WriteMode::Overwrite).await?,
        }
        self.driver.write_many(objects).await?;
        self.revision_links.insert((name.clone(), digest), digest);
        self.manifest_cache.0.insert(digest, ManifestContent { bytes: manifest.bytes().clone(), declared });
        Ok(())
    }

    /// Takes the manifest `digest` from the repository: first its entry as a referrer of `subject`, then the revision. The
    /// tags that point to it must be gone. The content stays for others and for collection.
    pub async fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        subject: Option<&Digest>,
    ) -> Result<()> {
        let paths = RepositoryPaths(name);
        if let Some(subject) = subject {
            self.driver.delete(&paths.referrer(subject, digest)).await?;
        }
        let deleted = self.driver.delete_many(&[paths.revision_link(digest), paths.revision_media_type(digest)]).await;
        self.revision_links.remove(&(name.clone(), *digest));
        deleted
    }

    /// The digests of every manifest of the repository.
    pub async fn revisions(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        let (everything, paths) = (ListPage::all(), RepositoryPaths(name));
        let directories = Algorithm::ALL.map(|algorithm| (algorithm, paths.revisions(algorithm)));
        let listings = directories.iter().map(|(_, directory)| self.driver.list(directory, &everything));
        let mut digests = Vec::new();
        for ((algorithm, _), listing) in directories.iter().zip(try_join_all(listings).await?) {
            digests.extend(listing.entries.iter().filter_map(|entry| digest_of(*algorithm, &entry.name)));
        }
        Ok(digests)
    }
}

/// The object that lists a referrer under its subject.
pub(super) fn referrer_entry(
    paths: RepositoryPaths<'_>,
    subject: &Digest,
    referrer: &Descriptor,
) -> Result<(StoragePath, Bytes)> {
    let path = paths.referrer(subject, &referrer.digest);
    match serde_json::to_vec(referrer) {
        Ok(content) => Ok((path, Bytes::from(content))),
        Err(error) => Err(Error::Damaged { path: path.to_string(), reason: error.to_string() }),
    }
}

/// The digest that a directory of `algorithm` is named after; `None` for a name that is none.
pub(super) fn digest_of(algorithm: Algorithm, hex: &str) -> Option<Digest> {
    format!("{algorithm}:{hex}").parse().ok()
}
