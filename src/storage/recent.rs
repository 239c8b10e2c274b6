//! What this process wrote or read a moment ago, on stores where asking again costs a round trip: which digest a link held,
//! and how long a content is.
//!
//! It spares the second question about one thing in one push or pull. Whether a repository has something is never answered
//! from here, and whether content is there is not either where a manifest is about to rely on it.

use std::hash::Hash;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::driver::Latency;
use crate::oci::{Digest, RepositoryName};

/// How long a thing is taken for granted. Another replica may remove it meanwhile.
const TRUSTED_FOR: Duration = Duration::from_mins(1);

/// Things remembered of a kind; the least used are forgotten first.
const REMEMBERED: usize = 16 * 1024;

/// The digests that links of one kind, layers or revisions, held.
pub(super) type RecentLinks = Recent<(RepositoryName, Digest), Digest>;

/// Bytes of contents.
pub(super) type RecentSizes = Recent<Digest, u64>;

/// Values by key, for a minute.
#[derive(Debug)]
pub(super) struct Recent<K, V>(Option<Cache<K, (V, Instant)>>);

impl<K: Eq + Hash, V: Copy> Recent<K, V> {
    /// A memory for a store at this distance: none where the store is as near as the memory.
    pub(super) fn new(latency: Latency) -> Self {
        match latency {
            Latency::Local => Self(None),
            Latency::Remote => Self(Some(Cache::new(REMEMBERED))),
        }
    }

    pub(super) fn insert(&self, key: K, value: V) {
        if let Some(seen) = &self.0 {
            seen.insert(key, (value, Instant::now()));
        }
    }

    pub(super) fn remove(&self, key: &K) {
        if let Some(seen) = &self.0 {
            seen.remove(key);
        }
    }

    /// The value, if it was seen a moment ago.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let (value, at) = self.0.as_ref()?.get(key)?;
        (at.elapsed() < TRUSTED_FOR).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thing_is_known_for_a_minute() {
        let recent = Recent::new(Latency::Remote);
        recent.insert("a", 1);
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert_eq!((recent.get(&"a"), recent.get(&"b")), (Some(1), None));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(recent.get(&"a"), None);
        recent.insert("a", 2);
        assert_eq!(recent.get(&"a"), Some(2));
        recent.remove(&"a");
        assert_eq!(recent.get(&"a"), None);
    }

    #[tokio::test]
    async fn a_store_that_is_near_is_asked_each_time() {
        let recent = Recent::new(Latency::Local);
        recent.insert("a", 1);
        assert_eq!(recent.get(&"a"), None);
    }
}
