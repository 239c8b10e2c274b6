//! Upload purging: removes upload sessions that nobody has written to for a long time.
//!
//! A session's age is the time since its last byte, not since it began: a slow upload that goes on is never taken away.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::{Error, PurgeMode, UploadPurging};
use crate::oci::RepositoryName;
use crate::storage::driver::More;
use crate::storage::{Holding, Store, UploadEntry};

/// Repositories looked at between two listings.
const PAGE: usize = 1000;

/// Longest time before the first round, so that replicas started together do not all walk the store at once.
const LONGEST_FIRST_WAIT: Duration = Duration::from_hours(1);

/// Removes abandoned upload sessions.
#[derive(Debug, Clone)]
pub struct UploadPurger {
    store: Store,
    config: UploadPurging,
}

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeReport {
    /// Sessions found.
    pub sessions: usize,
    /// Of these, sessions that were removed or, when only reporting, would have been.
    pub abandoned: usize,
    /// Of these, sessions that could not be removed.
    pub failed: usize,
}

impl UploadPurger {
    /// A purger of the sessions in `store`.
    #[must_use]
    pub fn new(store: Store, config: UploadPurging) -> Self {
        Self { store, config }
    }

    /// Purges for as long as it is polled: first after a random part of the interval, then once for each.
    pub async fn run(self) {
        let first = self.config.interval.min(LONGEST_FIRST_WAIT).mul_f64(rand::random::<f64>());
        tokio::time::sleep(first).await;
        loop {
            match self.purge(SystemTime::now()).await {
                Ok(report) => info!(
                    sessions = report.sessions,
                    abandoned = report.abandoned,
                    failed = report.failed,
                    "upload purging finished"
                ),
                Err(error) => warn!(%error, "upload purging stopped early; it will be tried again"),
            }
            tokio::time::sleep(self.config.interval).await;
        }
    }

    /// One round, with `now` as the time by which sessions are old.
    ///
    /// # Errors
    /// Of listing. A session that cannot be removed is counted and the round goes on.
    pub async fn purge(&self, now: SystemTime) -> Result<PurgeReport, Error> {
        let mut report = PurgeReport::default();
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Uploads, last, PAGE).await?;
            for name in &page.names {
                for upload in self.store.list_uploads(name).await? {
                    self.consider(name, &upload, now, &mut report).await;
                }
            }
            match page.more {
                More::Yes => after = page.names.last().cloned(),
                More::No => return Ok(report),
            }
        }
    }

    async fn consider(&self, name: &RepositoryName, upload: &UploadEntry, now: SystemTime, report: &mut PurgeReport) {
        report.sessions += 1;
        // A modification in the future is the store's clock being ahead of ours: the session is young.
        let idle = upload.modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        if idle < self.config.age || idle.is_zero() {
            return;
        }
        report.abandoned += 1;
        let (repository, id) = (name.as_str(), upload.id.as_str());
        match self.config.mode {
            PurgeMode::Report => info!(repository, id, idle_seconds = idle.as_secs(), "upload is abandoned"),
            PurgeMode::Remove => match self.store.remove_upload(name, id).await {
                Ok(()) => info!(repository, id, idle_seconds = idle.as_secs(), "removed an abandoned upload"),
                Err(error) => {
                    report.failed += 1;
                    warn!(repository, id, %error, "an abandoned upload could not be removed");
                }
            },
        }
    }
}
