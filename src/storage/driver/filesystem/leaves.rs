//! Looking at one file in each of many directories: one system call for each, none of them opened.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Shared;
use super::disk::is_file;
use super::failure::failure;
use super::list::sorted_names;
use super::read::object_stat;
use crate::storage::driver::{EntryKind, ListPage, Tree, TreeEntry};
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

impl Shared {
    /// See [`crate::storage::driver::Driver::leaves`].
    pub(super) fn leaves(&self, prefix: &StoragePath, leaf: &str, page: &ListPage) -> Result<Tree> {
        let path = prefix.as_str();
        let directory = match self.disk.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Tree::default()),
            Err(errno) => return Err(failure("list", path, errno)),
        };
        let (names, _) = sorted_names(&directory, page).map_err(|errno| failure("list", path, errno))?;
        let start = page
            .after
            .as_deref()
            .map_or(0, |after| names.partition_point(|entry| entry.name.as_bytes() <= after.as_bytes()));
        let end = start.saturating_add(page.limit).min(names.len());
        let on_page = names.get(start..end).unwrap_or_default();
        let mut tree = Tree::default();
        for entry in on_page.iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let below = format!("{}/{leaf}", entry.name);
            match rustix::fs::statat(&directory, &below, AtFlags::empty()) {
                Ok(raw) if is_file(&raw) => {
                    let path = prefix.listed(&below);
                    let known = object_stat(&path, &raw)?;
                    tree.objects.push(TreeEntry { path, stat: known });
                }
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(failure("stat", &format!("{path}/{below}"), errno)),
            }
        }
        if end < names.len() {
            tree.next = on_page.last().map(|entry| entry.name.clone());
        }
        Ok(tree)
    }
}
