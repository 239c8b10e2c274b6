//! What storage is told: which driver holds the content, and what its caches may keep.

use std::path::PathBuf;

use super::driver::Middleware;
pub use super::driver::oss::Config as Oss;
pub use super::driver::s3::Config as S3;

/// The `storage` section as far as drivers and caches are concerned.
#[derive(Debug, Clone)]
pub struct Config {
    /// The one driver that holds everything.
    pub driver: Driver,
    /// Bytes of manifests kept in memory; 0 keeps none.
    pub manifest_cache_bytes: u64,
    /// `storage.redirect.disable`, for drivers that could send a client to where the bytes lie.
    pub redirect: Redirect,
    /// `storage.tag.concurrencylimit`: tag links read at once when tags of a manifest are sought; 0 means one a core.
    pub tag_reads: usize,
    /// `middleware.storage`, in the order of the list.
    pub middleware: Vec<Middleware>,
}

/// `storage.redirect.disable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirect {
    /// Blobs are redirected to wherever the driver can name an address.
    #[default]
    WherePossible,
    /// Blobs are always served by the registry.
    Never,
}

/// `storage.<driver>`.
#[derive(Debug, Clone)]
pub enum Driver {
    /// `storage.filesystem`.
    Filesystem(Filesystem),
    /// `storage.inmemory`: gone when the process ends.
    Memory,
    /// `storage.s3`, also called `storage.s3aws`.
    S3(Box<S3>),
    /// `storage.oss`.
    Oss(Box<Oss>),
}

/// `storage.filesystem`.
#[derive(Debug, Clone)]
pub struct Filesystem {
    /// Directory below which `docker/registry/v2` lies; made when missing.
    pub root_directory: PathBuf,
    /// Upper bound of threads that wait for the disk at once.
    pub max_threads: usize,
}

impl Default for Filesystem {
    fn default() -> Self {
        Self { root_directory: PathBuf::from("/var/lib/registry"), max_threads: 100 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            driver: Driver::Filesystem(Filesystem::default()),
            manifest_cache_bytes: 16 * 1024 * 1024,
            redirect: Redirect::default(),
            tag_reads: 0,
            middleware: Vec::new(),
        }
    }
}
