//! Where bytes and links live: the layout, the stores over it, and the drivers below them.
//!
//! [`Store`] is the one door: it speaks of blobs, manifests, tags, uploads and referrers, and of nothing above them.
//! What a push wrote is visible in the order content, link, manifest, revision, referrer, tag, and vanishes the other way.

mod blobs;
mod config;
pub mod driver;
mod error;
mod layout;
mod manifests;
mod referrers;
mod repositories;
mod tags;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;

use crate::oci::Digest;

pub use config::{Config, Driver as DriverConfig, Filesystem as FilesystemConfig, Redirect};
pub use error::{Error, Result, Retry, found};
pub use layout::StoragePath;
pub use manifests::{ManifestContent, NewManifest};
pub use repositories::RepositoryPage;
pub use uploads::{StagedUpload, UploadEntry};

use driver::{Driver, WriteMode};
use manifests::ManifestCache;
use referrers::IndexedRepositories;

/// Largest link file read. A sha512 digest has 135 bytes; anything beyond is damage.
const LARGEST_LINK: u64 = 1024;

/// Blobs, manifests, tags, uploads and referrers over one driver.
#[derive(Debug, Clone)]
pub struct Store {
    driver: Arc<dyn Driver>,
    manifest_cache: Arc<ManifestCache>,
    indexed: Arc<IndexedRepositories>,
}

impl Store {
    /// A store over `driver` that keeps at most `manifest_cache_bytes` of manifests in memory.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, manifest_cache_bytes: u64) -> Self {
        Self {
            driver,
            manifest_cache: Arc::new(ManifestCache::new(manifest_cache_bytes)),
            indexed: Arc::new(IndexedRepositories::default()),
        }
    }

    /// The driver, for probes.
    #[must_use]
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// The digest that the link file at `path` holds; `None` when there is no such file.
    ///
    /// # Errors
    /// `Damaged` when it holds something else, as a crash of distribution before 3.1 may leave it.
    async fn read_link(&self, path: &StoragePath) -> Result<Option<Digest>> {
        let Some(content) = found(self.driver.read(path, LARGEST_LINK).await)? else { return Ok(None) };
        std::str::from_utf8(&content).ok().and_then(|text| text.trim_end().parse().ok()).map(Some).ok_or_else(|| {
            Error::Damaged { path: path.to_string(), reason: "the link file does not hold a digest".to_owned() }
        })
    }

    async fn write_link(&self, path: &StoragePath, target: &Digest) -> Result<()> {
        self.driver.write(path, link_content(target), WriteMode::Overwrite).await
    }
}

/// What a link file to `target` holds: the digest, without a line end.
fn link_content(target: &Digest) -> Bytes {
    Bytes::from(target.to_string())
}
