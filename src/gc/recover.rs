//! What a collector does before its own work: finishes what collectors that died have begun, and looks for writers that do
//! not follow the protocol. And after it: gives up what uploads left behind.

use std::time::{Duration, SystemTime};

use super::owner::Life;
use super::references::Known;
use super::sweep::Before;
use super::{Collector, Error, PurgeMode, Takeover, UploadPurger, UploadPurging, Watcher};
use crate::oci::RepositoryName;
use crate::storage::collection::{EpochId, Progress};
use crate::storage::driver::{Capabilities, Kept, More, WriteMode};
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
        for (epoch, progress) in self.store.epochs().await?.active {
            if let Some(successor) = self.successor_to(epoch).await? {
                tokio::select! {
                    done = self.finish(epoch, progress, tell) => done?,
                    silent = self.live(epoch, successor) => return Err(silent),
                }
                recovered += 1;
            }
        }
        Ok(recovered)
    }

    /// The place to take in the succession of those who worked on `epoch`, taken already; `None` when the last of them may
    /// live, or another was quicker.
    async fn successor_to(&self, epoch: EpochId) -> Result<Option<usize>, Error> {
        let mut successor = 0;
        let mut last = None;
        while let Some(sign) = self.store.sign_of_life(epoch, successor).await? {
            last = Some(sign);
            successor += 1;
        }
        let dead = match (last.map(|sign| self.owner.life_of(&sign)), self.config.takeover) {
            // A collector gives a sign of life before it announces: without any it is what forgetting left over.
            (None | Some(Life::Mine | Life::Over), _) | (Some(Life::Unknown), Takeover::Everything) => true,
            (Some(Life::Unknown), Takeover::OnlyTheDead) => false,
        };
        if !dead {
            return Ok(None);
        }
        let sign = self.owner.sign().into();
        match self.store.give_sign_of_life(epoch, successor, sign, WriteMode::CreateOnly).await {
            Ok(()) => Ok(Some(successor)),
            Err(StorageError::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn finish(&self, epoch: EpochId, progress: Progress, tell: Watcher<'_>) -> Result<(), Error> {
        // The dead may have come further between the listing and their death.
        let closed = progress.closed || self.store.is_closed(epoch).await?;
        match self.store.verdict(epoch).await? {
            Some(doomed) => {
                self.sweep(tell).run(&mut Known::default(), &doomed, Before::SomebodyElse).await?;
            }
            None if closed => self.store.decide(epoch, &[]).await?,
            None => {}
        }
        Ok(self.store.retire(epoch).await?)
    }

    /// # Errors
    /// [`Error::Forgetful`] when the bucket was seen not to show what it was just given.
    pub(super) async fn refuse_forgetful_store(&self) -> Result<(), Error> {
        if !self.is_remote() {
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

    /// # Errors
    /// [`Error::MixedUse`] when distribution wrote to the store a short while ago.
    pub(super) async fn refuse_mixed_use(&self) -> Result<(), Error> {
        let now = SystemTime::now();
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Uploads, last, PAGE).await?;
            for name in &page.names {
                for (id, begun) in self.store.uploads_begun_elsewhere(name).await? {
                    if now.duration_since(begun).unwrap_or_default() < RECENT {
                        return Err(Error::MixedUse { repository: name.clone(), upload: id });
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
