//! Where bytes and links live: the layout, the stores over it, and the drivers below them.
//!
//! [`Store`] is the one door: it speaks of blobs, manifests, tags, uploads and referrers, and of nothing above them.
//! What a push wrote is visible in the order content, link, manifest, revision, referrer, tag, and vanishes the other way.

mod blobs;
pub mod collection;
mod config;
pub mod driver;
mod error;
pub mod inspection;
mod layout;
mod manifests;
mod recent;
mod referrers;
mod repositories;
mod tags;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;

use crate::oci::Digest;

pub use blobs::BlobAddress;
pub use config::{
    Config, Driver as DriverConfig, Filesystem as FilesystemConfig, Oss as OssConfig, Redirect, S3 as S3Config,
};
pub use error::{Error, Result, Retry, found};
pub use layout::StoragePath;
pub use manifests::{ManifestContent, NewManifest};
pub use referrers::IndexWrites;
pub use repositories::{Holding, RepositoryPage};
pub use uploads::{StagedUpload, UploadEntry};

use collection::CondemnedLists;
use driver::{Driver, Latency, ListPage, WriteMode};
use layout::repositories as repositories_directory;
use manifests::ManifestCache;
use recent::{RecentLinks, RecentSizes};
use referrers::IndexedRepositories;

/// Largest link file read. A sha512 digest has 135 bytes; anything beyond is damage.
const LARGEST_LINK: u64 = 1024;

/// Directories of a disk that are gone through side by side: enough to keep two threads busy while others wait.
const LOCAL_SURVEYS: usize = 3;

/// Things asked at once of a store across a network.
const REMOTE_QUESTIONS: usize = 16;

/// Tag links read at once while all tags of a repository are looked at, unless the configuration says otherwise.
const DEFAULT_TAG_READS: usize = 16;

/// Blobs, manifests, tags, uploads and referrers over one driver.
#[derive(Debug, Clone)]
pub struct Store {
    driver: Arc<dyn Driver>,
    manifest_cache: Arc<ManifestCache>,
    indexed: Arc<IndexedRepositories>,
    layer_links: Arc<RecentLinks>,
    revision_links: Arc<RecentLinks>,
    sizes: Arc<RecentSizes>,
    condemned: Arc<CondemnedLists>,
    latency: Latency,
    redirect: Redirect,
    tag_reads: usize,
}

impl Store {
    /// A store over `driver` with the caches that `config` allows.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, config: &Config) -> Self {
        let latency = driver.latency();
        Self {
            driver,
            manifest_cache: Arc::new(ManifestCache::new(config.manifest_cache_bytes)),
            indexed: Arc::new(IndexedRepositories::default()),
            layer_links: Arc::new(RecentLinks::new(latency)),
            revision_links: Arc::new(RecentLinks::new(latency)),
            sizes: Arc::new(RecentSizes::new(latency)),
            condemned: Arc::default(),
            latency,
            redirect: config.redirect,
            tag_reads: if config.tag_reads == 0 { DEFAULT_TAG_READS } else { config.tag_reads },
        }
    }

    /// Whether the driver answers at all: what a health check asks, and cheap. A store without content is fine.
    pub async fn probe(&self) -> Result<()> {
        let page = ListPage { after: None, limit: 1 };
        self.driver.list(&repositories_directory(""), &page).await.map(drop)
    }

    /// How far away the store is.
    #[must_use]
    pub fn latency(&self) -> Latency {
        self.latency
    }

    /// Things that are asked of the driver at once where each answer is needed anyway, or is likely to be.
    #[must_use]
    pub fn questions_at_once(&self) -> usize {
        match self.latency {
            Latency::Local => 1,
            Latency::Remote => REMOTE_QUESTIONS,
        }
    }

    /// Parts of the store that are looked at side by side where all of it is.
    #[must_use]
    pub fn surveys_at_once(&self) -> usize {
        match self.latency {
            Latency::Local => LOCAL_SURVEYS,
            Latency::Remote => REMOTE_QUESTIONS,
        }
    }

    /// The digest that the link file at `path` holds; `None` when there is no such file.
    ///
    /// # Errors
    /// `Damaged` when it holds something else, as a crash of distribution before 3.1 may leave it.
    async fn read_link(&self, path: &StoragePath) -> Result<Option<Digest>> {
        target_of_link(path, found(self.driver.read(path, LARGEST_LINK).await)?)
    }

    async fn write_link(&self, path: &StoragePath, target: &Digest) -> Result<()> {
        self.driver.write(path, link_content(target), WriteMode::Overwrite).await
    }
}

/// The digest that the `content` of the link file at `path` names.
fn target_of_link(path: &StoragePath, content: Option<Bytes>) -> Result<Option<Digest>> {
    let Some(content) = content else { return Ok(None) };
    std::str::from_utf8(&content).ok().and_then(|text| text.trim_end().parse().ok()).map(Some).ok_or_else(|| {
        Error::Damaged { path: path.to_string(), reason: "the link file does not hold a digest".to_owned() }
    })
}

/// What a link file to `target` holds: the digest, without a line end.
fn link_content(target: &Digest) -> Bytes {
    Bytes::from(target.to_string())
}
