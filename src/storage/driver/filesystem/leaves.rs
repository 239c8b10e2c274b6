//! Looking at, and reading, one file in each of many directories: no more system calls than that takes, on one thread.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Shared;
use super::disk::is_file;
use super::failure::failure;
use super::list::sorted_names;
use super::read::object_stat;
use crate::storage::driver::{EntryKind, ListPage, ReadLimits, Stat};
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

impl Shared {
    /// See [`crate::storage::driver::Driver::directories`].
    pub(super) fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        let path = prefix.as_str();
        let Some(directory) = self.directory(path)? else { return Ok((Vec::new(), None)) };
        let (mut names, _) = sorted_names(&directory, page).map_err(|errno| failure("list", path, errno))?;
        if let Some(after) = &page.after {
            names.retain(|entry| entry.name.as_bytes() > after.as_bytes());
        }
        let more = names.len() > page.limit;
        names.truncate(page.limit);
        let next =
            names.last().filter(|_| more).map(|last| ListPage { after: Some(last.name.clone()), limit: page.limit });
        let directories = names.into_iter().filter(|entry| entry.kind == EntryKind::Directory);
        Ok((directories.map(|entry| entry.name).collect(), next))
    }

    /// See [`crate::storage::driver::Driver::leaves`].
    pub(super) fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        let path = prefix.as_str();
        let Some(directory) = self.directory(path)? else { return Ok(Vec::new()) };
        let mut leaves = Vec::with_capacity(names.len());
        let mut below = String::new();
        for name in names {
            below.clear();
            below.extend([&name, "/", leaf]);
            match rustix::fs::statat(&directory, &below, AtFlags::empty()) {
                Ok(raw) if is_file(&raw) => leaves.push((name, object_stat(prefix, &raw)?)),
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(failure("stat", &format!("{path}/{below}"), errno)),
            }
        }
        Ok(leaves)
    }

    /// The directory `path`, open; `None` when there is none.
    fn directory(&self, path: &str) -> Result<Option<OwnedFd>> {
        match self.disk.open_directory(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
            Err(errno) => Err(failure("list", path, errno)),
        }
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
