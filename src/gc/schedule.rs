//! Collection that `serve` does by itself: at the times of a schedule, in one replica at a time.
//!
//! That only one does it saves work; safety does not rest on it. Where the store knows of the end of processes a lock tells
//! who is at it; elsewhere whoever is gives signs of life, and is succeeded when they stop.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use croner::Cron;
use tokio::time::sleep;
use tracing::{info, warn};

use super::owner::Owner;
use super::{Collection, Collector, Error, Report, Untagged};
use crate::storage::driver::{Hold, WriteMode};
use crate::storage::{Error as StorageError, Store};

/// Between two looks at another replica's signs of life.
pub(super) const LOOK: Duration = Duration::from_mins(5);

/// Looks after which one whose sign has not changed is taken for dead: it stops itself after a minute. Looks are counted
/// rather than time, so that one who slept does not take the others' signs for old.
pub(super) const SILENT_LOOKS: u32 = 4;

/// Between two looks at a lock, and between two signs of life.
const LOCAL_LOOK: Duration = Duration::from_mins(1);

/// Replicas begin so long after each other, at random.
const SPREAD: Duration = Duration::from_secs(20);

/// The clock may be set while a replica waits, so it is asked again after this.
const LONGEST_NAP: Duration = Duration::from_mins(10);

/// What a round holds when it is over.
const DONE: &[u8] = b"done";

/// `storage.maintenance.garbagecollect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// When to collect.
    pub schedule: Schedule,
    /// See [`Collection::grace`].
    pub grace: Duration,
    /// See [`Collection::untagged`].
    pub untagged: Untagged,
    /// See [`Collection::keep_removed`].
    pub keep_removed: Duration,
}

/// Times at which something is done, in UTC, as cron writes them: minute, hour, day, month, day of the week.
#[derive(Clone)]
pub struct Schedule(Cron);

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schedule = Self(text.parse().map_err(|error: croner::errors::CronError| error.to_string())?);
        match schedule.next_after(SystemTime::now()) {
            Some(_) => Ok(schedule),
            None => Err("there is no such time".to_owned()),
        }
    }
}

impl Schedule {
    /// The first time after `time`; `None` when there is none.
    #[must_use]
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let time = chrono::DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(next.timestamp()).ok()?))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.0.as_str()).finish()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Schedule {}

/// Collects at the times of a schedule.
#[derive(Debug)]
pub struct Scheduler {
    store: Store,
    config: Scheduled,
    manifest_limit: u64,
    owner: Owner,
}

/// A round that is this replica's.
struct Turn {
    /// The lock, where there is one.
    hold: Hold,
}

impl Scheduler {
    /// A scheduler over `store`, which reads manifests of at most `manifest_limit` bytes.
    #[must_use]
    pub fn new(store: Store, config: Scheduled, manifest_limit: u64) -> Self {
        Self { store, config, manifest_limit, owner: Owner::new() }
    }

    /// Collects for as long as it is polled.
    pub async fn run(self) {
        let mut last = SystemTime::now();
        while let Some(next) = self.config.schedule.next_after(last) {
            while let Ok(left) = next.duration_since(SystemTime::now()) {
                sleep(left.min(LONGEST_NAP)).await;
            }
            sleep(SPREAD.mul_f64(rand::random())).await;
            match self.round(next).await {
                Ok(Some(report)) => info!(
                    manifests = report.removed.manifests,
                    layer_links = report.removed.layer_links,
                    blobs = report.removed.blobs,
                    bytes = report.removed.bytes,
                    kept_bytes = report.kept.bytes,
                    "garbage collection finished"
                ),
                Ok(None) => info!("another replica collected garbage"),
                Err(error) => warn!(%error, "garbage collection stopped early; the next round tries again"),
            }
            last = next.max(SystemTime::now());
        }
    }

    /// The round of the time `at`: collects, unless another replica does. `None` when one did.
    pub(super) async fn round(&self, at: SystemTime) -> Result<Option<Report>, Error> {
        let round = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Some(turn) = self.turn(round, at).await? else { return Ok(None) };
        let config = Collection {
            grace: self.config.grace,
            untagged: self.config.untagged,
            keep_removed: self.config.keep_removed,
            manifest_limit: self.manifest_limit,
            ..Collection::default()
        };
        let collector = Collector::new(self.store.clone(), config);
        let result = tokio::select! {
            result = collector.collect(&|_| {}) => result,
            never = self.beat(round, &turn) => match never {},
        };
        // Where one failed the others would too: the next round is soon enough.
        self.store.write_round(round, DONE.into(), WriteMode::Overwrite).await?;
        self.store.forget_rounds(round).await?;
        result.map(Some)
    }

    /// Waits until the round is this replica's, or over.
    async fn turn(&self, round: u64, at: SystemTime) -> Result<Option<Turn>, Error> {
        let mut seen = None;
        let mut unchanged = 0;
        loop {
            let sign = self.store.round(round).await?;
            let over = self.config.schedule.next_after(at).is_some_and(|next| next <= SystemTime::now());
            if over || sign.as_ref().is_some_and(|sign| **sign == *DONE) {
                return Ok(None);
            }
            match self.store.hold_schedule().await? {
                Hold::Another => sleep(LOCAL_LOOK).await,
                hold @ Hold::Mine(_) => {
                    // It may have ended between the two questions.
                    if self.store.round(round).await?.is_some_and(|sign| *sign == *DONE) {
                        return Ok(None);
                    }
                    self.store.write_round(round, self.owner.sign().into(), WriteMode::Overwrite).await?;
                    return Ok(Some(Turn { hold }));
                }
                hold @ Hold::Unknowable => {
                    unchanged = if sign.is_some() && sign == seen { unchanged + 1 } else { 0 };
                    let mode = match &sign {
                        None => Some(WriteMode::CreateOnly),
                        Some(_) if unchanged >= SILENT_LOOKS => Some(WriteMode::Overwrite),
                        Some(_) => None,
                    };
                    if let Some(mode) = mode
                        && self.claim(round, mode).await?
                    {
                        return Ok(Some(Turn { hold }));
                    }
                    seen = sign;
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// Signs the round, and looks whether the signature stands: of several who sign at once one remains.
    async fn claim(&self, round: u64, mode: WriteMode) -> Result<bool, Error> {
        let mine = self.owner.sign();
        match self.store.write_round(round, mine.clone().into(), mode).await {
            Err(StorageError::AlreadyExists { .. }) => return Ok(false),
            other => other?,
        }
        sleep(Duration::from_secs(2)).await;
        Ok(self.store.round(round).await?.is_some_and(|sign| *sign == *mine))
    }

    /// Gives signs of life where no lock does.
    async fn beat(&self, round: u64, turn: &Turn) -> std::convert::Infallible {
        let mut owner = self.owner.clone();
        loop {
            sleep(LOCAL_LOOK).await;
            if matches!(turn.hold, Hold::Mine(_)) {
                continue;
            }
            owner.beat += 1;
            let sign = self.store.write_round(round, owner.sign().into(), WriteMode::Overwrite);
            if let Err(error) = sign.await {
                warn!(%error, "other replicas could not be told that garbage collection goes on");
            }
        }
    }
}
