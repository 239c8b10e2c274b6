//! A driver that tells somebody how long each call of the driver below it took. Only calls that end are told.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Addresses, Capabilities, Driver, Hold, Latency, ListPage, Listing, Object, PresignMethod, ReadLimits, Reading,
    Result, Share, Space, StagedWrite, Stat, StoragePath, Tree, Unfinished, WriteMode,
};

/// Called with distribution's name for the action and how long it took.
pub type Observer = Arc<dyn Fn(&'static str, Duration) + Send + Sync>;

/// Passes every call on and times those that distribution times.
pub struct Observed {
    inner: Arc<dyn Driver>,
    observer: Observer,
}

impl Observed {
    /// Times the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, observer: Observer) -> Self {
        Self { inner, observer }
    }

    async fn timed<T>(&self, action: &'static str, call: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = call.await;
        (self.observer)(action, start.elapsed());
        result
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.inner).finish()
    }
}

#[async_trait]
impl Driver for Observed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        self.timed("Stat", self.inner.stat(path)).await
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        self.timed("GetContent", self.inner.read(path, limit)).await
    }

    async fn open(&self, path: &StoragePath, reading: Reading) -> Result<Object> {
        self.timed("Reader", self.inner.open(path, reading)).await
    }

    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        self.timed("PutContent", self.inner.write(path, content, mode)).await
    }

    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        self.timed("PutContent", self.inner.write_many(objects)).await
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        self.timed("Delete", self.inner.delete(path)).await
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        self.timed("Delete", self.inner.delete_many(paths)).await
    }

    async fn delete_once(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()> {
        self.timed("Delete", self.inner.delete_once(paths, issued)).await
    }

    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.timed("Move", self.inner.move_many(moves)).await
    }

    async fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.timed("Move", self.inner.put_aside(moves)).await
    }

    async fn space(&self, at: &StoragePath) -> Result<Option<Space>> {
        self.inner.space(at).await
    }

    async fn tidy(&self, prefix: &StoragePath, before: SystemTime, share: Share) -> Result<u64> {
        self.inner.tidy(prefix, before, share).await
    }

    async fn hold(&self, path: &StoragePath) -> Result<Hold> {
        self.inner.hold(path).await
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        self.timed("Delete", self.inner.delete_prefix(prefix)).await
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        self.timed("List", self.inner.list(prefix, page)).await
    }

    async fn presigned_url(&self, path: &StoragePath, method: PresignMethod) -> Result<Option<String>> {
        self.timed("RedirectURL", self.inner.presigned_url(path, method)).await
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        self.timed("Writer", self.inner.stage(staging)).await
    }

    async fn create(&self, target: &StoragePath, length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        self.timed("Writer", self.inner.create(target, length)).await
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        self.timed("Writer", self.inner.resume(staging, state)).await
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        self.timed("Stat", self.inner.staged_length(staging, state)).await
    }

    async fn discard_staged(&self, staging: &StoragePath, state: &[u8]) -> Result<()> {
        self.timed("Delete", self.inner.discard_staged(staging, state)).await
    }

    async fn tree(&self, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
        self.timed("Walk", self.inner.tree(prefix, page)).await
    }

    async fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        self.timed("List", self.inner.directories(prefix, page)).await
    }

    async fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        self.timed("Walk", self.inner.leaves(prefix, leaf, names)).await
    }

    async fn read_many(&self, paths: Vec<StoragePath>, limits: ReadLimits) -> Result<Vec<Result<Bytes>>> {
        self.timed("GetContent", self.inner.read_many(paths, limits)).await
    }

    async fn unfinished_writes(&self, before: SystemTime, what: Unfinished) -> Result<u64> {
        self.inner.unfinished_writes(before, what).await
    }

    fn latency(&self) -> Latency {
        self.inner.latency()
    }

    fn addresses(&self) -> Addresses {
        self.inner.addresses()
    }

    async fn address_for(
        &self,
        path: &StoragePath,
        method: PresignMethod,
        client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        self.timed("RedirectURL", self.inner.address_for(path, method, client)).await
    }

    fn object_key(&self, path: &StoragePath) -> String {
        self.inner.object_key(path)
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        self.inner.capabilities().await
    }
}
