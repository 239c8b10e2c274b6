//! Makes directories, and remembers which of them a power cut could still take away.
//!
//! A request that finds a directory made by another one a moment ago must not answer before that directory is durable,
//! although it did not make it. So what was made is remembered for the whole process until somebody has synced it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::disk::{Disk, parent};

/// How often making a directory is tried against others who remove it because it is empty.
const ATTEMPTS: usize = 100;

/// The directories that gained a sub-directory since they were last synced.
#[derive(Debug, Default)]
pub(super) struct Directories {
    unsynced: Mutex<Unsynced>,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// Directory and the number of the last change to it.
    changed: HashMap<String, u64>,
    changes: u64,
}

/// Whether a directory has to outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It leads to objects: whoever makes it notes that it is not durable yet.
    Always,
    /// It holds a staged write only, which a power cut may take away as a whole.
    UntilPowerCut,
}

/// Directories to sync, with the number of the change that syncing them settles.
pub(super) type ToSync = BTreeMap<String, Option<u64>>;

impl Directories {
    /// Runs `work`, which needs the directory of `path`, and makes that directory whenever `work` fails because it is
    /// missing.
    pub(super) fn with_parent<T>(
        &self,
        disk: &Disk,
        path: &str,
        keep: Keep,
        mut work: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        for _ in 0..ATTEMPTS {
            match work() {
                Err(Errno::NOENT) => self.make(disk, parent(path), keep)?,
                result => return result,
            }
        }
        Err(Errno::NOENT)
    }

    /// Makes `directory` and those above it, as far as they are missing.
    fn make(&self, disk: &Disk, directory: &str, keep: Keep) -> Result<(), Errno> {
        if directory.is_empty() {
            return Err(Errno::NOENT);
        }
        for _ in 0..ATTEMPTS {
            match self.make_one(disk, directory, keep) {
                Ok(()) | Err(Errno::EXIST) => return Ok(()),
                Err(Errno::NOENT) => self.make(disk, parent(directory), Keep::Always)?,
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::NOENT)
    }

    /// Makes one directory. The lock is held meanwhile, so that nobody sees the directory before it is noted as unsynced.
    fn make_one(&self, disk: &Disk, directory: &str, keep: Keep) -> Result<(), Errno> {
        if keep == Keep::UntilPowerCut {
            return disk.make_directory(directory);
        }
        let mut unsynced = self.lock();
        disk.make_directory(directory)?;
        unsynced.changes += 1;
        let change = unsynced.changes;
        unsynced.changed.insert(parent(directory).to_owned(), change);
        Ok(())
    }

    /// Adds to `to_sync` what has to be synced before the name `path` is durable: its directory, and the directories
    /// above in which a name on the way to it is not durable yet.
    pub(super) fn collect(&self, path: &str, to_sync: &mut ToSync) {
        let unsynced = self.lock();
        let mut directory = parent(path);
        to_sync.insert(directory.to_owned(), unsynced.changed.get(directory).copied());
        while !directory.is_empty() {
            directory = parent(directory);
            if let Some(change) = unsynced.changed.get(directory) {
                to_sync.insert(directory.to_owned(), Some(*change));
            }
        }
    }

    /// Syncs each of `to_sync`. On error it gives the directory that failed.
    pub(super) fn sync(&self, disk: &Disk, to_sync: ToSync) -> Result<(), (String, Errno)> {
        for (directory, change) in to_sync {
            if let Err(errno) = disk.sync_directory(&directory) {
                return Err((directory, errno));
            }
            if change.is_some() {
                let mut unsynced = self.lock();
                if unsynced.changed.get(&directory).copied() == change {
                    unsynced.changed.remove(&directory);
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        // The map is consistent after every statement, so a panic elsewhere does not spoil it.
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
