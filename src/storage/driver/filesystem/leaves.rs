//! Looking at, and reading, one file in each of many directories: no more system calls than that takes, on one thread.

use bytes::Bytes;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Shared;
use super::disk::is_file;
use super::failure::failure;
use super::read::object_stat;
use crate::storage::driver::{ReadLimits, Stat};
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

impl Shared {
    /// See [`crate::storage::driver::Driver::leaves`].
    pub(super) fn leaves(&self, prefix: &StoragePath, leaf: &str, names: &[String]) -> Result<Vec<Option<Stat>>> {
        let path = prefix.as_str();
        let directory = match self.disk.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(vec![None; names.len()]),
            Err(errno) => return Err(failure("list", path, errno)),
        };
        let mut leaves = Vec::with_capacity(names.len());
        let mut below = String::new();
        for name in names {
            below.clear();
            below.extend([name, "/", leaf]);
            leaves.push(match rustix::fs::statat(&directory, &below, AtFlags::empty()) {
                Ok(raw) if is_file(&raw) => Some(object_stat(prefix, &raw)?),
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => None,
                Err(errno) => return Err(failure("stat", &format!("{path}/{below}"), errno)),
            });
        }
        Ok(leaves)
    }

    /// See [`crate::storage::driver::Driver::read_many`].
    pub(super) fn read_many(&self, paths: &[StoragePath], limits: ReadLimits) -> Vec<Result<Bytes>> {
        let mut contents = Vec::with_capacity(paths.len());
        let mut bytes = 0;
        for path in paths {
            let content = self.read_here(path, limits.each);
            bytes += content.as_ref().map_or(0, Bytes::len) as u64;
            contents.push(content);
            if bytes >= limits.together {
                break;
            }
        }
        contents
    }
}
