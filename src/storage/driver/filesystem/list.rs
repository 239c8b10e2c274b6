//! Listing directories in byte order.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use super::Shared;
use super::failure::failure;
use super::write::is_temporary;
use crate::storage::driver::{Entries, Entry, EntryKind, ListPage, Listing};
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

/// Room for names that the kernel fills at once.
const BUFFER: usize = 16 * 1024;
/// So many names are kept beyond a page before those that cannot belong to it are dropped, so that a directory of millions
/// does not fill the memory.
const SLACK: usize = 64 * 1024;

impl Shared {
    /// See [`crate::storage::driver::Driver::list`].
    pub(super) async fn list(self: &Arc<Self>, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        let wanted = prefix.clone();
        let page = page.clone();
        self.run("list", prefix, move |shared| shared.list_patiently(&wanted, &page)).await
    }

    fn list_patiently(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        let path = prefix.as_str();
        let directory = match self.disk.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Listing::default()),
            Err(errno) => return Err(failure("list", path, errno)),
        };
        let names = sorted_names(&directory, page).map_err(|errno| failure("list", path, errno))?;
        Ok(Entries::page_of(names.into(), page))
    }
}

/// The names in `directory` in byte order; of a directory with very many at least those that `page` needs.
fn sorted_names(directory: impl AsFd, page: &ListPage) -> Result<Vec<Entry>, Errno> {
    let mut names: Vec<Entry> = Vec::new();
    let needed = page.limit.saturating_add(1);
    let most = needed.saturating_add(SLACK);
    raw_names(&directory, |name, kind| {
        let Some(entry) = entry(&directory, name, kind) else { return };
        if names.len() >= most {
            if let Some(after) = &page.after {
                names.retain(|entry| entry.name.as_bytes() > after.as_bytes());
            }
            if names.len() > needed {
                names.select_nth_unstable(needed);
                names.truncate(needed);
            }
        }
        names.push(entry);
    })?;
    names.sort_unstable();
    // A directory that changes while it is read may give a name twice.
    names.dedup_by(|one, other| one.name == other.name);
    Ok(names)
}

/// What the raw name stands for in a listing; `None` for what is neither an object nor a directory.
fn entry(directory: impl AsFd, name: &CStr, kind: FileType) -> Option<Entry> {
    // Names that are not UTF-8 were not made by a registry.
    let text = name.to_str().ok()?;
    let kind = match kind {
        FileType::Symlink | FileType::Unknown => {
            // A name that vanished or a link to nowhere names nothing.
            let stat = rustix::fs::statat(directory, name, AtFlags::empty()).ok()?;
            FileType::from_raw_mode(stat.st_mode)
        }
        kind => kind,
    };
    match kind {
        FileType::RegularFile if is_temporary(text) => None,
        FileType::RegularFile => Some(Entry { name: text.to_owned(), kind: EntryKind::Object }),
        FileType::Directory => Some(Entry { name: text.to_owned(), kind: EntryKind::Directory }),
        _ => None,
    }
}

/// Gives every name in `directory` but `.` and `..` to `each`, in no order.
pub(super) fn raw_names(directory: impl AsFd, mut each: impl FnMut(&CStr, FileType)) -> Result<(), Errno> {
    let mut buffer = [const { MaybeUninit::uninit() }; BUFFER];
    let mut names = RawDir::new(directory, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            each(name, entry.file_type());
        }
    }
    Ok(())
}
