//! Removing what is no object: directories that became empty in other ways than by our deletions, and files that writers
//! left half-written when they died.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Shared;
use super::disk::READ;
use super::failure::failure;
use super::list::raw_names;
use super::write::is_temporary;
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

/// What was found in a directory.
#[derive(Debug, Default)]
struct Found {
    /// Files that were removed.
    removed: u64,
    /// Something is left in it.
    occupied: bool,
}

impl Shared {
    /// See [`crate::storage::driver::Driver::tidy`]. Directories are removed although somebody may be about to write into
    /// them: writers make the directories that they find missing.
    pub(super) fn tidy(&self, prefix: &StoragePath, before: SystemTime) -> Result<u64> {
        let before = before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let path = prefix.as_str();
        match self.disk.open_directory(path).and_then(|directory| tidy(&directory, before)) {
            Ok(found) => Ok(found.removed),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(0),
            Err(errno) => Err(failure("tidy", path, errno)),
        }
    }
}

fn tidy(directory: &OwnedFd, before: u64) -> Result<Found, Errno> {
    let mut names = Vec::new();
    let mut found = Found::default();
    raw_names(directory, |name, kind| match kind {
        FileType::Directory => names.push((name.to_owned(), kind)),
        FileType::RegularFile if name.to_str().is_ok_and(is_temporary) => names.push((name.to_owned(), kind)),
        // Also what links to elsewhere: that was put there by a person.
        _ => found.occupied = true,
    })?;
    for (name, kind) in names {
        let gone = if kind == FileType::Directory {
            let inner = tidy_directory(directory, &name, before)?;
            found.removed += inner.removed;
            !inner.occupied && is_gone(rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR))?
        } else {
            let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW);
            let old = stat.is_ok_and(|stat| u64::try_from(stat.st_mtime).is_ok_and(|written| written < before));
            let gone = old && is_gone(rustix::fs::unlinkat(directory, &name, AtFlags::empty()))?;
            found.removed += u64::from(gone);
            gone
        };
        found.occupied |= !gone;
    }
    Ok(found)
}

fn tidy_directory(directory: &OwnedFd, name: &CStr, before: u64) -> Result<Found, Errno> {
    let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(inner) => tidy(&inner, before),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Found { removed: 0, occupied: true }),
        Err(errno) => Err(errno),
    }
}

/// Whether the name is gone; somebody may have put something into the directory, or a disk may be mounted there.
fn is_gone(removed: Result<(), Errno>) -> Result<bool, Errno> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use crate::storage::FilesystemConfig;
    use crate::storage::driver::{Access, Driver, filesystem::Filesystem};
    use crate::storage::layout::StoragePath;

    #[tokio::test]
    async fn empty_directories_and_old_leftovers_go_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join("r").join(path);
        for directory in ["a/_uploads", "a/_layers/sha256/x", "b/c/d", "kept/one"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        let unique = "0b6e9bd2-3c0f-4d5f-9c9a-6d3f6a4a6d55";
        let [old, young, own] =
            [format!("b/c/link.{unique}.tmp"), format!("kept/link.{unique}.tmp"), "kept/x.tmp".into()];
        for file in [&old, &young, &own] {
            std::fs::write(at(file), b"half").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", at("a/mounted")).unwrap();
        let now = SystemTime::now();
        std::fs::File::open(at(&old)).unwrap().set_modified(now - Duration::from_hours(48)).unwrap();
        let config = FilesystemConfig { root_directory: place.path().to_owned(), ..Default::default() };
        let driver = Filesystem::open(&config, Access::ReadWrite).unwrap();
        let before = now - Duration::from_hours(24);
        assert_eq!(driver.tidy(&StoragePath::for_test("r"), before).await.unwrap(), 1);
        for (path, stays) in [("b", false), ("a/_uploads", false), ("a/_layers", false), ("kept/one", false)] {
            assert_eq!(at(path).exists(), stays, "{path}");
        }
        assert!(at(&young).exists() && at(&own).exists() && at("a/mounted").is_symlink());
        assert_eq!(driver.tidy(&StoragePath::for_test("missing"), before).await.unwrap(), 0);
    }
}
