//! What a collector does before its own work: finishes what collectors that died have begun, and looks for writers that do
//! not follow the protocol. And after it: gives up what uploads left behind.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::owner::Life;
use super::references::Known;
use super::sweep::Before;
use super::{Collector, Error, PurgeMode, Takeover, UploadPurger, UploadPurging, Watcher, Writers};
use crate::oci::RepositoryName;
use crate::storage::collection::EpochId;
use crate::storage::driver::{Capabilities, Hold, Kept, More, WriteMode};
use crate::storage::{Error as StorageError, Holding};

/// An upload that distribution began more recently than this is being written by a running distribution.
const RECENT: Duration = Duration::from_hours(24);

/// Repositories asked for at once.
const PAGE: usize = 1000;

/// Uploads that somebody wrote to more recently than this are never given up, whatever the grace.
const LEAST_UPLOAD_AGE: Duration = Duration::from_hours(24);

impl Collector {
    /// Finishes the epochs of collectors that are certainly dead. Returns how many there were.
    pub(super) async fn recover(&self, tell: Watcher<'_>) -> Result<u64, Error> {
        let mut recovered = 0;
        for epoch in self.store.epochs().await?.active.into_keys() {
            recovered += u64::from(self.succeed(epoch, self.config.takeover, tell).await?);
        }
        Ok(recovered)
    }

    /// Finishes `epoch` if the one who worked on it is dead, or by `takeover` counts as dead. Whether it did.
    pub(super) async fn succeed(&self, epoch: EpochId, takeover: Takeover, tell: Watcher<'_>) -> Result<bool, Error> {
        let hold = self.store.hold_epoch(epoch).await?;
        let (successor, signs) = self.signs(epoch).await?;
        let dead = match (&hold, signs.map(|sign| self.owner.life_of(&sign)), takeover) {
            (Hold::Another, ..) => false,
            // Locks end with their process. And a collector gives a sign of life before it announces: an epoch without any
            // is what forgetting left over.
            (Hold::Mine(_), ..) | (Hold::Unknowable, None | Some(Life::Mine | Life::Over), _) => true,
            (Hold::Unknowable, Some(Life::Unknown), takeover) => takeover == Takeover::Everything,
        };
        // It may have come to its end between the listing and the lock.
        if !dead || self.store.is_retired(epoch).await? || !self.take_over(epoch, successor, &hold).await? {
            return Ok(false);
        }
        self.while_known_alive(&hold, epoch, successor, self.finish(epoch, tell)).await?;
        Ok(true)
    }

    /// How many gave signs of life for `epoch`, one after the other, and the sign of the last.
    async fn signs(&self, epoch: EpochId) -> Result<(usize, Option<Bytes>), Error> {
        let mut number = 0;
        let mut last = None;
        while let Some(sign) = self.store.sign_of_life(epoch, number).await? {
            last = Some(sign);
            number += 1;
        }
        Ok((number, last))
    }

    /// The last sign of life that somebody gave for `epoch`.
    pub(super) async fn last_sign(&self, epoch: EpochId) -> Result<Option<Bytes>, Error> {
        Ok(self.signs(epoch).await?.1)
    }

    /// Takes the place `successor` among those who work on `epoch`; `false` when another was quicker.
    async fn take_over(&self, epoch: EpochId, successor: usize, hold: &Hold) -> Result<bool, Error> {
        let mine = self.owner.sign();
        let sign = self.pulse.sign();
        match self.store.give_sign_of_life(epoch, successor, mine.clone().into(), WriteMode::CreateOnly).await {
            Ok(()) => sign.given(),
            Err(StorageError::AlreadyExists { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if matches!(hold, Hold::Mine(_)) {
            return Ok(true);
        }
        // A store may ignore that the sign was to be created only: then the last of several stands.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(self.store.sign_of_life(epoch, successor).await?.is_some_and(|sign| *sign == *mine))
    }

    async fn finish(&self, epoch: EpochId, tell: Watcher<'_>) -> Result<(), Error> {
        let closed = self.store.is_closed(epoch).await?;
        let verdict = self.store.verdict(epoch).await?;
        match &verdict {
            Some(doomed) => {
                self.sweep(epoch, tell).run(&Known::default(), doomed, Before::SomebodyElse).await?;
            }
            None if closed => self.store.decide(epoch, &[]).await?,
            None => {}
        }
        Ok(self.store.retire(epoch, &verdict.unwrap_or_default()).await?)
    }

    /// # Errors
    /// [`Error::Forgetful`] when the bucket was seen not to show what it was just given, unless nothing writes.
    pub(super) async fn refuse_forgetful_store(&self) -> Result<(), Error> {
        if !self.is_remote() || self.config.writers == Writers::Offline {
            return Ok(());
        }
        match self.store.capabilities().await? {
            Capabilities { read_after_write: Kept::No, .. } => {
                Err(Error::Forgetful("does not read what was just written"))
            }
            Capabilities { list_after_write: Kept::No, .. } => {
                Err(Error::Forgetful("lists late what was just written"))
            }
            _ => Ok(()),
        }
    }

    /// Looks for uploads that distribution began: it notes when it did, until the upload ends. What else it writes is, to the
    /// byte, what this program writes.
    ///
    /// # Errors
    /// [`Error::MixedUse`] when distribution wrote to the store within a day, unless nothing writes.
    pub(super) async fn refuse_mixed_use(&self) -> Result<(), Error> {
        if self.config.writers == Writers::Offline {
            return Ok(());
        }
        let now = SystemTime::now();
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Uploads, last, PAGE).await?;
            for name in &page.names {
                for (id, begun) in self.store.uploads_begun_elsewhere(name).await? {
                    let age = now.duration_since(begun).unwrap_or_default();
                    if age < RECENT {
                        let minutes = age.as_secs() / 60;
                        return Err(Error::MixedUse { repository: name.clone(), upload: id, minutes });
                    }
                }
            }
            match (page.more, page.names.last()) {
                (More::Yes, Some(last)) => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Gives up uploads that nobody wrote to for long. Returns how many there were.
    pub(super) async fn give_up_uploads(&self, now: SystemTime) -> Result<u64, Error> {
        let age = self.config.grace.max(LEAST_UPLOAD_AGE);
        let purging = UploadPurging { age, mode: PurgeMode::Remove, ..UploadPurging::default() };
        let report = UploadPurger::new(self.store.clone(), purging).purge(now).await?;
        Ok(report.abandoned as u64 + report.multiparts)
    }
}
