//! The objects in which collectors and writers meet: one flat directory, so that one listing shows every epoch and how far
//! it has come.
//!
//! `<epoch>.list` what is condemned, `.closed` no more revivals count, `.verdict` what is doomed, `.retired` all of it is
//! gone. Lists and verdicts never change once written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{EpochId, Fingerprint, Fingerprints, Key};
use crate::storage::driver::{Hold, ListPage, WriteMode};
use crate::storage::layout::{StoragePath, collector, collector_lock, epoch_part, epochs, revived};
use crate::storage::{Error, Result, Store, found};

/// Largest list of keys read, bytes: 50,000 keys of the longest names.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

/// How every list ends.
const LAST_LINE: &str = "end\n";

/// Names asked for at once.
const PAGE: usize = 1000;

/// How long what a retired epoch consisted of stays, so that no listing that began before sees neither it nor its end.
const PARTS_STAY: Duration = Duration::from_mins(2);

/// How long it stays known that an epoch was retired: longer than any writer sleeps.
const RETIRED_STAYS: Duration = Duration::from_hours(7 * 24);

/// With more retired epochs than this, those go early that are older than the longest request.
const MOST_RETIRED: usize = 500;
const LONGEST_REQUEST: Duration = Duration::from_hours(2);

/// Signs of life looked for when an epoch is forgotten; that so many collectors die over one is not to be expected.
const MOST_SUCCESSORS: usize = 4;

/// How far an epoch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Revivals from now on are not heeded.
    pub closed: bool,
    /// It is decided what goes.
    pub decided: bool,
}

/// Every epoch that is known, by one listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epochs {
    /// Those that are announced and not retired.
    pub active: BTreeMap<EpochId, Progress>,
    /// Those that are over.
    pub retired: BTreeSet<EpochId>,
}

impl Epochs {
    /// The epochs that ended since `earlier`; `None` when one of those vanished altogether.
    #[must_use]
    pub fn ended_since(&self, earlier: &Self) -> Option<Vec<EpochId>> {
        let known = |epoch| self.active.contains_key(epoch) || self.retired.contains(epoch);
        if !earlier.active.keys().all(known) {
            return None;
        }
        Some(self.retired.difference(&earlier.retired).copied().collect())
    }

    /// Whether any collection is known to have taken place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.retired.is_empty()
    }
}

/// What an epoch announced, which stays true as long as it is active.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// The fingerprints of what it condemns.
    List(Arc<Fingerprints>),
    /// It is over.
    Gone,
}

/// Lists of active epochs, which never change.
#[derive(Debug, Default)]
pub(in crate::storage) struct CondemnedLists(Mutex<HashMap<EpochId, Arc<Fingerprints>>>);

impl Store {
    /// Every epoch. Asked of the driver each time.
    pub async fn epochs(&self) -> Result<Epochs> {
        let mut parts: BTreeMap<EpochId, (Progress, bool, bool)> = BTreeMap::new();
        let mut page = ListPage { after: None, limit: PAGE };
        loop {
            let listing = self.driver.list(&epochs(), &page).await?;
            for entry in &listing.entries {
                let Some((id, part)) = entry.name.split_once('.') else { continue };
                let Ok(id) = id.parse::<EpochId>() else { continue };
                let (progress, listed, retired) = parts.entry(id).or_default();
                match part {
                    "list" => *listed = true,
                    "closed" => progress.closed = true,
                    "verdict" => progress.decided = true,
                    "retired" => *retired = true,
                    _ => {}
                }
            }
            page.after = listing.entries.last().map(|entry| entry.name.clone());
            if listing.more == crate::storage::driver::More::No || page.after.is_none() {
                break;
            }
        }
        let mut epochs = Epochs::default();
        for (id, (progress, listed, retired)) in parts {
            if retired {
                epochs.retired.insert(id);
            } else if listed {
                epochs.active.insert(id, progress);
            }
        }
        Ok(epochs)
    }

    /// What `epoch` condemns.
    pub async fn condemned(&self, epoch: EpochId) -> Result<Fetched> {
        let lists = || self.condemned.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists().get(&epoch) {
            return Ok(Fetched::List(Arc::clone(list)));
        }
        let Some(keys) = self.read_keys(epoch, "list").await? else { return Ok(Fetched::Gone) };
        let list: Arc<Fingerprints> = Arc::new(keys.iter().map(Key::fingerprint).collect());
        let mut lists = lists();
        // There are few at any time; forgetting costs one read.
        if lists.len() >= 8 {
            lists.clear();
        }
        lists.insert(epoch, Arc::clone(&list));
        Ok(Fetched::List(list))
    }

    /// Announces that `keys` are condemned: from here on writers know of the epoch.
    pub async fn announce(&self, epoch: EpochId, keys: &[Key]) -> Result<()> {
        self.write_keys(epoch, "list", keys).await
    }

    /// Ends the time in which revivals count.
    pub async fn close(&self, epoch: EpochId) -> Result<()> {
        self.write_part(epoch, "closed", Bytes::new()).await
    }

    /// Whether `epoch` is closed.
    pub async fn is_closed(&self, epoch: EpochId) -> Result<bool> {
        Ok(found(self.driver.stat(&epoch_part(&epoch.to_string(), "closed")).await)?.is_some())
    }

    /// Says what goes. An empty verdict dooms nothing.
    pub async fn decide(&self, epoch: EpochId, doomed: &[Key]) -> Result<()> {
        self.write_keys(epoch, "verdict", doomed).await
    }

    /// What goes; `None` before that is decided.
    pub async fn verdict(&self, epoch: EpochId) -> Result<Option<Vec<Key>>> {
        self.read_keys(epoch, "verdict").await
    }

    /// Says that everything doomed is gone for certain, and for as long as the end is remembered, what that was.
    pub async fn retire(&self, epoch: EpochId, doomed: &[Key]) -> Result<()> {
        let mut content = String::with_capacity(doomed.len() * 33 + 4);
        for key in doomed {
            // Writing to a string does not fail.
            let _ = writeln!(content, "{:032x}", key.fingerprint());
        }
        content.push_str(LAST_LINE);
        self.write_part(epoch, "retired", content.into()).await?;
        self.driver.delete_prefix(&revived(&epoch.to_string())).await
    }

    /// What the retired `epoch` removed, by fingerprint; `None` when that is not known.
    pub async fn swept(&self, epoch: EpochId) -> Result<Option<Fingerprints>> {
        let content = found(self.driver.read(&epoch_part(&epoch.to_string(), "retired"), LARGEST_LIST).await)?;
        let text = content.as_deref().and_then(|content| std::str::from_utf8(content).ok());
        let Some(lines) = text.and_then(|text| text.strip_suffix(LAST_LINE)) else { return Ok(None) };
        Ok(lines.lines().map(|line| u128::from_str_radix(line, 16).ok()).collect())
    }

    /// Whether a collection that ended no earlier than `object`, a link or tag that leads to what `key` names, was written is
    /// on record to have removed that. Then `object` is what a push left behind that was never acknowledged: an acknowledged
    /// one writes its links and tags anew after such a collection.
    pub(in crate::storage) async fn is_remnant(&self, object: &StoragePath, key: &Key) -> Result<bool> {
        let Some(object) = found(self.driver.stat(object).await)? else { return Ok(false) };
        let key = key.fingerprint();
        for epoch in self.epochs().await?.retired {
            let end = found(self.driver.stat(&epoch_part(&epoch.to_string(), "retired")).await)?;
            if end.is_some_and(|end| end.modified >= object.modified)
                && self.swept(epoch).await?.is_some_and(|swept| swept.contains(&key))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `epoch` is retired.
    pub async fn is_retired(&self, epoch: EpochId) -> Result<bool> {
        Ok(found(self.driver.stat(&epoch_part(&epoch.to_string(), "retired")).await)?.is_some())
    }

    /// Asks the collector to spare what has these fingerprints.
    pub async fn revive(&self, epoch: EpochId, keys: &[Fingerprint]) -> Result<()> {
        let directory = revived(&epoch.to_string());
        let objects = keys.iter().map(|key| (directory.listed(&format!("{key:032x}")), Bytes::new()));
        self.driver.write_many(objects.collect()).await
    }

    /// What writers asked to spare.
    pub async fn revived(&self, epoch: EpochId) -> Result<Fingerprints> {
        let mut page = ListPage { after: None, limit: PAGE };
        let mut keys = Fingerprints::new();
        loop {
            let listing = self.driver.list(&revived(&epoch.to_string()), &page).await?;
            keys.extend(listing.entries.iter().filter_map(|entry| u128::from_str_radix(&entry.name, 16).ok()));
            page.after = listing.entries.last().map(|entry| entry.name.clone());
            if listing.more == crate::storage::driver::More::No || page.after.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Removes what is left of epochs that were retired long enough ago, by the store's clock.
    pub async fn forget_epochs(&self, now: SystemTime) -> Result<()> {
        let epochs = self.epochs().await?;
        let crowded = epochs.retired.len() > MOST_RETIRED;
        let (mut parts, mut ends) = (Vec::new(), Vec::new());
        for epoch in &epochs.retired {
            let id = epoch.to_string();
            let retired = epoch_part(&id, "retired");
            let Some(stat) = found(self.driver.stat(&retired).await)? else { continue };
            let age = now.duration_since(stat.modified).unwrap_or_default();
            if age >= PARTS_STAY {
                parts.extend(["list", "closed", "verdict"].map(|part| epoch_part(&id, part)));
                parts.push(collector_lock(&id));
                parts.extend((0..MOST_SUCCESSORS).map(|successor| collector(&id, successor)));
            }
            if age >= RETIRED_STAYS || (crowded && age >= LONGEST_REQUEST) {
                ends.push(retired);
            }
        }
        // An epoch that lost its end before its list would seem to go on.
        for gone in [parts, ends] {
            if !gone.is_empty() {
                self.driver.delete_many(&gone).await?;
            }
        }
        Ok(())
    }

    /// The sign of life of whoever works on `epoch`, the `successor`-th to do so; `None` when there is none.
    pub async fn sign_of_life(&self, epoch: EpochId, successor: usize) -> Result<Option<Bytes>> {
        found(self.driver.read(&collector(&epoch.to_string(), successor), 4096).await)
    }

    /// Gives a sign of life, or with `CreateOnly` becomes the one who works on the epoch.
    ///
    /// # Errors
    /// `AlreadyExists` when another was first.
    pub async fn give_sign_of_life(
        &self,
        epoch: EpochId,
        successor: usize,
        content: Bytes,
        mode: WriteMode,
    ) -> Result<()> {
        self.driver.write(&collector(&epoch.to_string(), successor), content, mode).await
    }

    /// Takes the lock of those who work on `epoch`.
    pub async fn hold_epoch(&self, epoch: EpochId) -> Result<Hold> {
        self.driver.hold(&collector_lock(&epoch.to_string())).await
    }

    /// When the sign of life was given, by the store's clock.
    pub async fn time_of_sign(&self, epoch: EpochId, successor: usize) -> Result<SystemTime> {
        Ok(self.driver.stat(&collector(&epoch.to_string(), successor)).await?.modified)
    }

    /// Removes the sign of life of a collector that announced nothing after all.
    pub async fn take_back_sign(&self, epoch: EpochId) -> Result<()> {
        let id = epoch.to_string();
        self.driver.delete_many(&[collector(&id, 0), collector_lock(&id)]).await
    }

    async fn write_part(&self, epoch: EpochId, part: &str, content: Bytes) -> Result<()> {
        self.driver.write(&epoch_part(&epoch.to_string(), part), content, WriteMode::Overwrite).await
    }

    async fn write_keys(&self, epoch: EpochId, part: &str, keys: &[Key]) -> Result<()> {
        let mut content = String::with_capacity(keys.len() * 96);
        for key in keys {
            content.push_str(&key.to_string());
            content.push('\n');
        }
        // Says that nothing is missing, whatever a store makes of a write that it was interrupted in.
        content.push_str(LAST_LINE);
        self.write_part(epoch, part, content.into()).await
    }

    async fn read_keys(&self, epoch: EpochId, part: &str) -> Result<Option<Vec<Key>>> {
        let path = epoch_part(&epoch.to_string(), part);
        let Some(content) = found(self.driver.read(&path, LARGEST_LIST).await)? else { return Ok(None) };
        let damaged = |reason: &str| Error::Damaged { path: path.to_string(), reason: reason.to_owned() };
        let text = std::str::from_utf8(&content).map_err(|_| damaged("it is not text"))?;
        let keys = text.strip_suffix(LAST_LINE).ok_or_else(|| damaged("it does not end as it should"))?;
        let keys: Result<Vec<Key>, _> = keys.lines().map(str::parse).collect();
        keys.map(Some).map_err(|_| damaged("a line of it is no key"))
    }
}
