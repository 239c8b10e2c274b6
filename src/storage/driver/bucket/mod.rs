//! A driver over a bucket: directories as common prefixes, staged writes as chunk objects and multipart uploads.
//!
//! Everything that S3 and OSS have in common lies here, over the few verbs of [`Service`]. What a driver promises and a bucket
//! does not (order of names, whole bodies, writes that go on elsewhere) is made here. It knows nothing of either protocol.

mod background;
mod buffer;
mod chunks;
mod coalesce;
mod direct;
#[cfg(test)]
mod fake;
mod hold;
mod keys;
mod list;
mod multipart;
mod parts;
mod payload;
mod probe;
mod publish;
mod read;
mod segments;
mod service;
mod session;
mod state;
#[cfg(test)]
mod tests;

pub(in crate::storage::driver) use payload::Payload;
pub(in crate::storage::driver) use service::*;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Capabilities, Driver, Latency, ListPage, Listing, Object, PresignMethod, Reading, StagedWrite, Stat, Tree,
    Unfinished, WriteMode,
};
use crate::storage::error::{Error, Result, Retry, found};
use crate::storage::layout::StoragePath;

use background::Doomed;
use coalesce::Coalesced;
use hold::Holds;
use parts::Pool;
use session::Session;
use state::State;

/// Objects written at once by one [`Driver::write_many`].
const WRITES_AT_ONCE: usize = 16;

/// How long a presigned address is good for.
const PRESIGNED_FOR: Duration = Duration::from_mins(20);

/// A bucket as a driver.
#[derive(Debug)]
pub(in crate::storage::driver) struct Bucket {
    store: Arc<Store>,
    holds: Arc<Holds>,
    reads: Coalesced<(String, u64), Bytes>,
    stats: Coalesced<String, Stat>,
}

/// The bucket, the directory that is ours, the memory that all writes share, and what they leave to be removed.
#[derive(Debug)]
struct Store {
    service: Arc<dyn Service>,
    root: String,
    pool: Pool,
    doomed: Doomed,
}

impl Store {
    /// The key of the object at `path`.
    fn key(&self, path: &StoragePath) -> String {
        if self.root.is_empty() { path.to_string() } else { format!("{}/{path}", self.root) }
    }

    /// Size of the object at `key`, if there is one.
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(found(self.service.head(key).await)?.map(|head| head.size))
    }
}

impl Bucket {
    /// The driver over `service` with everything below `root_directory`.
    pub(in crate::storage::driver) fn new(service: Arc<dyn Service>, root_directory: &str) -> Self {
        let root = root_directory.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        Self {
            store: Arc::new(Store { service, root, pool: Pool::new(), doomed: Doomed::default() }),
            holds: Arc::default(),
            reads: Coalesced::default(),
            stats: Coalesced::default(),
        }
    }
}

#[async_trait]
impl Driver for Bucket {
    fn name(&self) -> &'static str {
        self.store.service.name()
    }

    fn latency(&self) -> Latency {
        Latency::Remote
    }

    fn object_key(&self, path: &StoragePath) -> String {
        self.store.key(path)
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        let key = self.store.key(path);
        let head = async {
            let head = self.store.service.head(&key).await?;
            Ok(Stat { size: head.size, modified: head.modified })
        };
        self.stats.run(key.clone(), head).await
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        let key = self.store.key(path);
        self.reads.run((key.clone(), limit), read::whole(&*self.store.service, &key, limit)).await
    }

    async fn open(&self, path: &StoragePath, reading: Reading) -> Result<Object> {
        read::open(&self.store.service, self.store.key(path), reading).await
    }

    /// With [`WriteMode::CreateOnly`] on a store that ignores the condition, of several concurrent writers the last one
    /// wins; what lay there before is spared all the same.
    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        let key = self.store.key(path);
        if mode == WriteMode::CreateOnly && self.store.size(&key).await?.is_some() {
            return Err(Error::AlreadyExists { path: key });
        }
        self.store.service.put(&key, content.into(), mode).await
    }

    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        let writes = objects.into_iter().map(|(path, content)| async move {
            self.store.service.put(&self.store.key(&path), content.into(), WriteMode::Overwrite).await
        });
        stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        keys::delete(&*self.store.service, paths.iter().map(|path| self.store.key(path)).collect()).await
    }

    async fn delete_once(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()> {
        let keys = paths.iter().map(|path| self.store.key(path)).collect();
        keys::delete_once(&*self.store.service, keys, issued).await
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        keys::delete_below(&*self.store.service, &format!("{}/", self.store.key(prefix))).await
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        list::directory(&*self.store.service, &format!("{}/", self.store.key(prefix)), page).await
    }

    async fn tree(&self, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
        list::tree(&*self.store.service, &format!("{}/", self.store.key(prefix)), prefix, page).await
    }

    async fn presigned_url(&self, path: &StoragePath, method: PresignMethod) -> Result<Option<String>> {
        self.store.service.presign(&self.store.key(path), method, PRESIGNED_FOR).await.map(Some)
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        let hold = Holds::take(&self.holds, self.store.key(staging))?;
        let state = State::new(self.store.service.limits().part);
        Ok(Box::new(Session::new(&self.store, hold, state)))
    }

    async fn create(&self, target: &StoragePath, length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        Ok(Box::new(direct::Direct::new(&self.store, self.store.key(target), length)))
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        let key = self.store.key(staging);
        let state = State::decode(&key, state)?;
        let hold = Holds::take(&self.holds, key)?;
        Ok(Box::new(Session::new(&self.store, hold, state)))
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        let key = self.store.key(staging);
        let state = State::decode(&key, state)?;
        segments::still_there(&self.store, &key, &state).await?;
        Ok(state.length())
    }

    async fn discard_staged(&self, staging: &StoragePath, state: &[u8]) -> Result<()> {
        let key = self.store.key(staging);
        let state = if state.is_empty() { None } else { Some(State::decode(&key, state)?) };
        self.holds.end(&key);
        let Some(state) = state else { return Ok(()) };
        let named = segments::objects(&self.store, &key, &state).await?;
        keys::delete(&*self.store.service, named).await
    }

    async fn unfinished_writes(&self, before: SystemTime, what: Unfinished) -> Result<u64> {
        multipart::unfinished(&self.store, before, what).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        probe::capabilities(&self.store).await
    }
}

/// A driver over an empty bucket in memory, whose parts have `part` bytes.
#[cfg(test)]
pub(in crate::storage::driver) fn in_memory(part: u64) -> Bucket {
    Bucket::new(Arc::new(fake::Fake::new(part)), "root")
}

/// The error for what a store answered and no store may, or for what it cannot take.
fn refused(operation: &'static str, key: &str, retry: Retry, reason: impl Into<String>) -> Error {
    Error::Backend { operation, path: key.to_owned(), retry, source: reason.into().into() }
}

fn not_found(key: &str) -> Error {
    Error::NotFound { path: key.to_owned() }
}
