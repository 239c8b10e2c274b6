//! Staged writes: a file at the staging path that is appended to, and moved to its object's path when it is complete.
//!
//! Whoever works on one holds a lock on the file (`flock`), which ends with the process and is seen by other replicas on
//! the same disk. What a power cut leaves is the file as of the last suspension, or none.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::task::JoinHandle;

use super::Shared;
use super::directories::Keep;
use super::disk::{Replace, is_file, parent, size};
use super::failure::failure;
use super::read::{read_failure, read_range};
use super::write::write_failure;
use crate::storage::driver::StagedWrite;
use crate::storage::driver::suspended::{self, stale};
use crate::storage::error::{Error, Result, Retry};
use crate::storage::layout::StoragePath;

/// How often content is written again against others who take its directory away.
const ATTEMPTS: usize = 100;

/// Bytes copied at once then.
const PIECE: u64 = 1024 * 1024;

/// Bytes after which what was appended is synced while more arrives.
const EARLY_SYNC: u64 = 16 * 1024 * 1024;

/// A staged write that this request holds.
#[derive(Debug)]
pub(super) struct Staged {
    shared: Arc<Shared>,
    path: StoragePath,
    file: Arc<File>,
    length: u64,
    content: Durability,
    progress: Progress,
    after_drop: AfterDrop,
    early: EarlySync,
}

/// The syncing that goes on while more bytes arrive, so that little is left to wait for when the last one has come.
#[derive(Debug, Default)]
struct EarlySync {
    /// Bytes appended since the last one was begun.
    appended: u64,
    /// The one under way.
    running: Option<JoinHandle<Result<()>>>,
}

/// What becomes of the file of a staged write that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterDrop {
    /// It stays, for whoever resumes it.
    Stays,
    /// It goes: nobody knows its name.
    Goes,
}

/// Whether the bytes appended so far would outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Synced,
    Unsynced,
}

/// Whether the length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Known,
    /// An append failed or was given up half-way.
    Unknown,
}

impl Shared {
    /// See [`crate::storage::driver::Driver::stage`].
    pub(super) fn stage(self: &Arc<Self>, path: &StoragePath) -> Result<Staged> {
        let name = path.as_str();
        let file = self
            .directories
            .with_parent(&self.disk, name, Keep::UntilPowerCut, || self.disk.create(name))
            .map_err(|errno| write_failure("create", name, errno))?;
        self.held(path, file, 0)
    }

    /// See [`crate::storage::driver::Driver::create`]: a file beside the target, as small objects are written.
    pub(super) fn create_beside(self: &Arc<Self>, target: &StoragePath) -> Result<Staged> {
        let path = target.temporary_beside();
        let name = path.as_str();
        let file = self
            .directories
            .with_parent(&self.disk, name, Keep::Always, || self.disk.create(name))
            .map_err(|errno| write_failure("create", name, errno))?;
        lock(&path, &file)?;
        // Nobody knows its name, so nobody has published it; somebody may have taken its directory, which publishing sees.
        Ok(self.staged(path, file, 0, Durability::Unsynced, AfterDrop::Goes))
    }

    /// See [`crate::storage::driver::Driver::resume`].
    pub(super) fn resume(self: &Arc<Self>, path: &StoragePath, state: &[u8]) -> Result<Staged> {
        let promised = suspended::decode(path, state)?;
        let file = self.disk.open_for_writing(path.as_str()).map_err(|errno| read_failure("open", path, errno))?;
        self.held(path, file, promised)
    }

    /// Takes the lock on `file`, which was opened from `path` and had `promised` durable bytes when it was laid down.
    fn held(self: &Arc<Self>, path: &StoragePath, file: File, promised: u64) -> Result<Staged> {
        lock(path, &file)?;
        // Whoever held the lock before may have published the file between our opening it and our locking it.
        let length = self.still_staged(path, &file)?;
        suspended::check(path, promised, length)?;
        // An empty file was never synced.
        let content = if length == promised && length > 0 { Durability::Synced } else { Durability::Unsynced };
        Ok(self.staged(path.clone(), file, length, content, AfterDrop::Stays))
    }

    /// The staged write of `file`, which was opened at `path`, is locked and has `length` bytes.
    fn staged(
        self: &Arc<Self>,
        path: StoragePath,
        file: File,
        length: u64,
        content: Durability,
        after_drop: AfterDrop,
    ) -> Staged {
        let (shared, file) = (Arc::clone(self), Arc::new(file));
        let (progress, early) = (Progress::Known, EarlySync::default());
        Staged { shared, path, file, length, content, progress, after_drop, early }
    }

    /// The length of `file`, which was opened from `path` and must still be what lies there.
    fn still_staged(&self, path: &StoragePath, file: &File) -> Result<u64> {
        let ours = rustix::fs::fstat(file).map_err(|errno| read_failure("stat", path, errno))?;
        let there = self.disk.stat(path.as_str()).map_err(|errno| read_failure("stat", path, errno))?;
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) || !is_file(&ours) {
            return Err(Error::NotFound { path: path.to_string() });
        }
        Ok(size(&ours))
    }

    /// See [`crate::storage::driver::Driver::staged_length`].
    pub(super) async fn staged_length(self: &Arc<Self>, path: &StoragePath, state: &[u8]) -> Result<u64> {
        let promised = suspended::decode(path, state)?;
        let length = self.stat(path).await?.size;
        suspended::check(path, promised, length)?;
        Ok(length)
    }

    /// See [`crate::storage::driver::Driver::discard_staged`].
    pub(super) fn discard_staged(&self, path: &StoragePath) -> Result<()> {
        match self.disk.unlink(path.as_str()) {
            Ok(()) => {
                self.leave_staging(path);
                Ok(())
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(failure("remove", path.as_str(), errno)),
        }
    }

    /// Removes the directory that held the staged write, if nothing else is in it. One that comes back after a power cut
    /// or that others use does no harm.
    fn leave_staging(&self, path: &StoragePath) {
        let _ = self.disk.remove_directory(parent(path.as_str()));
    }

    /// Makes the bytes of `file` durable, or removes it: the kernel may have dropped what it failed to write, so nobody may go
    /// on with it.
    fn sync_staged(&self, path: &StoragePath, file: &File) -> Result<()> {
        self.disk.sync_file(path.as_str(), file).map_err(|errno| {
            let _ = self.disk.unlink(path.as_str());
            write_failure("sync", path.as_str(), errno)
        })
    }

    /// Moves the complete `file` from `staging` to `path`.
    fn publish(&self, staging: &StoragePath, file: &File, content: Durability, path: &StoragePath) -> Result<()> {
        let (from, to) = (staging.as_str(), path.as_str());
        if content == Durability::Unsynced {
            self.sync_staged(staging, file)?;
        }
        let beside = parent(from) == parent(to);
        let moved = self.still_staged(staging, file).and_then(|_| {
            let rename = || self.disk.rename(from, to, Replace::Allowed);
            // Where both share a directory that is missing, making it anew would not bring the file back.
            let renamed =
                if beside { rename() } else { self.directories.with_parent(&self.disk, to, Keep::Always, rename) };
            renamed.map_err(|errno| match errno {
                Errno::NOENT if beside => Error::NotFound { path: staging.to_string() },
                errno => write_failure("rename", to, errno),
            })
        });
        match moved {
            Err(Error::NotFound { .. }) if beside => self.publish_copy(file, path)?,
            moved => moved?,
        }
        self.make_names_durable([to])?;
        if !beside {
            self.leave_staging(staging);
        }
        Ok(())
    }

    /// Writes the content of `file`, whose name somebody took along with its directory, to `path` once more.
    fn publish_copy(&self, file: &File, path: &StoragePath) -> Result<()> {
        let to = path.as_str();
        for _ in 0..ATTEMPTS {
            let temporary = path.temporary_beside();
            let from = temporary.as_str();
            let copied = self.directories.with_parent(&self.disk, to, Keep::Always, || self.disk.create(from));
            let copied = copied.and_then(|copy| {
                let mut offset = 0;
                loop {
                    let piece = read_range(file, offset, PIECE)?;
                    if piece.is_empty() {
                        break;
                    }
                    let length = piece.len() as u64;
                    self.disk.write(from, &copy, offset, &[piece])?;
                    offset += length;
                }
                self.disk.sync_file(from, &copy)?;
                self.disk.rename(from, to, Replace::Allowed)
            });
            match copied {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let _ = self.disk.unlink(from);
                    return Err(write_failure("write", to, errno));
                }
            }
        }
        Err(write_failure("write", to, Errno::NOENT))
    }
}

impl Staged {
    /// Runs `work` on the file where waiting for the disk is allowed. The lock on the file stays until `work` has ended,
    /// also when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Shared, &StoragePath, &File) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        self.shared.run(operation, &self.path, move |shared| work(shared, &path, &file)).await
    }

    /// Begins to sync what was appended so far, unless that is under way or not worth it yet.
    async fn sync_early(&mut self, added: u64) -> Result<()> {
        self.early.appended += added;
        if self.early.appended < EARLY_SYNC || self.early.running.as_ref().is_some_and(|sync| !sync.is_finished()) {
            return Ok(());
        }
        self.early_sync_ended().await?;
        self.early.appended = 0;
        let (shared, path, file) = (Arc::clone(&self.shared), self.path.clone(), Arc::clone(&self.file));
        self.early.running = Some(tokio::spawn(async move {
            let synced = path.clone();
            shared.run("sync", &path, move |shared| shared.sync_staged(&synced, &file)).await
        }));
        Ok(())
    }

    /// Waits for the early sync, whose failure is that of the whole write: the kernel tells it only once.
    async fn early_sync_ended(&mut self) -> Result<()> {
        let Some(running) = self.early.running.take() else { return Ok(()) };
        let ended = running.await.unwrap_or_else(|stopped| {
            Err(Error::Backend {
                operation: "sync",
                path: self.path.to_string(),
                retry: Retry::Later,
                source: stopped.into(),
            })
        });
        if ended.is_err() {
            self.progress = Progress::Unknown;
        }
        ended
    }

    fn length_is_known(&self) -> Result<()> {
        match self.progress {
            Progress::Known => Ok(()),
            Progress::Unknown => Err(Error::StaleState {
                path: self.path.to_string(),
                reason: "writing to it failed before; take it up again".to_owned(),
            }),
        }
    }
}

/// Takes the lock on `file`, which was opened from `path`.
fn lock(path: &StoragePath, file: &File) -> Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
        Errno::WOULDBLOCK => Error::Busy { path: path.to_string() },
        errno => failure("lock", path.as_str(), errno),
    })
}

#[async_trait]
impl StagedWrite for Staged {
    fn length(&self) -> u64 {
        self.length
    }

    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        self.length_is_known()?;
        let offset = self.length;
        let added: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.content = Durability::Unsynced;
        self.progress = Progress::Unknown;
        self.run("write", move |shared, path, file| {
            let path = path.as_str();
            shared.disk.write(path, file, offset, &chunks).map_err(|errno| write_failure("write", path, errno))
        })
        .await?;
        self.progress = Progress::Known;
        self.length = offset + added;
        self.sync_early(added).await
    }

    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.length_is_known()?;
        let end = range.end.min(self.length);
        let length = end.saturating_sub(range.start);
        self.run("read", move |_, path, file| {
            read_range(file, range.start, length).map_err(|errno| read_failure("read", path, errno))
        })
        .await
    }

    async fn suspend(mut self: Box<Self>) -> Result<Vec<u8>> {
        if self.after_drop == AfterDrop::Goes {
            return Err(stale(&self.path, "it was not opened to be suspended".to_owned()));
        }
        self.length_is_known()?;
        self.early_sync_ended().await?;
        // Of an empty file nothing can be lost that its state promises.
        if self.content == Durability::Unsynced && self.length > 0 {
            self.run("sync", Shared::sync_staged).await?;
        }
        Ok(suspended::encode(self.length))
    }

    async fn publish(mut self: Box<Self>, path: &StoragePath) -> Result<()> {
        self.length_is_known()?;
        self.early_sync_ended().await?;
        let (content, path) = (self.content, path.clone());
        self.run("publish", move |shared, staging, file| shared.publish(staging, file, content, &path)).await?;
        self.after_drop = AfterDrop::Stays;
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.run("remove", |shared, path, file| match shared.still_staged(path, file) {
            Ok(_) => shared.discard_staged(path),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }
}

impl Drop for Staged {
    /// One system call on a name that is in memory; work that still runs on the file ends on a file without a name.
    fn drop(&mut self) {
        if self.after_drop == AfterDrop::Goes {
            let _ = self.shared.discard_staged(&self.path);
        }
    }
}
