//! A file whose content is kept in memory and read again when the file changes.
//!
//! A change is seen within a second of the next use. A file that has become unreadable or wrong leaves the last good
//! content in place, with one warning for each change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::Error;

/// Time between two looks at the file, in milliseconds.
const INTERVAL: u64 = 1000;

/// Turns a file's content into a value, or says what is wrong with it.
type Read<T> = fn(&[u8]) -> Result<T, String>;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

/// A file's content as a value.
#[derive(Debug)]
pub(super) struct Watched<T> {
    key: &'static str,
    path: PathBuf,
    read: Read<T>,
    value: ArcSwap<(Option<Look>, Arc<T>)>,
    started: Instant,
    /// Milliseconds after `started` from which the next look is due.
    due: AtomicU64,
}

impl<T> Watched<T> {
    /// Reads the file that `key` names.
    pub(super) fn open(key: &'static str, path: PathBuf, read: Read<T>) -> Result<Self, Error> {
        let look = look_at(&path);
        let value = load(key, &path, read)?;
        let value = ArcSwap::from_pointee((look, Arc::new(value)));
        Ok(Self { key, path, read, value, started: Instant::now(), due: AtomicU64::new(INTERVAL) })
    }

    /// The content as of at most a second ago.
    pub(super) fn current(&self) -> Arc<T> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let mine = now >= due
            && self
                .due
                .compare_exchange(due, now.saturating_add(INTERVAL), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.look_again();
        }
        Arc::clone(&self.value.load().1)
    }

    /// Reads the file again if it is not what it was.
    pub(super) fn look_again(&self) {
        let look = look_at(&self.path);
        let held = self.value.load_full();
        if look == held.0 {
            return;
        }
        let value = match load(self.key, &self.path, self.read) {
            Ok(value) => {
                tracing::info!(file = %self.path.display(), "{} was read again", self.key);
                Arc::new(value)
            }
            Err(error) => {
                tracing::warn!(%error, "what was read before stays in force");
                Arc::clone(&held.1)
            }
        };
        self.value.store(Arc::new((look, value)));
    }
}

fn look_at(path: &Path) -> Option<Look> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some(Look { modified, size: metadata.size(), inode: metadata.ino() })
}

fn load<T>(key: &'static str, path: &Path, read: Read<T>) -> Result<T, Error> {
    let content = std::fs::read(path).map_err(|source| Error::File { key, path: path.to_owned(), source })?;
    read(&content).map_err(|problem| Error::Content { key, path: path.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(content: &[u8]) -> Result<u32, String> {
        std::str::from_utf8(content).ok().and_then(|text| text.trim().parse().ok()).ok_or("no number".to_owned())
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        std::fs::write(&path, "1").unwrap();
        let watched = Watched::open("auth.n", path.clone(), number).unwrap();
        assert_eq!(*watched.current(), 1);
        std::fs::write(&path, "22").unwrap();
        watched.look_again();
        assert_eq!(*watched.current(), 22);
        std::fs::write(&path, "many").unwrap();
        watched.look_again();
        assert_eq!(*watched.current(), 22);
        std::fs::remove_file(&path).unwrap();
        watched.look_again();
        assert_eq!(*watched.current(), 22);
        std::fs::write(&path, "333").unwrap();
        watched.look_again();
        assert_eq!(*watched.current(), 333);
    }

    #[test]
    fn a_file_of_the_same_size_put_in_its_place_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("n"), directory.path().join("m"));
        std::fs::write(&path, "1").unwrap();
        std::fs::write(&other, "2").unwrap();
        let watched = Watched::open("auth.n", path.clone(), number).unwrap();
        std::fs::rename(&other, &path).unwrap();
        watched.look_again();
        assert_eq!(*watched.current(), 2);
    }

    #[test]
    fn a_missing_file_stops_the_start_with_its_key_and_path() {
        let error = Watched::open("auth.n", "/nonexistent/n".into(), number).unwrap_err().to_string();
        assert!(error.contains("auth.n: /nonexistent/n: "), "{error}");
    }
}
