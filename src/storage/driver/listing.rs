//! What a listing of a directory asks for and answers.
//!
//! Knows nothing of where the names come from. The names of a page are shared, so that a driver may hand out the same
//! thousand names to many requests without copying them.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Which page of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Only names after this one in byte order.
    pub after: Option<String>,
    /// Most names returned.
    pub limit: usize,
}

impl ListPage {
    /// Everything there is, for directories that are known to be small.
    #[must_use]
    pub fn all() -> Self {
        Self { after: None, limit: usize::MAX }
    }
}

/// One page of a listing, in byte order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Names directly below the directory.
    pub entries: Entries,
    /// Whether names after the last one exist.
    pub more: More,
}

/// Whether a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum More {
    /// There is another page.
    Yes,
    /// This was the last one.
    #[default]
    No,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last component of the path.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
}

/// What a listed name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// An object.
    Object,
    /// A directory with objects somewhere below it.
    Directory,
}

/// The names of one page: a window onto names that may be shared with other pages.
#[derive(Clone)]
pub struct Entries {
    names: Arc<[Entry]>,
    window: Range<usize>,
}

impl Entries {
    /// The page of `names`, which are sorted and unique, that `page` asks for, and whether more follow.
    #[must_use]
    pub(super) fn page_of(names: Arc<[Entry]>, page: &ListPage) -> Listing {
        let start = match &page.after {
            Some(after) => names.partition_point(|entry| entry.name.as_bytes() <= after.as_bytes()),
            None => 0,
        };
        let end = start.saturating_add(page.limit).min(names.len());
        let more = if end < names.len() { More::Yes } else { More::No };
        Listing { entries: Self { names, window: start..end }, more }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.names.get(self.window.clone()).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(names: Vec<Entry>) -> Self {
        let window = 0..names.len();
        Self { names: names.into(), window }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
