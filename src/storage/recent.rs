//! Links that this process wrote or read a moment ago, on stores where asking again costs a round trip.
//!
//! They spare the second question about a link in one push or pull. Whether something exists at all is never answered from
//! here: what lies behind the link is asked of the store each time.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::driver::Latency;
use crate::oci::{Digest, RepositoryName};

/// How long a link is taken for granted. Another replica may remove it meanwhile.
const TRUSTED_FOR: Duration = Duration::from_mins(1);

/// Links remembered; the least used are forgotten first.
const REMEMBERED: usize = 16 * 1024;

/// Links of one kind: layers or revisions.
#[derive(Debug)]
pub(super) struct RecentLinks(Option<Cache<(RepositoryName, Digest), Seen>>);

/// What a link held, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    target: Digest,
    at: Instant,
}

impl RecentLinks {
    /// A memory for a store at this distance: none where the store is as near as the memory.
    pub(super) fn new(latency: Latency) -> Self {
        match latency {
            Latency::Local => Self(None),
            Latency::Remote => Self(Some(Cache::new(REMEMBERED))),
        }
    }

    pub(super) fn insert(&self, name: &RepositoryName, digest: &Digest, target: &Digest) {
        if let Some(seen) = &self.0 {
            seen.insert((name.clone(), *digest), Seen { target: *target, at: Instant::now() });
        }
    }

    pub(super) fn remove(&self, name: &RepositoryName, digest: &Digest) {
        if let Some(seen) = &self.0 {
            seen.remove(&(name.clone(), *digest));
        }
    }

    /// What the link held, if that was a moment ago.
    pub(super) fn get(&self, name: &RepositoryName, digest: &Digest) -> Option<Digest> {
        let seen = self.0.as_ref()?.get(&(name.clone(), *digest))?;
        (seen.at.elapsed() < TRUSTED_FOR).then_some(seen.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    #[tokio::test(start_paused = true)]
    async fn a_link_is_known_for_a_minute_and_in_its_repository_only() {
        let (links, digest) = (RecentLinks::new(Latency::Remote), Hasher::digest(Algorithm::Sha256, b"x"));
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        links.insert(&a, &digest, &digest);
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert_eq!((links.get(&a, &digest), links.get(&b, &digest)), (Some(digest), None));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(links.get(&a, &digest), None);
        links.insert(&a, &digest, &digest);
        links.remove(&a, &digest);
        assert_eq!(links.get(&a, &digest), None);
    }

    #[tokio::test]
    async fn a_store_that_is_near_is_asked_each_time() {
        let (links, digest) = (RecentLinks::new(Latency::Local), Hasher::digest(Algorithm::Sha256, b"x"));
        let name = "a".parse().unwrap();
        links.insert(&name, &digest, &digest);
        assert_eq!(links.get(&name, &digest), None);
    }
}
