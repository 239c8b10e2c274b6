//! The driver for a directory on a local or network disk.
//!
//! Its tree is distribution's, so that either program serves what the other wrote. Knows paths, not what they mean.
//! Reads of what the kernel has in memory are answered at once; everything else happens on threads that may wait.

mod delete;
mod directories;
mod disk;
mod failure;
mod inline;
mod leaves;
mod list;
mod listings;
mod lock;
mod open;
mod read;
mod relocate;
mod staged;
mod threads;
mod tidy;
mod write;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

pub use open::Access;

use self::directories::Directories;
use self::disk::Disk;
use self::inline::Inline;
use self::listings::Listings;
use super::{
    Driver, Hold, ListPage, Listing, Object, PresignMethod, ReadLimits, Reading, Share, Space, StagedWrite, Stat,
    WriteMode,
};
use crate::storage::config::Filesystem as Config;
use crate::storage::error::{Error, Result, Retry};
use crate::storage::layout::StoragePath;

/// Objects as files below a root directory.
#[derive(Debug, Clone)]
pub struct Filesystem {
    shared: Arc<Shared>,
}

/// What the driver and its staged writes share.
#[derive(Debug)]
struct Shared {
    disk: Disk,
    directories: Directories,
    inline: Inline,
    listings: Listings,
    /// One permit for each thread that may wait for the disk.
    threads: Arc<Semaphore>,
}

impl Filesystem {
    /// Opens the root directory that `config` names, and makes it when it is missing and `access` allows writing.
    ///
    /// # Errors
    /// `Backend` when it is not a directory or `access` is refused; the message says what to do.
    pub fn open(config: &Config, access: Access) -> Result<Self> {
        let root = open::root(&config.root_directory, access)?;
        Ok(Self::over(Disk::new(root), config.max_threads))
    }

    fn over(disk: Disk, max_threads: usize) -> Self {
        let threads = Arc::new(Semaphore::new(max_threads.clamp(1, Semaphore::MAX_PERMITS)));
        let shared = Shared {
            disk,
            directories: Directories::default(),
            inline: Inline::default(),
            listings: Listings::default(),
            threads,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// Runs `work`, which may wait for the disk, on a thread where that disturbs nobody. It runs to its end even when
    /// nobody waits for it any more.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        path: &StoragePath,
        work: impl FnOnce(&Arc<Self>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stopped = |source: Box<dyn std::error::Error + Send + Sync>| Error::Backend {
            operation,
            path: path.to_string(),
            retry: Retry::Later,
            source,
        };
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(|closed| stopped(closed.into()))?;
        let shared = Arc::clone(self);
        let thread = tokio::task::spawn_blocking(move || {
            let result = work(&shared);
            drop(permit);
            result
        });
        thread.await.map_err(|failed| stopped(failed.into()))?
    }
}

#[async_trait]
impl Driver for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        self.shared.stat(path).await
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        self.shared.read(path, limit).await
    }

    async fn open(&self, path: &StoragePath, _reading: Reading) -> Result<Object> {
        self.shared.open(path).await
    }

    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        let target = path.clone();
        self.shared.run("write", path, move |shared| shared.write(&target, &content, mode)).await
    }

    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        let Some((first, _)) = objects.first() else { return Ok(()) };
        let first = first.clone();
        self.shared.run("write", &first, move |shared| shared.write_many(objects)).await
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        let Some(first) = paths.first() else { return Ok(()) };
        let paths = paths.to_vec();
        self.shared.run("remove", first, move |shared| shared.delete_many(&paths)).await
    }

    async fn delete_once(&self, paths: &[StoragePath], _issued: SystemTime) -> Result<()> {
        self.delete_many(paths).await
    }

    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let Some((first, _)) = moves.first() else { return Ok(Vec::new()) };
        let moves = moves.to_vec();
        self.shared.run("move", first, move |shared| shared.move_many(&moves)).await
    }

    async fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let Some((first, _)) = moves.first() else { return Ok(Vec::new()) };
        let moves = moves.to_vec();
        self.shared.run("move", first, move |shared| shared.put_aside(&moves)).await
    }

    async fn space(&self, at: &StoragePath) -> Result<Option<Space>> {
        let directory = at.clone();
        self.shared.run("look at", at, move |shared| shared.space(&directory)).await
    }

    async fn tidy(&self, prefix: &StoragePath, before: SystemTime, share: Share) -> Result<u64> {
        let target = prefix.clone();
        self.shared.run("tidy", prefix, move |shared| shared.tidy(&target, before, share)).await
    }

    async fn hold(&self, path: &StoragePath) -> Result<Hold> {
        let name = path.clone();
        self.shared.run("lock", path, move |shared| shared.hold(&name)).await
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        let target = prefix.clone();
        self.shared.run("remove", prefix, move |shared| shared.delete_prefix(&target)).await
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        self.shared.list(prefix, page).await
    }

    async fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        let (wanted, page) = (prefix.clone(), page.clone());
        self.shared.run("list", prefix, move |shared| shared.directories(&wanted, &page)).await
    }

    async fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (wanted, leaf) = (prefix.clone(), leaf.to_owned());
        self.shared.run("stat", prefix, move |shared| shared.leaves(&wanted, &leaf, names)).await
    }

    async fn read_many(&self, paths: Vec<StoragePath>, limits: ReadLimits) -> Result<Vec<Result<Bytes>>> {
        let Some(first) = paths.first().cloned() else { return Ok(Vec::new()) };
        self.shared.run("read", &first, move |shared| Ok(shared.read_many(&paths, limits))).await
    }

    async fn presigned_url(&self, _path: &StoragePath, _method: PresignMethod) -> Result<Option<String>> {
        Ok(None)
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        let path = staging.clone();
        let staged = self.shared.run("create", staging, move |shared| shared.stage(&path)).await?;
        Ok(Box::new(staged))
    }

    async fn create(&self, target: &StoragePath, _length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        let path = target.clone();
        let staged = self.shared.run("create", target, move |shared| shared.create_beside(&path)).await?;
        Ok(Box::new(staged))
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        let (path, state) = (staging.clone(), state.to_vec());
        let staged = self.shared.run("open", staging, move |shared| shared.resume(&path, &state)).await?;
        Ok(Box::new(staged))
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        self.shared.staged_length(staging, state).await
    }

    async fn discard_staged(&self, staging: &StoragePath, _state: &[u8]) -> Result<()> {
        let path = staging.clone();
        self.shared.run("remove", staging, move |shared| shared.discard_staged(&path)).await
    }
}
