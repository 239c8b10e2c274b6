//! Asking for many small things by one call, for drivers to which each question is a step aside, and for a part of very many.
//!
//! Here are the ways of a driver that knows nothing better than to ask one after the other.

use bytes::Bytes;

use super::{Driver, Result, Stat, StoragePath};
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

/// See [`Driver::leaves`].
pub(super) async fn leaves<D: Driver + ?Sized>(
    driver: &D,
    prefix: &StoragePath,
    leaf: &str,
    names: Vec<String>,
) -> Result<Vec<Option<Stat>>> {
    let mut leaves = Vec::with_capacity(names.len());
    for name in names {
        leaves.push(found(driver.stat(&prefix.listed(&format!("{name}/{leaf}"))).await)?);
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
