//! What a bucket offers, in the few verbs that S3, its look-alikes and OSS share. [`super::Bucket`] makes a driver of it.
//!
//! Keys are whole object keys, the root directory included. A service retries what may be retried before it gives up, and
//! knows nothing of sessions, caches or the layout.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::Payload;
use crate::storage::driver::{PresignMethod, WriteMode};
use crate::storage::error::Result;

/// A bucket of some object store.
///
/// Every method is one request to the store, apart from repetitions. Errors carry the object's key as their path.
#[async_trait]
pub(in crate::storage::driver) trait Service: Send + Sync + fmt::Debug + 'static {
    /// Name as in `config.yml`: `s3`, `oss`.
    fn name(&self) -> &'static str;

    /// Size, time and version of an object.
    ///
    /// # Errors
    /// `NotFound`.
    async fn head(&self, key: &str) -> Result<Head>;

    /// The object or, with `range`, a part of it; with `version`, only that version. Nothing of the body is read yet.
    ///
    /// # Errors
    /// `NotFound`, also when the object has another version than the one wanted.
    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Fetched>;

    /// Writes an object atomically.
    ///
    /// # Errors
    /// `AlreadyExists` with [`WriteMode::CreateOnly`], from stores that honour it.
    async fn put(&self, key: &str, content: Payload, mode: WriteMode) -> Result<()>;

    /// Removes at most [`MOST_KEYS`] objects. Missing ones are not errors; every key that was refused is one.
    ///
    /// With [`Sending::Once`] `Ok` says that every request was answered, so that none can take effect later.
    async fn delete(&self, keys: &[String], sending: Sending) -> Result<()>;

    /// One page of the keys that begin with `query.prefix`.
    async fn list(&self, query: &ListQuery<'_>) -> Result<KeyPage>;

    /// Copies an object of at most [`Limits::copy`] bytes within the store.
    ///
    /// # Errors
    /// `NotFound` when nothing lies at `from`.
    async fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// Begins a multipart upload that will become the object at `key`.
    async fn begin_multipart(&self, key: &str) -> Result<Multipart>;

    /// Uploads part `number`, counted from 1.
    ///
    /// # Errors
    /// `NotFound` when the upload was aborted or completed.
    async fn upload_part(&self, upload: &Multipart, number: u32, content: Payload) -> Result<PartTag>;

    /// Makes the object at `from` part `number` within the store.
    ///
    /// # Errors
    /// `NotFound` when nothing lies at `from` or the upload is gone.
    async fn copy_part(&self, upload: &Multipart, number: u32, from: &str) -> Result<PartTag>;

    /// Makes the object of `parts`, which are in order and begin with part 1.
    ///
    /// # Errors
    /// `NotFound` when the upload is gone, which is also what a repetition of a request that did succeed is told.
    async fn complete_multipart(&self, upload: &Multipart, parts: &[PartTag]) -> Result<()>;

    /// Forgets the upload and its parts. One that is gone is no error.
    async fn abort_multipart(&self, upload: &Multipart) -> Result<()>;

    /// One page of the uploads that were begun and neither completed nor aborted, of keys that begin with `prefix`.
    async fn list_multiparts(&self, prefix: &str, after: Option<&MultipartMarker>) -> Result<MultipartPage>;

    /// An address at which a client may fetch the object for `lifetime`.
    async fn presign(&self, key: &str, method: PresignMethod, lifetime: Duration) -> Result<String>;

    /// What requests to the store must keep within.
    fn limits(&self) -> Limits;
}

/// Whether a service repeats a request that failed before it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage::driver) enum Sending {
    /// While that may help. A request whose answer was lost may then take effect after the one that was answered.
    AsOftenAsNeeded,
    /// Never, unless it is certain that the store refused the one before.
    Once {
        /// The time that the request is signed with, so that the store refuses it when it is old.
        issued: SystemTime,
    },
}

/// Most keys that one request deletes or lists, of S3 and OSS alike.
pub(in crate::storage::driver) const MOST_KEYS: usize = 1000;

/// What requests to a store must keep within.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage::driver) struct Limits {
    /// Bytes of each part but the last, as configured.
    pub(in crate::storage::driver) part: u64,
    /// Fewest bytes of each part but the last that the store takes.
    pub(in crate::storage::driver) least_part: u64,
    /// Largest object that is copied whole rather than in parts, bytes.
    pub(in crate::storage::driver) copy: u64,
    /// Parts that are copied at once within the store.
    pub(in crate::storage::driver) copies_at_once: usize,
}

/// Names one version of an object's bytes: its entity tag, as the store wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage::driver) struct Version(pub(in crate::storage::driver) String);

/// What is known of an object without its bytes.
#[derive(Debug, Clone)]
pub(in crate::storage::driver) struct Head {
    /// Bytes of the whole object.
    pub(in crate::storage::driver) size: u64,
    /// By the store's clock.
    pub(in crate::storage::driver) modified: SystemTime,
    /// `None` from a store that sends no entity tag.
    pub(in crate::storage::driver) version: Option<Version>,
}

/// An object, or a part of it, that is about to be read.
pub(in crate::storage::driver) struct Fetched {
    /// Of the whole object, also when only a part was asked for.
    pub(in crate::storage::driver) head: Head,
    /// The bytes asked for. It may end early or with an error: whoever reads counts. Dropping it stops the transfer.
    pub(in crate::storage::driver) body: BoxStream<'static, Result<Bytes>>,
}

/// Which keys are wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage::driver) struct ListQuery<'a> {
    /// What the keys begin with.
    pub(in crate::storage::driver) prefix: &'a str,
    /// Whether keys that go on after a `/` beyond the prefix are folded into one name.
    pub(in crate::storage::driver) depth: Depth,
    /// Only keys after this one in byte order. It begins with `prefix`: some stores list nothing otherwise.
    pub(in crate::storage::driver) after: Option<&'a str>,
    /// Most keys and folded names wanted, at most [`MOST_KEYS`].
    pub(in crate::storage::driver) limit: usize,
}

/// How deep a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage::driver) enum Depth {
    /// Names directly below the prefix; deeper ones are folded.
    Directory,
    /// Every key.
    Tree,
}

/// One page of keys.
#[derive(Debug, Clone, Default)]
pub(in crate::storage::driver) struct KeyPage {
    /// Objects, in byte order of their keys.
    pub(in crate::storage::driver) objects: Vec<KeyEntry>,
    /// Folded names, whole and with the `/` at their end, in byte order.
    pub(in crate::storage::driver) folded: Vec<String>,
    /// Whether keys after these exist.
    pub(in crate::storage::driver) more: crate::storage::driver::More,
}

/// An object of a listing.
#[derive(Debug, Clone)]
pub(in crate::storage::driver) struct KeyEntry {
    /// Its key.
    pub(in crate::storage::driver) key: String,
    /// Bytes.
    pub(in crate::storage::driver) size: u64,
    /// By the store's clock.
    pub(in crate::storage::driver) modified: SystemTime,
}

/// A multipart upload under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage::driver) struct Multipart {
    /// The key of the object that it becomes.
    pub(in crate::storage::driver) key: String,
    /// The store's name for it.
    pub(in crate::storage::driver) id: String,
}

/// What the store called an uploaded part; wanted back on completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage::driver) struct PartTag(pub(in crate::storage::driver) String);

/// Where a page of multipart uploads goes on.
#[derive(Debug, Clone)]
pub(in crate::storage::driver) struct MultipartMarker {
    /// `key-marker`.
    pub(in crate::storage::driver) key: String,
    /// `upload-id-marker`.
    pub(in crate::storage::driver) id: String,
}

/// One page of multipart uploads.
#[derive(Debug, Clone, Default)]
pub(in crate::storage::driver) struct MultipartPage {
    /// The uploads and when each was begun, by the store's clock.
    pub(in crate::storage::driver) uploads: Vec<(Multipart, SystemTime)>,
    /// Where the next page begins, when there is one.
    pub(in crate::storage::driver) next: Option<MultipartMarker>,
}
