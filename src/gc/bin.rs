//! The bin: for how long what is removed from a disk can be put back, and its end.
//!
//! Whether anything is kept decides nothing about what is removed, nor when. Only content takes room; of manifests and links
//! a list is enough to write them again.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::report::{Kept, NotKept};
use super::sweep::{Before, Sweep};
use super::{Collector, Error};
use crate::oci::Digest;
use crate::storage::Error as StorageError;
use crate::storage::collection::{BinList, BinTimes, Key};
use crate::storage::driver::{Hold, Space};

/// With less of a file system available than this nothing is kept: percent.
const LEAST_SPACE: u64 = 15;

/// Whether what is removed can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Until this time, by the store's clock.
    Until(SystemTime),
    /// It cannot; why, where that is not what the operator asked for.
    Not(Option<NotKept>),
}

/// What became of what was swept.
#[derive(Debug)]
pub(super) struct Swept {
    keeping: Keeping,
    /// Content that is gone for good.
    pub(super) not_kept: HashSet<Digest>,
}

impl Swept {
    pub(super) fn of(keeping: Keeping) -> Self {
        Self { keeping, not_kept: HashSet::new() }
    }

    /// Adds to `kept` what became of `doomed`.
    pub(super) fn tell(&self, doomed: &[&(Key, u64)], kept: &mut Kept) {
        match self.keeping {
            Keeping::Until(until) => {
                kept.until = kept.until.max(until.duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs()));
                if !self.not_kept.is_empty() {
                    kept.not_kept = Some(NotKept::OtherFileSystem);
                }
                let content = doomed.iter().filter_map(|(key, bytes)| match key {
                    Key::Blob(digest) if !self.not_kept.contains(digest) => Some(bytes),
                    _ => None,
                });
                kept.bytes += content.sum::<u64>();
            }
            Keeping::Not(reason) => kept.not_kept = kept.not_kept.or(reason),
        }
    }
}

impl Sweep<'_> {
    /// Writes down what of `doomed` is about to be removed, so that it can be put back, unless that is not wanted or there is
    /// no room for it.
    pub(super) async fn begin_bin(&self, doomed: &[Key], before: Before) -> Result<Keeping, Error> {
        let (store, keep) = (self.store, self.config.keep_removed);
        if before == Before::SomebodyElse
            && let Some(times) = store.bin_times(self.epoch).await?
        {
            // Some of it is gone already, and what was to be known of it with it.
            return Ok(Keeping::Until(times.until()));
        }
        if keep.is_zero() || doomed.is_empty() {
            return Ok(Keeping::Not(None));
        }
        match store.space_for_bin().await? {
            None => return Ok(Keeping::Not(None)),
            Some(space) if is_short(space) => return Ok(Keeping::Not(Some(NotKept::ShortOfSpace))),
            Some(_) => {}
        }
        let mut removed = BinList::default();
        for key in doomed {
            // Whoever began may have kept nothing.
            if before == Before::Nothing || store.exists(key).await? {
                removed.push(&store.describe(key).await?);
            }
        }
        match store.begin_bin(self.epoch, keep, removed).await {
            Ok(()) => {}
            Err(StorageError::NoSpace { .. }) => return Ok(Keeping::Not(Some(NotKept::ShortOfSpace))),
            Err(error) => return Err(error.into()),
        }
        Ok(match store.bin_times(self.epoch).await? {
            Some(times) => Keeping::Until(times.until()),
            None => Keeping::Not(None),
        })
    }
}

impl Collector {
    /// Frees what was kept as long as was promised, or for `longest` if that is less; everything when room is short. Returns
    /// the bytes freed. While somebody puts things back nothing is freed.
    pub(super) async fn empty_bins(&self, longest: Option<Duration>) -> Result<u64, Error> {
        let store = &self.store;
        let bins = store.bins().await?;
        if bins.is_empty() {
            return Ok(0);
        }
        let hold = store.hold_bins().await?;
        if matches!(hold, Hold::Another) {
            return Ok(0);
        }
        // Asked after the bins: one that was begun belongs to an epoch that was announced before.
        let active = store.epochs().await?.active;
        let short = store.space_for_bin().await?.is_some_and(is_short);
        let longest = if short { Some(Duration::ZERO) } else { longest };
        let now = store.time_for_bins().await?;
        let mut freed = 0;
        for epoch in bins.into_iter().filter(|epoch| !active.contains_key(epoch)) {
            let over = match store.bin_times(epoch).await? {
                Some(BinTimes { since, keep }) => {
                    let keep = longest.map_or(keep, |longest| keep.min(longest));
                    now.duration_since(since).unwrap_or_default() >= keep
                }
                None => true,
            };
            if over {
                freed += store.content_in_bin(epoch).await?.iter().map(|(_, bytes)| bytes).sum::<u64>();
                store.empty_bin(epoch).await?;
            }
        }
        Ok(freed)
    }
}

/// Whether room is too short to keep what was removed.
fn is_short(space: Space) -> bool {
    u128::from(space.available) * 100 < u128::from(space.total) * u128::from(LEAST_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    #[test]
    fn only_what_could_be_moved_counts_as_kept() {
        let [moved, removed] = [b"a", b"b"].map(|content| Hasher::digest(Algorithm::Sha256, content));
        let doomed = [(Key::Blob(moved), 5), (Key::Blob(removed), 7), (Key::Link("a".parse().unwrap(), moved), 0)];
        let doomed: Vec<&(Key, u64)> = doomed.iter().collect();
        let mut kept = Kept::default();
        let until = UNIX_EPOCH + Duration::from_secs(9);
        let swept = Swept { keeping: Keeping::Until(until), not_kept: HashSet::from([removed]) };
        swept.tell(&doomed, &mut kept);
        assert_eq!(kept, Kept { bytes: 5, until: Some(9), not_kept: Some(NotKept::OtherFileSystem) });
        Swept::of(Keeping::Not(None)).tell(&doomed, &mut kept);
        assert_eq!((kept.bytes, kept.until), (5, Some(9)), "one epoch of several");
    }

    #[test]
    fn room_is_short_below_its_share() {
        for (available, total, short) in [(14, 100, true), (15, 100, false), (u64::MAX, u64::MAX, false), (0, 1, true)]
        {
            assert_eq!(is_short(Space { available, total }), short, "{available} of {total}");
        }
    }
}
