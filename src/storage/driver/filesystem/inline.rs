//! Reading without leaving the calling task, for what the kernel has in memory.
//!
//! Handing a read to another thread costs several times what the read itself costs. So the kernel is asked to answer at
//! once or not at all (`RESOLVE_CACHED`, `RWF_NOWAIT`); only when it would have to wait for the disk does a thread wait.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::disk::{Disk, READ, is_file, size};

/// What fits is read in one call and needs no look at the size: every link and most manifests.
pub(super) const FIRST_READ: usize = 4096;
/// Bigger objects are copied by another thread, so that other requests of this one need not wait for the copying.
const MOST_INLINE: u64 = 256 * 1024;

/// Remembers what kernel and filesystem cannot do, so that they are asked only once.
#[derive(Debug, Default)]
pub(super) struct Inline {
    no_cached_open: AtomicBool,
    no_waitless_read: AtomicBool,
}

/// How an attempt to read at once ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// All of it.
    Read(Bytes),
    /// The object has so many bytes, which is more than the limit.
    TooLarge(u64),
    /// It would have to wait, or the object is big.
    WouldWait,
    /// The kernel refused.
    Failed(Errno),
}

impl Inline {
    /// Opens `path` for reading if that needs no waiting; `None` if it does.
    pub(super) fn open(&self, disk: &Disk, path: &str) -> Option<Result<File, Errno>> {
        Some(self.open_cached(disk, path, READ)?.map(File::from))
    }

    /// Opens `path` to look at what it is, not at what it holds; `None` if that needs waiting.
    pub(super) fn look(&self, disk: &Disk, path: &str) -> Option<Result<OwnedFd, Errno>> {
        self.open_cached(disk, path, OFlags::PATH | OFlags::CLOEXEC)
    }

    fn open_cached(&self, disk: &Disk, path: &str, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        if self.no_cached_open.load(Ordering::Relaxed) {
            return None;
        }
        match rustix::fs::openat2(disk.root(), path, flags, Mode::empty(), ResolveFlags::CACHED) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            // Kernels before 5.12, and seccomp profiles that do not know the call.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                self.no_cached_open.store(true, Ordering::Relaxed);
                None
            }
            result => Some(result),
        }
    }

    /// Reads all of `file` if it has at most `limit` bytes and all of them are in memory.
    pub(super) fn read(&self, file: &File, limit: u64) -> Attempt {
        if self.no_waitless_read.load(Ordering::Relaxed) {
            return Attempt::WouldWait;
        }
        let mut first = [0; FIRST_READ];
        match self.read_at(file, &mut first, 0) {
            Ok(length) if length < FIRST_READ => {
                if length as u64 > limit {
                    return Attempt::TooLarge(length as u64);
                }
                Attempt::Read(Bytes::copy_from_slice(first.get(..length).unwrap_or_default()))
            }
            Ok(_) => self.read_rest(file, &first, limit),
            Err(Errno::AGAIN) => Attempt::WouldWait,
            Err(errno) => Attempt::Failed(errno),
        }
    }

    /// Goes on after the `first` bytes.
    fn read_rest(&self, file: &File, first: &[u8], limit: u64) -> Attempt {
        let stat = match rustix::fs::fstat(file) {
            Ok(stat) if is_file(&stat) => stat,
            Ok(_) => return Attempt::Failed(Errno::ISDIR),
            Err(errno) => return Attempt::Failed(errno),
        };
        let length = size(&stat);
        if length > limit {
            return Attempt::TooLarge(length);
        }
        let Ok(capacity) = usize::try_from(length.min(MOST_INLINE + 1)) else { return Attempt::WouldWait };
        if length > MOST_INLINE {
            return Attempt::WouldWait;
        }
        let mut content = vec![0; capacity.max(first.len())];
        let (beginning, mut rest) = content.split_at_mut(first.len());
        beginning.copy_from_slice(first);
        let mut offset = first.len() as u64;
        while !rest.is_empty() {
            match self.read_at(file, rest, offset) {
                // A file that ends early is being damaged by somebody else; the patient way decides what that means.
                Ok(0) | Err(Errno::AGAIN) => return Attempt::WouldWait,
                Ok(length) => {
                    offset += length as u64;
                    rest = rest.get_mut(length..).unwrap_or_default();
                }
                Err(errno) => return Attempt::Failed(errno),
            }
        }
        Attempt::Read(content.into())
    }

    /// Reads what is in memory; `AGAIN` when nothing at `offset` is.
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            // Filesystems that always wait, and kernels before 4.14.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.no_waitless_read.store(true, Ordering::Relaxed);
                Err(Errno::AGAIN)
            }
            Err(Errno::INTR) => Err(Errno::AGAIN),
            result => result,
        }
    }
}
