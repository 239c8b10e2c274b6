//! Everything that lies in the store, object by object and as it is: what scrubbing looks at, and what it puts back.
//!
//! Must not know what is right and what is wrong. Nothing here is answered from a cache.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::collection::{Fingerprint, fingerprint};
use super::driver::{Content, ListPage, Reading, Tree};
use super::layout::{RepositoryPaths, StoragePath, all_blobs, blob_data};
use super::manifests::{ManifestContent, digest_of, referrer_entry};
use super::{Error, LARGEST_LINK, Result, Retry, Store, found};
use crate::oci::{DeclaredType, Descriptor, Digest, Hasher, MediaType, RepositoryName, Tag};

/// Objects asked for at once.
const PAGE: usize = 20_000;

/// Bytes hashed between two reads of a file.
const PIECE: usize = 256 * 1024;

/// Largest entry of the referrers index read, bytes.
const LARGEST_ENTRY: u64 = 64 * 1024 * 1024;

/// A part of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Links to blobs.
    Layers,
    /// Manifests and tags.
    Manifests,
    /// The referrers index.
    Referrers,
}

/// What an object of a repository is, told by its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Thing {
    /// The link that makes a blob the repository's.
    Layer(Digest),
    /// The link that makes a manifest the repository's.
    Revision(Digest),
    /// What the tag points to.
    Tag(Tag),
    /// Says that the tag pointed to the manifest at some time.
    TagEntry(Tag, Digest),
    /// Lists a manifest under its subject.
    Referrer {
        /// What the manifest is about.
        subject: Digest,
        /// The manifest.
        referrer: Digest,
    },
}

impl Thing {
    /// Where it lies in the repository `name`.
    #[must_use]
    pub fn path(&self, name: &RepositoryName) -> StoragePath {
        let paths = RepositoryPaths(name);
        match self {
            Self::Layer(digest) => paths.layer_link(digest),
            Self::Revision(digest) => paths.revision_link(digest),
            Self::Tag(tag) => paths.tag_link(tag),
            Self::TagEntry(tag, digest) => paths.tag_index_link(tag, digest),
            Self::Referrer { subject, referrer } => paths.referrer(subject, referrer),
        }
    }
}

/// An object, and what its path says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lying<T> {
    /// It is what its path says.
    Known(T, u64),
    /// Its name stands where only a digest or a tag may stand.
    Foreign(StoragePath),
}

/// One page of objects.
#[derive(Debug, Clone)]
pub struct LyingPage<T> {
    /// What lies there. Objects that nothing ever looks at are left out.
    pub objects: Vec<Lying<T>>,
    /// What to ask for to see the next page, when there is one.
    pub next: Option<String>,
}

/// What a link file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is no such file.
    Missing,
    /// Nothing.
    Empty,
    /// Something that is no digest.
    Torn,
    /// A digest.
    To(Digest),
}

/// What an entry of the referrers index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryState {
    /// There is no such entry.
    Missing,
    /// Something that is no descriptor.
    Torn,
    /// A descriptor.
    Holds(Box<Descriptor>),
}

impl Store {
    /// One page of all content, with the bytes of each.
    pub async fn inspect_content(&self, after: Option<String>) -> Result<LyingPage<Digest>> {
        let directory = all_blobs();
        let page = self.driver.tree(&directory, &ListPage { after, limit: PAGE }).await?;
        Ok(lying(&directory, page, |below| match below {
            [algorithm, beginning, hex, "data"] => Some(digest(algorithm, hex).filter(|_| hex.starts_with(beginning))),
            _ => None,
        }))
    }

    /// One page of a section of the repository.
    pub async fn inspect_repository(
        &self,
        name: &RepositoryName,
        section: Section,
        after: Option<String>,
    ) -> Result<LyingPage<Thing>> {
        let paths = RepositoryPaths(name);
        let directory = match section {
            Section::Layers => paths.all_layers(),
            Section::Manifests => paths.manifests(),
            Section::Referrers => paths.all_referrers(),
        };
        let page = self.driver.tree(&directory, &ListPage { after, limit: PAGE }).await?;
        Ok(lying(&directory, page, |below| match (section, below) {
            (Section::Layers, [algorithm, hex, "link"]) => Some(digest(algorithm, hex).map(Thing::Layer)),
            (Section::Manifests, ["revisions", algorithm, hex, "link"]) => {
                Some(digest(algorithm, hex).map(Thing::Revision))
            }
            // Of a directory that is named after no tag only its name matters, and that is listed with the tags.
            (Section::Manifests, ["tags", tag, "current", "link"]) => Some(Some(Thing::Tag(tag.parse().ok()?))),
            (Section::Manifests, ["tags", tag, "index", algorithm, hex, "link"]) => {
                let tag = tag.parse().ok()?;
                Some(digest(algorithm, hex).map(|digest| Thing::TagEntry(tag, digest)))
            }
            (Section::Referrers, [of, subject, algorithm, hex, "link"]) => {
                let entry = digest(of, subject).zip(digest(algorithm, hex));
                Some(entry.map(|(subject, referrer)| Thing::Referrer { subject, referrer }))
            }
            _ => None,
        }))
    }

    /// What the link file of `thing` holds.
    pub async fn link_state(&self, name: &RepositoryName, thing: &Thing) -> Result<LinkState> {
        let content = match found(self.driver.read(&thing.path(name), LARGEST_LINK).await) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(LinkState::Missing),
            Err(Error::TooLarge { .. }) => return Ok(LinkState::Torn),
            Err(error) => return Err(error),
        };
        if content.is_empty() {
            return Ok(LinkState::Empty);
        }
        let target = std::str::from_utf8(&content).ok().and_then(|text| text.trim_end().parse().ok());
        Ok(target.map_or(LinkState::Torn, LinkState::To))
    }

    /// Whether `thing` lies there at all.
    pub async fn lies_there(&self, name: &RepositoryName, thing: &Thing) -> Result<bool> {
        Ok(found(self.driver.stat(&thing.path(name)).await)?.is_some())
    }

    /// What the referrers index says of `referrer`.
    pub async fn entry_state(&self, name: &RepositoryName, subject: &Digest, referrer: &Digest) -> Result<EntryState> {
        let path = RepositoryPaths(name).referrer(subject, referrer);
        let Some(content) = found(self.driver.read(&path, LARGEST_ENTRY).await)? else {
            return Ok(EntryState::Missing);
        };
        let descriptor = serde_json::from_slice(&content).ok();
        Ok(descriptor.map_or(EntryState::Torn, |descriptor| EntryState::Holds(Box::new(descriptor))))
    }

    /// The manifests that the referrers index has looked at and will not look at again.
    pub async fn looked_through(&self, name: &RepositoryName) -> Result<HashSet<Fingerprint>> {
        Ok(self.read_record(name).await?.iter().map(fingerprint).collect())
    }

    /// The media type that the repository hands out `bytes` under as its manifest `digest`.
    ///
    /// # Errors
    /// `Damaged` when nothing says it.
    pub async fn media_type_of(&self, name: &RepositoryName, digest: &Digest, bytes: &Bytes) -> Result<MediaType> {
        let content = ManifestContent { declared: DeclaredType::of(bytes), bytes: bytes.clone() };
        let typed = self.with_media_type(name, digest, Some(content)).await?;
        typed.map(|(_, media_type)| media_type).ok_or_else(|| Error::NotFound { path: digest.to_string() })
    }

    /// The digest of the bytes that lie under `digest`; `None` when nothing does. Reads all of them.
    pub async fn digest_of_content(&self, digest: &Digest) -> Result<Option<Digest>> {
        let path = blob_data(digest);
        let Some(object) = found(self.driver.open(&path, Reading::Whole).await)? else { return Ok(None) };
        let mut hasher = Hasher::new(digest.algorithm());
        match object.content {
            Content::Memory(bytes) => hasher.update(&bytes),
            Content::File(file) => hasher = hash_file(&path, file, hasher).await?,
            Content::Remote(remote) if object.size > 0 => {
                let mut pieces = remote.read_range(0..object.size);
                while let Some(piece) = pieces.try_next().await? {
                    hasher.update(&piece);
                }
            }
            Content::Remote(_) => {}
        }
        Ok(Some(hasher.finish()))
    }

    /// Where the content `digest` lies.
    #[must_use]
    pub fn content_path(&self, digest: &Digest) -> StoragePath {
        blob_data(digest)
    }

    /// Whether anything at all lies below the tag.
    pub async fn tag_leaves_something(&self, name: &RepositoryName, tag: &Tag) -> Result<bool> {
        let page = ListPage { after: None, limit: 1 };
        Ok(!self.driver.tree(&RepositoryPaths(name).tag(tag), &page).await?.objects.is_empty())
    }

    /// Where something of the repository's tags lies that a listing names.
    #[must_use]
    pub fn tag_directory(&self, name: &RepositoryName, listed: &str) -> StoragePath {
        RepositoryPaths(name).tags().listed(listed)
    }

    /// Makes the link file of `thing` hold `target`, durably.
    pub async fn mend_link(&self, name: &RepositoryName, thing: &Thing, target: &Digest) -> Result<()> {
        self.write_link(&thing.path(name), target).await
    }

    /// Lists `referrer` under `subject`, durably.
    pub async fn mend_entry(&self, name: &RepositoryName, subject: &Digest, referrer: &Descriptor) -> Result<()> {
        let entry = referrer_entry(RepositoryPaths(name), subject, referrer)?;
        self.driver.write_many(vec![entry]).await
    }

    /// Removes the object that `thing` is.
    pub async fn remove_thing(&self, name: &RepositoryName, thing: &Thing) -> Result<()> {
        self.driver.delete(&thing.path(name)).await
    }
}

/// What the objects of `page` are: `read` makes of the components of a path nothing, when nobody ever looks at such an
/// object, or what it names, which may be nothing that may stand there.
fn lying<T>(directory: &StoragePath, page: Tree, read: impl Fn(&[&str]) -> Option<Option<T>>) -> LyingPage<T> {
    let objects = page.objects.into_iter().filter_map(|object| {
        let below = object.path.below(directory).unwrap_or_default();
        let known = read(&below.split('/').collect::<Vec<_>>())?;
        Some(known.map_or_else(|| Lying::Foreign(object.path.clone()), |thing| Lying::Known(thing, object.stat.size)))
    });
    LyingPage { objects: objects.collect(), next: page.next }
}

fn digest(algorithm: &str, hex: &str) -> Option<Digest> {
    digest_of(algorithm.parse().ok()?, hex)
}

/// Goes on hashing with all of `file`, on a thread that may wait for the disk.
async fn hash_file(path: &StoragePath, file: Arc<File>, mut hasher: Hasher) -> Result<Hasher> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        loop {
            let length = match file.read_at(&mut piece, offset) {
                Ok(0) => return Ok(hasher),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(piece.get(..length).unwrap_or_default());
            offset += length as u64;
        }
    });
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Backend {
        operation: "read",
        path: path.to_string(),
        retry: Retry::Pointless,
        source,
    };
    match hashing.await {
        Ok(Ok(hasher)) => Ok(hasher),
        Ok(Err(error)) => Err(failed(error.into())),
        Err(error) => Err(failed(error.into())),
    }
}
