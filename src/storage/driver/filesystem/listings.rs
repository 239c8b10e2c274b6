//! Remembers the sorted names of directories, so that a directory of a thousand tags is not read for each request.
//!
//! A remembered listing is used only while the directory's times are those it was read under. Times are coarse: a change
//! in the same tick as the reading would go unnoticed. So a listing is trusted only if it was read two seconds or more
//! after the directory was first seen with these times, by our own clock; that needs no agreement of clocks with the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use rustix::fs::Stat;

use crate::storage::driver::Entry;

/// Memory for remembered names, bytes.
const ROOM: u64 = 8 * 1024 * 1024;
/// Longer than any filesystem's tick.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The listings of one driver.
#[derive(Debug)]
pub(super) struct Listings {
    seen: Cache<Identity, Seen, Weight>,
    settled_after: Duration,
}

/// Which directory: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity(u64, u64);

/// When names were last added or removed (`mtime`), and when anything about the directory changed (`ctime`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Clone)]
struct Seen {
    times: Times,
    first: Instant,
    names: Option<Arc<[Entry]>>,
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<Identity, Seen> for Weight {
    fn weight(&self, _: &Identity, seen: &Seen) -> u64 {
        /// What an entry takes beside its name: itself, the allocation of the name.
        const OVERHEAD: usize = size_of::<Entry>() + 16;
        let names = seen.names.iter().flat_map(|names| names.iter());
        let bytes: usize = names.map(|entry| entry.name.capacity() + OVERHEAD).sum();
        (bytes + size_of::<Seen>()) as u64
    }
}

impl Default for Listings {
    fn default() -> Self {
        Self::settling(SETTLED_AFTER)
    }
}

impl Listings {
    /// Trusts what was read so long after the directory's times were first seen.
    pub(super) fn settling(settled_after: Duration) -> Self {
        // One shard: a big directory may take all the room.
        let options = OptionsBuilder::new().estimated_items_capacity(1024).weight_capacity(ROOM).shards(1).build();
        let seen = match options {
            Ok(options) => {
                Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(1024, ROOM, Weight),
        };
        Self { seen, settled_after }
    }

    /// The names in the directory that `stat` describes, if they are known.
    pub(super) fn get(&self, stat: &Stat) -> Option<Arc<[Entry]>> {
        self.seen.get(&Identity::of(stat)).filter(|seen| seen.times == Times::of(stat))?.names
    }

    /// Notes that the directory was read from `started` on, that `names` are all its names, and that `before` and `after`
    /// describe it before and after that.
    pub(super) fn note(&self, started: Instant, before: &Stat, after: &Stat, names: &Arc<[Entry]>) {
        let times = Times::of(before);
        if times != Times::of(after) {
            return;
        }
        let identity = Identity::of(before);
        let first = match self.seen.get(&identity) {
            Some(seen) if seen.times == times => seen.first,
            // The times were set before this instant, which is all that counts.
            _ => Instant::now(),
        };
        let settled = started.checked_duration_since(first).is_some_and(|since| since >= self.settled_after);
        let names = settled.then(|| Arc::clone(names));
        self.seen.insert(identity, Seen { times, first, names });
    }
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }
}

impl Times {
    #[allow(clippy::useless_conversion, clippy::cast_possible_wrap, clippy::unnecessary_cast)]
    fn of(stat: &Stat) -> Self {
        // The widths of these fields differ between architectures.
        Self {
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant, SystemTime};

    use super::Listings;
    use crate::storage::driver::{Entry, EntryKind};

    #[test]
    fn names_are_remembered_from_the_second_reading_until_the_directory_changes() {
        let directory = tempfile::tempdir().unwrap();
        let open = File::open(directory.path()).unwrap();
        // Long ago, so that the change below cannot fall into the same tick.
        open.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        let stat = || rustix::fs::fstat(&open).unwrap();
        let names = [Entry { name: "a".to_owned(), kind: EntryKind::Object }].into();
        let listings = Listings::settling(Duration::ZERO);

        listings.note(Instant::now(), &stat(), &stat(), &names);
        assert!(listings.get(&stat()).is_none(), "the first reading may have missed a change in the same tick");
        listings.note(Instant::now(), &stat(), &stat(), &names);
        assert_eq!(listings.get(&stat()).as_deref(), Some(&*names));

        let before = stat();
        File::create(directory.path().join("b")).unwrap();
        assert!(listings.get(&stat()).is_none());
        listings.note(Instant::now(), &before, &stat(), &names);
        listings.note(Instant::now(), &before, &stat(), &names);
        assert!(listings.get(&stat()).is_none(), "what changed while it was read is not remembered");
    }

    #[test]
    fn nothing_is_trusted_before_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let stat = rustix::fs::stat(directory.path()).unwrap();
        let listings = Listings::default();
        for _ in 0..3 {
            listings.note(Instant::now(), &stat, &stat, &[].into());
            assert!(listings.get(&stat).is_none());
        }
        let later = Instant::now() + Duration::from_secs(3);
        listings.note(later, &stat, &stat, &[].into());
        assert!(listings.get(&stat).is_some());
    }
}
