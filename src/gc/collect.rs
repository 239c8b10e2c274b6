//! Collection beside running writers: condemn, look again, close, sweep. See docs/garbage-collection.md.
//!
//! The order of the steps is what keeps pushes safe; no clock and no lock does. Every step up to the verdict can be given
//! up without harm, every one after it can be taken up by a successor.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::mark::{Mark, Marked, Scope, Spare, fingerprint_of_name};
use super::needed::Condemned;
use super::owner::Owner;
use super::plan::{self, Garbage};
use super::pulse::{Pulse, SILENCE};
use super::references::Known;
use super::sweep::{self, Sweep};
use super::{Collection, Error, Event, LargeRemoval, Mode, Report};
use crate::oci::RepositoryName;
use crate::storage::Store;
use crate::storage::collection::{EpochId, Key};
use crate::storage::driver::{Hold, Latency, WriteMode};

/// A file that was being written and was not touched for so long has no writer any more.
const LEFT_FOR: Duration = Duration::from_hours(24);

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(20);

/// Less garbage than this is never implausible, bytes.
const SMALL: u64 = 1 << 30;

/// A larger share of all bytes than this is: percent.
const LARGE_SHARE: u64 = 30;

/// Something that watches a collection.
pub type Watcher<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// What one epoch is about.
#[derive(Clone, Copy)]
struct Work<'a> {
    /// Where it was looked, and is looked again.
    scope: Scope<'a>,
    epoch: EpochId,
    /// What is condemned, and its size.
    list: &'a [(Key, u64)],
    tell: Watcher<'a>,
}

/// Removes what nothing needs.
#[derive(Debug)]
pub struct Collector {
    pub(super) store: Store,
    pub(super) config: Collection,
    pub(super) owner: Owner,
    pub(super) pulse: Pulse,
}

impl Collector {
    /// A collector of the garbage in `store`.
    #[must_use]
    pub fn new(store: Store, config: Collection) -> Self {
        Self { store, config, owner: Owner::new(), pulse: Pulse::default() }
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
            report.emptied_bytes = self.empty_bins(Some(self.config.keep_removed)).await?;
        }
        if removing {
            self.refuse_forgetful_store().await?;
            self.refuse_mixed_use().await?;
        }
        let first = EpochId::random();
        let now = if removing { self.store_time(first).await? } else { SystemTime::now() };
        let older_than = now.checked_sub(self.config.grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let known = Known::default();
        let marked = self.first_mark(&known, older_than, tell, &mut report).await;
        if !removing {
            return marked.map(|_| report);
        }
        let (garbage, tagged) = match marked {
            Ok(marked) => marked,
            Err(error) => {
                // Nothing was announced. A sign that stays does no harm.
                drop(self.store.take_back_sign(first).await);
                return Err(error);
            }
        };
        report.more = garbage.is_cut();
        // Beside each other, because both wait for the disk; and both to their end, whatever becomes of the other.
        let leftovers = self.store.tidy(now.checked_sub(LEFT_FOR).unwrap_or(SystemTime::UNIX_EPOCH));
        let sweeping = self.work_off(Scope::Everything, first, garbage, &known, tell, &mut report);
        let (swept, leftovers) = tokio::join!(sweeping, leftovers);
        swept?;
        report.leftovers = leftovers?;
        self.store.note_tagged_repositories(&tagged).await?;
        self.store.forget_epochs(now).await?;
        report.uploads = self.give_up_uploads(now).await?;
        Ok(report)
    }

    /// Removes `garbage` in as many epochs as it takes, the first of which is `epoch`.
    pub(super) async fn work_off(
        &self,
        scope: Scope<'_>,
        mut epoch: EpochId,
        garbage: Garbage,
        known: &Known,
        tell: Watcher<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        if garbage.lists.is_empty() {
            self.store.take_back_sign(epoch).await?;
        }
        for list in garbage.lists {
            self.epoch(Work { scope, epoch, list: &list, tell }, known, report).await?;
            epoch = EpochId::random();
        }
        Ok(())
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
        known: &Known,
        older_than: SystemTime,
        tell: Watcher<'_>,
        report: &mut Report,
    ) -> Result<(Garbage, Vec<RepositoryName>), Error> {
        let repositories = std::sync::atomic::AtomicU64::new(0);
        let counting = |event: Event<'_>| {
            if matches!(event, Event::Repository(_)) {
                repositories.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            tell(event);
        };
        let mut marked = self.mark(Scope::Everything, Spare::YoungerThan(older_than), known, &counting).run().await?;
        let garbage = Garbage::of(&self.store, &mut marked, older_than).await?;
        report.repositories = repositories.into_inner();
        report.stored = garbage.stored.blobs;
        report.stored_bytes = garbage.stored.bytes;
        report.eligible = garbage.tally;
        report.needed = marked.needed.len() as u64;
        tell(Event::Marked { needed: marked.needed.len(), eligible: &garbage.tally });
        garbage.lists.iter().flatten().for_each(|(key, _)| tell(Event::Eligible(key)));
        if self.config.mode == Mode::Remove && self.config.large == LargeRemoval::Refused {
            refuse_implausible(&garbage)?;
            self.refuse_vanished(&marked).await?;
        }
        Ok((garbage, marked.tagged))
    }

    pub(super) fn mark<'a>(
        &'a self,
        scope: Scope<'a>,
        spare: Spare<'a>,
        known: &'a Known,
        tell: Watcher<'a>,
    ) -> Mark<'a> {
        let (untagged, manifest_limit) = (self.config.untagged, self.config.manifest_limit);
        Mark { store: &self.store, scope, untagged, manifest_limit, spare, known, tell }
    }

    /// Repositories that had tags the last time and of which not even an unused link is left were not emptied by users: a
    /// disk is not mounted, or the store does not show everything.
    async fn refuse_vanished(&self, marked: &Marked) -> Result<(), Error> {
        let mut noted = self.store.tagged_repositories().await?.unwrap_or_default();
        noted.retain(|name| !marked.present.contains(&fingerprint_of_name(name)));
        let others = noted.len().saturating_sub(1);
        noted.into_iter().next().map_or(Ok(()), |first| Err(Error::Vanished { first, others }))
    }

    /// One epoch: announces the list, looks again, and removes what is doomed.
    async fn epoch(&self, work: Work<'_>, known: &Known, report: &mut Report) -> Result<(), Error> {
        let epoch = work.epoch;
        let hold = self.store.hold_epoch(epoch).await?;
        let sign = self.pulse.sign();
        self.store.give_sign_of_life(epoch, 0, self.owner.sign().into(), WriteMode::Overwrite).await?;
        sign.given();
        self.while_known_alive(&hold, epoch, 0, self.condemn_and_sweep(work, known, report)).await
    }

    /// Does `work` as long as others can know that this collector lives: by the lock, or by signs that it gives.
    pub(super) async fn while_known_alive(
        &self,
        hold: &Hold,
        epoch: EpochId,
        successor: usize,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        if matches!(hold, Hold::Mine(_)) {
            self.pulse.rest();
            return work.await;
        }
        tokio::select! {
            done = work => done,
            silent = self.live(epoch, successor) => Err(silent),
        }
    }

    async fn condemn_and_sweep(&self, work: Work<'_>, known: &Known, report: &mut Report) -> Result<(), Error> {
        let Work { epoch, list, tell, .. } = work;
        let keys: Vec<Key> = list.iter().map(|(key, _)| key.clone()).collect();
        self.store.announce(epoch, &keys).await?;
        tell(Event::Announced { condemned: keys.len() });
        tokio::time::sleep(self.config.settle).await;
        drop(keys);
        let condemned = Condemned::of(list);
        let doomed = match self.second_look(work, &condemned, known).await {
            Ok(doomed) => doomed,
            Err(error) => {
                // Nothing is decided, so nothing goes: an empty verdict sets free the writers that wait for one.
                self.store.decide(epoch, &[]).await?;
                self.store.retire(epoch, &[]).await?;
                return Err(error);
            }
        };
        let keys: Vec<Key> = doomed.iter().map(|(key, _)| key.clone()).collect();
        self.store.decide(epoch, &keys).await?;
        report.spared += (list.len() - doomed.len()) as u64;
        tell(Event::Sweeping { doomed: keys.len() });
        let swept = self.sweep(epoch, tell).run(known, &keys, sweep::Before::Nothing).await?;
        self.store.retire(epoch, &keys).await?;
        swept.tell(&doomed, &mut report.kept);
        for (key, bytes) in doomed {
            report.removed.count(key, *bytes);
        }
        Ok(())
    }

    pub(super) fn sweep<'a>(&'a self, epoch: EpochId, tell: Watcher<'a>) -> Sweep<'a> {
        Sweep { store: &self.store, config: &self.config, pulse: &self.pulse, epoch, tell }
    }

    async fn second_look<'a>(
        &self,
        work: Work<'a>,
        condemned: &Condemned,
        known: &Known,
    ) -> Result<Vec<&'a (Key, u64)>, Error> {
        let Work { scope, epoch, list, .. } = work;
        let again = self.mark(scope, Spare::NotIn(condemned), known, &|_| {}).run().await?;
        // Who began to push since the first look would not see the list. Before closing, because pushes wait from then on.
        self.refuse_mixed_use().await?;
        self.store.close(epoch).await?;
        let revived = self.store.revived(epoch).await?;
        plan::doomed(&self.store, known, self.config.manifest_limit, list, &again, &revived).await
    }

    /// Gives signs of life for as long as it is polled, and returns when that has failed for too long.
    async fn live(&self, epoch: EpochId, successor: usize) -> Error {
        let mut owner = self.owner.clone();
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(BEAT).await;
            owner.beat += 1;
            let sign = self.pulse.sign();
            let giving = self.store.give_sign_of_life(epoch, successor, owner.sign().into(), WriteMode::Overwrite);
            match tokio::time::timeout(BEAT, giving).await {
                Ok(Ok(())) => {
                    sign.given();
                    last = Instant::now();
                }
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

fn refuse_implausible(garbage: &Garbage) -> Result<(), Error> {
    let (bytes, total) = (garbage.tally.bytes, garbage.stored.bytes);
    let percent = bytes.saturating_mul(100).checked_div(total).unwrap_or(0);
    if bytes > SMALL && percent > LARGE_SHARE {
        return Err(Error::Implausible { garbage: bytes, total, percent });
    }
    Ok(())
}
