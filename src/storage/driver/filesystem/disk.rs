//! The handful of system calls that the driver is made of, by path below a root that is held open.
//!
//! Knows nothing of objects. Every path is relative and was made by the layout, so `..` cannot occur; symbolic links
//! inside the root are followed, because operators place parts of the tree on other disks. Every call may block.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};

/// Mode of new files before the umask, as distribution asks for.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
/// Mode of new directories before the umask, as distribution asks for.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
/// Most buffers that one `pwritev` takes, far below the kernel's 1,024.
const MOST_BUFFERS: usize = 64;

/// How files are opened for reading: `NONBLOCK` so that a named pipe somebody left in the tree cannot hang a thread.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Whether a rename may replace what lies at the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    /// Replace it.
    Allowed,
    /// Fail with `EXIST`.
    Refused,
}

/// A directory tree on a local or network disk.
#[derive(Debug)]
pub(super) struct Disk {
    root: OwnedFd,
    /// Told of every change before it is made.
    #[cfg(test)]
    pub(super) watch: Option<std::sync::Arc<dyn Watch>>,
}

/// A change to the tree, for tests of their order and of their failing.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Create(String),
    Write(String, u64, Vec<Bytes>),
    SyncFile(String),
    SyncDirectory(String),
    Rename(String, String),
    Touch(String),
    MakeDirectory(String),
    Unlink(String),
    RemoveDirectory(String),
}

/// Sees every change before it is made, and may let it fail instead.
#[cfg(test)]
pub(super) trait Watch: Send + Sync + std::fmt::Debug {
    fn step(&self, step: Step) -> Result<(), Errno>;
}

impl Disk {
    /// The tree below `root`, an open directory.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            #[cfg(test)]
            watch: None,
        }
    }

    #[cfg(test)]
    fn watched(&self, step: Step) -> Result<(), Errno> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.step(step))
    }

    /// The root, for callers that try the same calls without blocking.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens `path` for reading.
    pub(super) fn open(&self, path: &str) -> Result<File, Errno> {
        retry_on_intr(|| rustix::fs::openat(&self.root, path, READ, Mode::empty())).map(File::from)
    }

    /// Opens the directory `path`, or the root when it is empty.
    pub(super) fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        retry_on_intr(|| rustix::fs::openat(&self.root, path, READ.union(OFlags::DIRECTORY), Mode::empty()))
    }

    /// The same, but not where `path` is a symbolic link.
    pub(super) fn open_own_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        retry_on_intr(|| rustix::fs::openat(&self.root, path, flags, Mode::empty()))
    }

    /// Opens `path`, which exists, for reading and writing.
    pub(super) fn open_for_writing(&self, path: &str) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        retry_on_intr(|| rustix::fs::openat(&self.root, path, flags, Mode::empty())).map(File::from)
    }

    /// Creates `path`, which must not exist, for reading and writing.
    pub(super) fn create(&self, path: &str) -> Result<File, Errno> {
        #[cfg(test)]
        self.watched(Step::Create(path.to_owned()))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.root, path, flags, FILE_MODE)).map(File::from)
    }

    /// Writes all of `chunks` to `file`, which was opened from `path`, starting `offset` bytes into it.
    pub(super) fn write(&self, path: &str, file: &File, offset: u64, chunks: &[Bytes]) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::Write(path.to_owned(), offset, chunks.to_vec()))?;
        let _ = (self, path);
        let mut offset = offset;
        let mut remaining = chunks;
        // How much of the first remaining chunk is written already.
        let mut skip = 0;
        while let Some((first, rest)) = remaining.split_first() {
            if skip >= first.len() {
                remaining = rest;
                skip = 0;
                continue;
            }
            let buffers: Vec<IoSlice<'_>> = std::iter::once(first.get(skip..).unwrap_or_default())
                .chain(rest.iter().map(AsRef::as_ref))
                .take(MOST_BUFFERS)
                .map(IoSlice::new)
                .collect();
            let written = retry_on_intr(|| rustix::io::pwritev(file, &buffers, offset))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            offset += written as u64;
            skip += written;
            while let Some((first, rest)) = remaining.split_first()
                && skip >= first.len()
            {
                skip -= first.len();
                remaining = rest;
            }
        }
        Ok(())
    }

    /// Makes the content of `file`, which was opened from `path`, durable. After an error the content must be given up:
    /// the kernel forgets which pages it failed to write, so a second attempt would succeed without having written them.
    pub(super) fn sync_file(&self, path: &str, file: &File) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::SyncFile(path.to_owned()))?;
        let _ = (self, path);
        rustix::fs::fdatasync(file)
    }

    /// Makes the names in the directory `path` durable. A directory that is gone has none to keep.
    pub(super) fn sync_directory(&self, path: &str) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::SyncDirectory(path.to_owned()))?;
        match self.open_directory(path) {
            Ok(directory) => rustix::fs::fsync(directory),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Moves `from` to `to` in one step.
    pub(super) fn rename(&self, from: &str, to: &str, replace: Replace) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::Rename(from.to_owned(), to.to_owned()))?;
        match replace {
            Replace::Allowed => rustix::fs::renameat(&self.root, from, &self.root, to),
            Replace::Refused => {
                match rustix::fs::renameat_with(&self.root, from, &self.root, to, RenameFlags::NOREPLACE) {
                    // Network filesystems do not know the flag; a hard link refuses an existing name everywhere.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                        rustix::fs::linkat(&self.root, from, &self.root, to, AtFlags::empty())?;
                        self.unlink(from)
                    }
                    result => result,
                }
            }
        }
    }

    /// Sets the time of the last modification of `path` to now, by the clock of the file system.
    pub(super) fn touch(&self, path: &str) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::Touch(path.to_owned()))?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
        rustix::fs::utimensat(&self.root, path, &times, AtFlags::empty())
    }

    /// Room on the file system of the directory `path`: what may still be written and what there is in all, bytes.
    pub(super) fn space(&self, path: &str) -> Result<(u64, u64), Errno> {
        let directory = self.open_directory(path)?;
        let blocks = retry_on_intr(|| rustix::fs::fstatvfs(&directory))?;
        let bytes = |count: u64| count.saturating_mul(blocks.f_frsize);
        Ok((bytes(blocks.f_bavail), bytes(blocks.f_blocks)))
    }

    /// Makes the directory `path`, whose parent exists. `EXIST` when something has that name.
    pub(super) fn make_directory(&self, path: &str) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::MakeDirectory(path.to_owned()))?;
        rustix::fs::mkdirat(&self.root, path, DIRECTORY_MODE)
    }

    /// Removes the name `path` of a file.
    pub(super) fn unlink(&self, path: &str) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::Unlink(path.to_owned()))?;
        rustix::fs::unlinkat(&self.root, path, AtFlags::empty())
    }

    /// Removes the directory `path` if it is empty.
    pub(super) fn remove_directory(&self, path: &str) -> Result<(), Errno> {
        #[cfg(test)]
        self.watched(Step::RemoveDirectory(path.to_owned()))?;
        rustix::fs::unlinkat(&self.root, path, AtFlags::REMOVEDIR)
    }

    /// What is known of `path`, following symbolic links.
    pub(super) fn stat(&self, path: &str) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.root, path, AtFlags::empty())
    }
}

/// Whether `stat` is that of a regular file.
pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Size of the file that `stat` describes, bytes.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The directory that holds `path`; empty for the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
