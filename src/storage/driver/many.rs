//! Asking for many small things by one call, for drivers to which each question is a step aside, and for a part of very many.
//!
//! Here are the ways of a driver that knows nothing better than to ask one after the other.

use bytes::Bytes;

use super::{Driver, EntryKind, ListPage, More, Result, Stat, StoragePath};
use crate::storage::error::found;

/// How much one call may read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Most bytes of one object; a larger one is `TooLarge`.
    pub each: u64,
    /// Bytes after which no further object is read.
    pub together: u64,
}

/// One of several parts of many things, told by their names, so that all parts together are everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which one, from 0 on.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

impl Share {
    /// Everything.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// Whether what has this name belongs to it.
    #[must_use]
    pub fn has(self, name: &[u8]) -> bool {
        let hash = name.iter().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        hash % self.of.max(1) == self.number % self.of.max(1)
    }
}

/// See [`Driver::directories`].
pub(super) async fn directories<D: Driver + ?Sized>(
    driver: &D,
    prefix: &StoragePath,
    page: &ListPage,
) -> Result<(Vec<String>, Option<ListPage>)> {
    let listing = driver.list(prefix, page).await?;
    let directories = listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
    let names = directories.map(|entry| entry.name.clone()).collect();
    let last = listing.entries.last().filter(|_| listing.more == More::Yes);
    Ok((names, last.map(|last| ListPage { after: Some(last.name.clone()), limit: page.limit })))
}

/// See [`Driver::leaves`].
pub(super) async fn leaves<D: Driver + ?Sized>(
    driver: &D,
    prefix: &StoragePath,
    leaf: &str,
    names: Vec<String>,
) -> Result<Vec<(String, Stat)>> {
    let mut leaves = Vec::with_capacity(names.len());
    for name in names {
        let stat = found(driver.stat(&prefix.listed(&format!("{name}/{leaf}"))).await)?;
        leaves.extend(stat.map(|stat| (name, stat)));
    }
    Ok(leaves)
}

/// See [`Driver::read_many`].
pub(super) async fn read_many<D: Driver + ?Sized>(
    driver: &D,
    paths: Vec<StoragePath>,
    limits: ReadLimits,
) -> Result<Vec<Result<Bytes>>> {
    let mut contents = Vec::with_capacity(paths.len());
    let mut bytes = 0;
    for path in paths {
        let content = driver.read(&path, limits.each).await;
        bytes += content.as_ref().map_or(0, Bytes::len) as u64;
        contents.push(content);
        if bytes >= limits.together {
            break;
        }
    }
    Ok(contents)
}
