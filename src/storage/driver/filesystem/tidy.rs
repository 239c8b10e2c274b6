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
use crate::storage::driver::Share;
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

/// Directories with more sub-directories than this are gone through in shares.
const MANY: usize = 64;

/// What to remove, and where to look for it.
#[derive(Debug, Clone, Copy)]
struct Tidying {
    /// Files last written before this, seconds since 1970.
    before: u64,
    /// Of which part of the sub-directories; `None` below one that was chosen.
    share: Option<Share>,
}

impl Shared {
    /// See [`crate::storage::driver::Driver::tidy`]. Directories are removed although somebody may be about to write into
    /// them: writers make the directories that they find missing.
    pub(super) fn tidy(&self, prefix: &StoragePath, before: SystemTime, share: Share) -> Result<u64> {
        let before = before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let tidying = Tidying { before, share: Some(share) };
        let path = prefix.as_str();
        match self.disk.open_directory(path).and_then(|directory| tidy(&directory, tidying)) {
            Ok(found) => Ok(found.removed),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(0),
            Err(errno) => Err(failure("tidy", path, errno)),
        }
    }
}

fn tidy(directory: &OwnedFd, tidying: Tidying) -> Result<Found, Errno> {
    let mut directories = Vec::new();
    let mut temporaries = Vec::new();
    let mut found = Found::default();
    raw_names(directory, |name, kind| match kind {
        FileType::Directory => directories.push(name.to_owned()),
        FileType::RegularFile if name.to_str().is_ok_and(is_temporary) => temporaries.push(name.to_owned()),
        // Also what links to elsewhere: that was put there by a person.
        _ => found.occupied = true,
    })?;
    for name in temporaries {
        let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW);
        let old = stat.is_ok_and(|stat| u64::try_from(stat.st_mtime).is_ok_and(|written| written < tidying.before));
        let gone = old && is_gone(rustix::fs::unlinkat(directory, &name, AtFlags::empty()))?;
        found.removed += u64::from(gone);
        found.occupied |= !gone;
    }
    let mut below = tidying;
    if let Some(share) = tidying.share
        && directories.len() > MANY
    {
        found.occupied = true;
        directories.retain(|name| share.has(name.to_bytes()));
        // Chosen once, a directory is gone through whole: shares of shares would leave some never looked at.
        below.share = None;
    }
    for name in directories {
        let inner = tidy_directory(directory, &name, below)?;
        let gone = !inner.occupied && is_gone(rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR))?;
        found.removed += inner.removed;
        found.occupied |= !gone;
    }
    Ok(found)
}

fn tidy_directory(directory: &OwnedFd, name: &CStr, tidying: Tidying) -> Result<Found, Errno> {
    let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(inner) => tidy(&inner, tidying),
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
    use crate::storage::driver::{Access, Driver, Share, filesystem::Filesystem};
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
        assert_eq!(driver.tidy(&StoragePath::for_test("r"), before, Share::WHOLE).await.unwrap(), 1);
        for (path, stays) in [("b", false), ("a/_uploads", false), ("a/_layers", false), ("kept/one", false)] {
            assert_eq!(at(path).exists(), stays, "{path}");
        }
        assert!(at(&young).exists() && at(&own).exists() && at("a/mounted").is_symlink());
        assert_eq!(driver.tidy(&StoragePath::for_test("missing"), before, Share::WHOLE).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn all_shares_together_are_everything() {
        let place = tempfile::tempdir().unwrap();
        let at = |number: usize| place.path().join(format!("r/{number:064x}/a/b"));
        for number in 0..500 {
            std::fs::create_dir_all(at(number)).unwrap();
        }
        let config = FilesystemConfig { root_directory: place.path().to_owned(), ..Default::default() };
        let driver = Filesystem::open(&config, Access::ReadWrite).unwrap();
        let mut left = vec![500];
        for number in 0..8 {
            driver.tidy(&StoragePath::for_test("r"), SystemTime::now(), Share { number, of: 8 }).await.unwrap();
            left.push((0..500).filter(|number| at(*number).exists()).count());
        }
        assert_eq!(left.last(), Some(&0), "{left:?}");
        assert!(left.windows(2).all(|two| matches!(two, [before, after] if before - after > 20)), "{left:?}");
    }
}
