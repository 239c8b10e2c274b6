//! The rules of push and pull; has never heard of HTTP.
//!
//! distribution-spec's "Pull", "Push", "Content Discovery" and "Content Management", over the stores of `storage`.

mod config;
mod discovery;
mod ended;
mod error;
mod hashing;
mod management;
mod mount;
mod pull;
mod push;
mod receive;
mod references;
mod restore;
mod settle;
mod token;
mod upload;

pub use config::*;
pub use error::{Error, Result};

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Semaphore;

use crate::oci::{Digest, MediaType, Tag};
use crate::storage::Store;
pub use crate::storage::driver::{Content, ReadRange, Reading};
pub use crate::storage::{Error as StorageError, Retry};

/// The registry: one for the process, shared by all requests.
#[derive(Debug)]
pub struct Registry {
    config: Config,
    store: Store,
    sealer: token::Sealer,
    uploads: Arc<Semaphore>,
    ended: ended::EndedUploads,
    collections: settle::Collections,
}

impl Registry {
    /// A registry over `store` that follows the rules of `config`.
    #[must_use]
    pub fn new(config: Config, store: Store) -> Self {
        let sealer = token::Sealer::new(config.secret.as_deref());
        let uploads = Arc::new(Semaphore::new(config.limits.concurrent_uploads.min(Semaphore::MAX_PERMITS)));
        let (ended, collections) = (ended::EndedUploads::default(), settle::Collections::default());
        Self { config, store, sealer, uploads, ended, collections }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Whether anything may be written.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub fn writable(&self) -> Result<()> {
        match self.config.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::ReadOnly),
        }
    }

    fn deletable(&self) -> Result<()> {
        self.writable()?;
        match self.config.deletion {
            Deletion::Enabled => Ok(()),
            Deletion::Disabled => Err(Error::DeletionDisabled),
        }
    }

    /// Largest manifest read from the store, bytes. What lies there was within the limit of its day, which may have been a
    /// larger one than today's.
    fn stored_manifest_limit(&self) -> u64 {
        (self.config.limits.manifest_bytes as u64).saturating_mul(16)
    }
}

/// The body of an upload request. An item is an error when the client goes away or stalls.
pub type Body<'a> = Pin<Box<dyn Stream<Item = std::result::Result<Bytes, BodyError>> + Send + 'a>>;

/// The body of a request that ends an upload, and how long the client says it is.
pub struct AnnouncedBody<'a> {
    /// The bytes.
    pub bytes: Body<'a>,
    /// How many they are, when that is known beforehand.
    pub length: Option<u64>,
}

impl std::fmt::Debug for AnnouncedBody<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnnouncedBody").field("length", &self.length).finish_non_exhaustive()
    }
}

impl<'a> From<Body<'a>> for AnnouncedBody<'a> {
    fn from(bytes: Body<'a>) -> Self {
        Self { bytes, length: None }
    }
}

/// Why a request body ended before its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// A blob that may be read.
#[derive(Debug)]
pub struct Blob {
    /// Bytes.
    pub size: u64,
    /// Where its bytes come from.
    pub content: Content,
}

/// A manifest as stored.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The digest that names it here: the one asked for, or the one the tag points to.
    pub digest: Digest,
    /// The type it was pushed as.
    pub media_type: MediaType,
    /// Its exact bytes.
    pub bytes: Bytes,
}

/// An upload session as the client must know it to go on.
#[derive(Debug, Clone)]
pub struct UploadSession {
    /// Names the session within its repository.
    pub id: UploadId,
    /// Bytes received so far.
    pub length: u64,
    /// The sealed state to present with the next request; only `[A-Za-z0-9_-]`.
    pub state: String,
}

/// Names an upload session: a UUID, as its directory in the store is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(uuid::Uuid);

impl UploadId {
    /// A fresh random one.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

/// The text is not the hyphenated lower-case form of a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an upload session's id")]
pub struct NotAnUploadId;

impl std::str::FromStr for UploadId {
    type Err = NotAnUploadId;

    fn from_str(text: &str) -> std::result::Result<Self, NotAnUploadId> {
        let id = Self(uuid::Uuid::try_parse(text).map_err(|_| NotAnUploadId)?);
        // One spelling for one directory.
        if id.to_string() == text { Ok(id) } else { Err(NotAnUploadId) }
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What came of a cross-repository mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// The blob is now in the target repository.
    Done,
    /// It was not found where the client may read: upload it.
    Declined,
}

/// What came of pushing a manifest.
#[derive(Debug, Clone)]
pub struct PushedManifest {
    /// Its digest, by the algorithm the client chose.
    pub digest: Digest,
    /// The digest of its subject, when it has one; it is now listed there as a referrer.
    pub subject: Option<Digest>,
    /// The tags that now point to it.
    pub tags: Vec<Tag>,
}

/// Which page of names is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Only names after this one, in byte order; it need not exist.
    pub after: Option<String>,
    /// Most names wanted; `None` leaves it to the configuration.
    pub limit: Option<usize>,
}

/// One page of something, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The `after` of the next page, when there is one.
    pub next: Option<String>,
    /// Most items this page could have had.
    pub limit: usize,
}

#[cfg(test)]
mod tests;
