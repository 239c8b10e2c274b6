//! Collection beside running writers: condemn, look again, close, sweep. See docs/garbage-collection.md.
//!
//! The order of the steps is what keeps pushes safe; no clock and no lock does. Every step up to the verdict can be given
//! up without harm, every one after it can be taken up by a successor.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::mark::{Mark, Spare};
use super::owner::Owner;
use super::plan::{self, Garbage, LONGEST_LIST};
use super::references::Known;
use super::sweep::{self, Sweep};
use super::{Collection, Error, Event, LargeRemoval, Mode, Report, Writers};
use crate::storage::Store;
use crate::storage::collection::{EpochId, Fingerprints, Key};
use crate::storage::driver::{Latency, WriteMode};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(20);

/// A collector that could not give a sign of life for so long stops by itself, long before others believe it dead.
const SILENCE: Duration = Duration::from_mins(1);

/// Less garbage than this is never implausible, bytes.
const SMALL: u64 = 1 << 30;

/// A larger share of all bytes than this is: percent.
const LARGE_SHARE: u64 = 30;

/// Something that watches a collection.
pub type Watcher<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Removes what nothing needs.
#[derive(Debug)]
pub struct Collector {
    pub(super) store: Store,
    pub(super) config: Collection,
    pub(super) owner: Owner,
}

impl Collector {
    /// A collector of the garbage in `store`.
    #[must_use]
    pub fn new(store: Store, config: Collection) -> Self {
        Self { store, config, owner: Owner::new() }
    }

    /// One run over everything that is stored.
    ///
    /// # Errors
    /// Every doubt is an error, and then nothing was removed that anything needs.
    pub async fn collect(&self, tell: Watcher<'_>) -> Result<Report, Error> {
        let mut report = Report::default();
        let removing = self.config.mode == Mode::Remove;
        if removing {
            report.recovered = self.recover(tell).await?;
        }
        if self.config.writers == Writers::Online && removing {
            self.refuse_forgetful_store().await?;
            self.refuse_mixed_use().await?;
        }
        let first = EpochId::random();
        let now = if removing { self.store_time(first).await? } else { SystemTime::now() };
        let older_than = now.checked_sub(self.config.grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut known = Known::default();
        let garbage = self.first_mark(&mut known, older_than, tell, &mut report).await?;
        if !removing {
            return Ok(report);
        }
        self.refuse_implausible(&garbage)?;
        report.more = garbage.is_cut();
        let mut epoch = first;
        for list in garbage.keys.chunks(LONGEST_LIST) {
            self.epoch(epoch, list, &mut known, tell, &mut report).await?;
            epoch = EpochId::random();
        }
        if garbage.keys.is_empty() {
            self.store.take_back_sign(first).await?;
        }
        self.store.forget_epochs(now).await?;
        report.uploads = self.give_up_uploads(now).await?;
        Ok(report)
    }

    /// The time by the store's own clock, which is the one that its objects' ages are measured by.
    async fn store_time(&self, epoch: EpochId) -> Result<SystemTime, Error> {
        self.store.give_sign_of_life(epoch, 0, self.owner.sign().into(), WriteMode::Overwrite).await?;
        let time = self.store.time_of_sign(epoch, 0).await?;
        // A bucket tells the time of one object in whole seconds, and that of a listed one more exactly.
        Ok(if self.is_remote() { time + Duration::from_secs(1) } else { time })
    }

    async fn first_mark(
        &self,
        known: &mut Known,
        older_than: SystemTime,
        tell: Watcher<'_>,
        report: &mut Report,
    ) -> Result<Garbage, Error> {
        let repositories = std::sync::atomic::AtomicU64::new(0);
        let counting = |event: Event<'_>| {
            if matches!(event, Event::Repository(_)) {
                repositories.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            tell(event);
        };
        let marked = self.mark(Spare::YoungerThan(older_than), known, &counting).run().await?;
        let garbage = Garbage::of(&self.store, &marked, older_than).await?;
        report.repositories = repositories.into_inner();
        report.stored = garbage.stored.blobs;
        report.stored_bytes = garbage.stored.bytes;
        report.eligible = garbage.tally;
        report.needed = marked.needed.len() as u64;
        tell(Event::Marked { needed: marked.needed.len(), eligible: &garbage.tally });
        garbage.keys.iter().for_each(|(key, _)| tell(Event::Eligible(key)));
        Ok(garbage)
    }

    fn mark<'a>(&'a self, spare: Spare<'a>, known: &'a mut Known, tell: Watcher<'a>) -> Mark<'a> {
        let (untagged, manifest_limit) = (self.config.untagged, self.config.manifest_limit);
        Mark { store: &self.store, untagged, manifest_limit, spare, known, tell }
    }

    fn refuse_implausible(&self, garbage: &Garbage) -> Result<(), Error> {
        let (bytes, total) = (garbage.tally.bytes, garbage.stored.bytes);
        let percent = bytes.saturating_mul(100).checked_div(total).unwrap_or(0);
        if self.config.large == LargeRemoval::Refused && bytes > SMALL && percent > LARGE_SHARE {
            return Err(Error::Implausible { garbage: bytes, total, percent });
        }
        Ok(())
    }

    /// One epoch: announces `list`, looks again, and removes what is doomed.
    async fn epoch(
        &self,
        epoch: EpochId,
        list: &[(Key, u64)],
        known: &mut Known,
        tell: Watcher<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.store.give_sign_of_life(epoch, 0, self.owner.sign().into(), WriteMode::Overwrite).await?;
        tokio::select! {
            done = self.condemn_and_sweep(epoch, list, known, tell, report) => done,
            silent = self.live(epoch, 0) => Err(silent),
        }
    }

    async fn condemn_and_sweep(
        &self,
        epoch: EpochId,
        list: &[(Key, u64)],
        known: &mut Known,
        tell: Watcher<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let keys: Vec<Key> = list.iter().map(|(key, _)| key.clone()).collect();
        self.store.announce(epoch, &keys).await?;
        tell(Event::Announced { condemned: keys.len() });
        tokio::time::sleep(self.config.settle).await;
        let condemned: Fingerprints = keys.iter().map(Key::fingerprint).collect();
        drop(keys);
        let doomed = match self.second_look(epoch, list, &condemned, known).await {
            Ok(doomed) => doomed,
            Err(error) => {
                // Nothing is decided, so nothing goes: an empty verdict sets free the writers that wait for one.
                self.store.decide(epoch, &[]).await?;
                self.store.retire(epoch).await?;
                return Err(error);
            }
        };
        let keys: Vec<Key> = doomed.iter().map(|(key, _)| key.clone()).collect();
        self.store.decide(epoch, &keys).await?;
        report.spared += (list.len() - doomed.len()) as u64;
        tell(Event::Sweeping { doomed: keys.len() });
        self.sweep(tell).run(known, &keys, sweep::Before::Nothing).await?;
        self.store.retire(epoch).await?;
        for (key, bytes) in doomed {
            report.removed.count(key, *bytes);
        }
        Ok(())
    }

    pub(super) fn sweep<'a>(&'a self, tell: Watcher<'a>) -> Sweep<'a> {
        Sweep { store: &self.store, config: &self.config, tell }
    }

    async fn second_look<'a>(
        &self,
        epoch: EpochId,
        list: &'a [(Key, u64)],
        condemned: &Fingerprints,
        known: &mut Known,
    ) -> Result<Vec<&'a (Key, u64)>, Error> {
        let again = self.mark(Spare::NotIn(condemned), known, &|_| {}).run().await?;
        self.store.close(epoch).await?;
        let revived = self.store.revived(epoch).await?;
        plan::doomed(&self.store, known, self.config.manifest_limit, list, &again, &revived).await
    }

    /// Gives signs of life for as long as it is polled, and returns when that has failed for too long.
    pub(super) async fn live(&self, epoch: EpochId, successor: usize) -> Error {
        let mut owner = self.owner.clone();
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(BEAT).await;
            owner.beat += 1;
            let sign = self.store.give_sign_of_life(epoch, successor, owner.sign().into(), WriteMode::Overwrite);
            match tokio::time::timeout(BEAT, sign).await {
                Ok(Ok(())) => last = Instant::now(),
                Ok(Err(_)) | Err(_) if last.elapsed() >= SILENCE => return Error::OutOfTouch(last.elapsed().as_secs()),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Whether the store is across a network, where a request may take effect after its answer was given up.
    pub(super) fn is_remote(&self) -> bool {
        self.store.latency() == Latency::Remote
    }
}
