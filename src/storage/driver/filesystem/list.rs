//! Listing directories in byte order.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

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
        if let Some(Ok(directory)) = self.inline.look(&self.disk, prefix.as_str())
            && let Ok(stat) = rustix::fs::fstat(directory)
            && let Some(names) = self.listings.get(&stat)
        {
            return Ok(Entries::page_of(names, page));
        }
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
        self.names(&directory, page)
            .map(|names| Entries::page_of(names, page))
            .map_err(|errno| failure("list", path, errno))
    }

    /// The names in `directory` that `page` needs; all of them are remembered if they are few enough.
    fn names(&self, directory: &OwnedFd, page: &ListPage) -> Result<Arc<[Entry]>, Errno> {
        let started = Instant::now();
        let before = rustix::fs::fstat(directory)?;
        let (names, extent) = sorted_names(directory, page)?;
        let names = names.into();
        if extent == Extent::Whole {
            self.listings.note(started, &before, &rustix::fs::fstat(directory)?, &names);
        }
        Ok(names)
    }
}

/// Whether names were left out of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part,
}

/// The names in `directory` in byte order; of a directory with very many only those that `page` needs.
pub(super) fn sorted_names(directory: &OwnedFd, page: &ListPage) -> Result<(Vec<Entry>, Extent), Errno> {
    let mut names: Vec<Entry> = Vec::new();
    let mut extent = Extent::Whole;
    // One more than fits on the page tells whether there is another.
    let needed = page.limit.saturating_add(1);
    let most = needed.saturating_add(SLACK);
    raw_names(directory, |name, kind| {
        let Some(entry) = entry(directory, name, kind) else { return };
        if names.len() >= most {
            extent = Extent::Part;
            keep_smallest(&mut names, page.after.as_deref(), needed);
        }
        names.push(entry);
    })?;
    names.sort_unstable();
    // A directory that changes while it is read may give a name twice.
    names.dedup_by(|one, other| one.name == other.name);
    Ok((names, extent))
}

/// Drops all of `names` but the `needed` smallest after `after`.
fn keep_smallest(names: &mut Vec<Entry>, after: Option<&str>, needed: usize) {
    if let Some(after) = after {
        names.retain(|entry| entry.name.as_bytes() > after.as_bytes());
    }
    if names.len() > needed {
        names.select_nth_unstable(needed);
        names.truncate(needed);
    }
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
        let entry = match entry {
            // It was removed after it was opened, so nothing is in it.
            Err(Errno::NOENT) => return Ok(()),
            entry => entry?,
        };
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            each(name, entry.file_type());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Entry, EntryKind, keep_smallest, raw_names};

    #[test]
    fn a_directory_that_was_removed_while_it_is_read_holds_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("gone");
        std::fs::create_dir(&path).unwrap();
        let directory = std::fs::File::open(&path).unwrap();
        std::fs::remove_dir(&path).unwrap();
        let mut names = 0;
        raw_names(&directory, |_, _| names += 1).unwrap();
        assert_eq!(names, 0);
    }

    #[test]
    fn the_smallest_names_after_one_are_kept() {
        let entry = |number: usize| Entry { name: format!("{:04}", number * 7919 % 10_000), kind: EntryKind::Object };
        let mut names: Vec<Entry> = (0..1000).map(entry).collect();
        let mut expected: Vec<String> =
            names.iter().map(|entry| entry.name.clone()).filter(|name| &**name > "2000").collect();
        expected.sort();
        keep_smallest(&mut names, Some("2000"), 11);
        names.sort();
        assert!(names.iter().map(|entry| &entry.name).eq(expected.iter().take(11)));
    }
}
