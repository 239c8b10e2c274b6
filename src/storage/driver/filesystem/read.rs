//! Reading objects: at once if the kernel has them in memory, else on a thread that may wait for the disk.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::io::{Errno, retry_on_intr};

use super::Shared;
use super::disk::{is_file, size};
use super::failure::failure;
use super::inline::{Attempt, FIRST_READ};
use crate::storage::driver::{Content, Object, Stat};
use crate::storage::error::{Error, Result};
use crate::storage::layout::StoragePath;

impl Shared {
    /// See [`crate::storage::driver::Driver::stat`].
    pub(super) async fn stat(self: &Arc<Self>, path: &StoragePath) -> Result<Stat> {
        let stat = if let Some(looked) = self.inline.look(&self.disk, path.as_str()) {
            looked.and_then(rustix::fs::fstat)
        } else {
            let wanted = path.clone();
            self.run("stat", path, move |shared| Ok(shared.disk.stat(wanted.as_str()))).await?
        };
        let stat = stat.map_err(|errno| read_failure("stat", path, errno))?;
        object_stat(path, &stat)
    }

    /// See [`crate::storage::driver::Driver::read`].
    pub(super) async fn read(self: &Arc<Self>, path: &StoragePath, limit: u64) -> Result<Bytes> {
        let opened = match self.inline.open(&self.disk, path.as_str()) {
            Some(Ok(file)) => match self.inline.read(&file, limit) {
                Attempt::Read(content) => return Ok(content),
                Attempt::TooLarge(size) => return Err(Error::TooLarge { path: path.to_string(), size, limit }),
                Attempt::Failed(errno) => return Err(read_failure("read", path, errno)),
                Attempt::WouldWait => Some(file),
            },
            Some(Err(errno)) => return Err(read_failure("open", path, errno)),
            None => None,
        };
        let wanted = path.clone();
        self.run("read", path, move |shared| shared.read_patiently(&wanted, opened, limit)).await
    }

    fn read_patiently(&self, path: &StoragePath, opened: Option<File>, limit: u64) -> Result<Bytes> {
        let file = match opened {
            Some(file) => file,
            None => self.disk.open(path.as_str()).map_err(|errno| read_failure("open", path, errno))?,
        };
        let size = object_stat(path, &fstat(path, &file)?)?.size;
        if size > limit {
            return Err(Error::TooLarge { path: path.to_string(), size, limit });
        }
        read_range(&file, 0, size).map_err(|errno| read_failure("read", path, errno))
    }

    /// [`Shared::read`] for a thread that may wait.
    pub(super) fn read_here(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        let file = self.disk.open(path.as_str()).map_err(|errno| read_failure("open", path, errno))?;
        let mut first = [0; FIRST_READ];
        match retry_on_intr(|| rustix::io::pread(&file, &mut first, 0)) {
            // It ended before the buffer did, so that was all of it.
            Ok(length) if length < FIRST_READ && length as u64 <= limit => {
                Ok(Bytes::copy_from_slice(first.get(..length).unwrap_or_default()))
            }
            Ok(_) => self.read_patiently(path, Some(file), limit),
            Err(errno) => Err(read_failure("read", path, errno)),
        }
    }

    /// See [`crate::storage::driver::Driver::open`].
    pub(super) async fn open(self: &Arc<Self>, path: &StoragePath) -> Result<Object> {
        let file = if let Some(opened) = self.inline.open(&self.disk, path.as_str()) {
            opened
        } else {
            let wanted = path.clone();
            self.run("open", path, move |shared| Ok(shared.disk.open(wanted.as_str()))).await?
        };
        let file = file.map_err(|errno| read_failure("open", path, errno))?;
        let size = object_stat(path, &fstat(path, &file)?)?.size;
        Ok(Object { size, content: Content::File(Arc::new(file)) })
    }
}

/// The `length` bytes of `file` from `offset` on, fewer if it ends before.
pub(super) fn read_range(file: &File, offset: u64, length: u64) -> Result<Bytes, Errno> {
    let length = usize::try_from(length).map_err(|_| Errno::NOMEM)?;
    let mut content = Vec::with_capacity(length);
    while content.len() < length {
        let position = offset + content.len() as u64;
        let read = retry_on_intr(|| rustix::io::pread(file, rustix::buffer::spare_capacity(&mut content), position))?;
        if read == 0 {
            break;
        }
    }
    // The allocator may have given more room than was asked for.
    content.truncate(length);
    Ok(content.into())
}

fn fstat(path: &StoragePath, file: impl AsFd) -> Result<rustix::fs::Stat> {
    rustix::fs::fstat(file).map_err(|errno| read_failure("stat", path, errno))
}

/// What `stat` says of an object; anything but a regular file is none.
pub(super) fn object_stat(path: &StoragePath, stat: &rustix::fs::Stat) -> Result<Stat> {
    if !is_file(stat) {
        return Err(Error::NotFound { path: path.to_string() });
    }
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(Stat { size: size(stat), modified: SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds) })
}

/// The error for a read: what cannot be an object is not there.
pub(super) fn read_failure(operation: &'static str, path: &StoragePath, errno: Errno) -> Error {
    match errno {
        Errno::ISDIR | Errno::NAMETOOLONG | Errno::NXIO | Errno::SPIPE => Error::NotFound { path: path.to_string() },
        errno => failure(operation, path.as_str(), errno),
    }
}
