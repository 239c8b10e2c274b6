//! Removing objects and whole directories, and the directories that become empty by it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Shared;
use super::directories::ToSync;
use super::disk::{READ, parent};
use super::failure::failure;
use super::list::raw_names;
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

/// Directories with so few components stay when they are empty: operators mount disks there.
const KEPT_DEPTH: usize = 4;

impl Shared {
    /// See [`crate::storage::driver::Driver::delete_many`].
    pub(super) fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        let removed = self.each(
            paths,
            |_, _| false,
            |path| match self.disk.unlink(path.as_str()) {
                Ok(()) => Ok(true),
                // A directory is not an object, and so there is nothing to remove.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG) => Ok(false),
                Err(errno) => Err(failure("remove", path.as_str(), errno)),
            },
        )?;
        let removed = paths.iter().zip(removed).filter(|(_, removed)| *removed);
        let touched = removed.map(|(path, _)| parent(path.as_str())).collect();
        self.settle_deletion(touched)
    }

    /// See [`crate::storage::driver::Driver::delete_prefix`].
    pub(super) fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        let path = prefix.as_str();
        match self.disk.open_directory(path).and_then(|directory| self.empty_directory(&directory)) {
            Ok(()) => self.settle_deletion([path].into()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(()),
            Err(errno) => Err(failure("remove", path, errno)),
        }
    }

    /// Removes the `touched` directories as far as they are empty, those above them likewise, and syncs what is left.
    pub(super) fn settle_deletion(&self, touched: BTreeSet<&str>) -> Result<()> {
        let mut to_sync = ToSync::new();
        // The deepest first, so that each directory is asked for once, after everything in it was.
        let mut candidates: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for directory in touched {
            candidates.entry(depth(directory)).or_default().insert(directory);
        }
        while let Some((depth, directories)) = candidates.pop_last() {
            let directories: Vec<&str> = directories.into_iter().collect();
            // The kernel holds what a directory is removed from until the removal is over.
            let gone = self.each(
                &directories,
                |one, other| parent(one) == parent(other),
                |directory| {
                    Ok(depth > KEPT_DEPTH
                        && matches!(self.disk.remove_directory(directory), Ok(()) | Err(Errno::NOENT)))
                },
            )?;
            for (directory, gone) in directories.into_iter().zip(gone) {
                if gone {
                    candidates.entry(depth - 1).or_default().insert(parent(directory));
                } else {
                    to_sync.insert(directory.to_owned(), None);
                }
            }
        }
        self.directories.sync(&self.disk, to_sync).map_err(|(directory, errno)| failure("sync", &directory, errno))
    }

    /// Removes everything in `directory`. What is written into it meanwhile may stay, and its directories with it.
    fn empty_directory(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        raw_names(directory, |name, kind| match kind {
            FileType::Directory | FileType::Unknown => directories.push(name.to_owned()),
            _ => files.push(name.to_owned()),
        })?;
        // Without following links: what a link in the tree points to belongs to somebody else.
        let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let inside = |name: &CString| match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(inner) => self.empty_directory(&inner).map(|()| Inside::Emptied),
            Err(Errno::NOENT) => Ok(Inside::Emptied),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(Inside::NoDirectory),
            Err(errno) => Err(errno),
        };
        let inside = self.each(&directories, |_, _| false, inside)?;
        for (name, inside) in directories.into_iter().zip(inside) {
            match inside {
                Inside::NoDirectory => files.push(name),
                Inside::Emptied => match rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                },
            }
        }
        for name in files {
            match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// What was found where a directory was expected.
#[derive(Debug, Clone, Copy, Default)]
enum Inside {
    #[default]
    Emptied,
    /// A file, or a link to somewhere else.
    NoDirectory,
}

/// How many components `directory` has.
fn depth(directory: &str) -> usize {
    directory.split('/').count()
}
