//! Upload purging: removes upload sessions that nobody has written to for a long time.
//!
//! A session's age is the time since its last byte, not since it began: a slow upload that goes on is never taken away.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::{Error, PurgeMode, UploadPurging};
use crate::oci::RepositoryName;
use crate::storage::driver::{More, Unfinished};
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
    /// Writes that never ended and that no listing shows, given up or, when only reporting, counted: the open multipart
    /// uploads of a bucket.
    pub multiparts: u64,
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
                    multiparts = report.multiparts,
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
                More::No => break,
            }
        }
        report.multiparts = self.give_up_unfinished(now).await;
        Ok(report)
    }

    /// What no session holds any more: a process that died while it wrote leaves it behind.
    async fn give_up_unfinished(&self, now: SystemTime) -> u64 {
        let Some(before) = now.checked_sub(self.config.age) else { return 0 };
        let what = match self.config.mode {
            PurgeMode::Report => Unfinished::Count,
            PurgeMode::Remove => Unfinished::Remove,
        };
        self.store.unfinished_writes(before, what).await.unwrap_or_else(|error| {
            warn!(%error, "unfinished writes could not be looked for; it will be tried again in the next round");
            0
        })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::storage::driver::memory::Memory;
    use crate::storage::driver::{Driver, WriteMode};
    use crate::storage::{Config, StoragePath};

    const WEEK: Duration = Duration::from_hours(168);

    fn purger(driver: &Arc<dyn Driver>, mode: PurgeMode) -> UploadPurger {
        let config = UploadPurging { age: WEEK, mode, ..UploadPurging::default() };
        UploadPurger::new(Store::new(Arc::clone(driver), &Config::default()), config)
    }

    async fn write(driver: &Arc<dyn Driver>, path: &str) {
        let path = StoragePath::for_test(&format!("docker/registry/v2/repositories/{path}"));
        driver.write(&path, Bytes::from_static(b"x"), WriteMode::Overwrite).await.unwrap();
    }

    async fn names(driver: &Arc<dyn Driver>, repository: &str) -> Vec<String> {
        let store = Store::new(Arc::clone(driver), &Config::default());
        let uploads = store.list_uploads(&repository.parse().unwrap()).await.unwrap();
        uploads.into_iter().map(|upload| upload.id).collect()
    }

    #[tokio::test]
    async fn only_sessions_idle_for_long_are_removed_in_every_repository() {
        let driver: Arc<dyn Driver> = Arc::new(Memory::new());
        for path in ["a/_uploads/one/data", "a/b/_uploads/two/data", "c/_uploads/crashed/startedat"] {
            write(&driver, path).await;
        }
        write(&driver, "a/_layers/sha256/x/link").await;
        let now = SystemTime::now();
        let purger = purger(&driver, PurgeMode::Remove);

        let young = purger.purge(now + WEEK - Duration::from_hours(1)).await.unwrap();
        assert_eq!(young, PurgeReport { sessions: 3, abandoned: 0, ..PurgeReport::default() });
        let old = purger.purge(now + WEEK + Duration::from_hours(1)).await.unwrap();
        assert_eq!(old, PurgeReport { sessions: 3, abandoned: 3, ..PurgeReport::default() });
        for repository in ["a", "a/b", "c"] {
            assert_eq!(names(&driver, repository).await, [""; 0], "{repository}");
        }
        let link = StoragePath::for_test("docker/registry/v2/repositories/a/_layers/sha256/x/link");
        assert!(driver.stat(&link).await.is_ok());
    }

    #[tokio::test]
    async fn a_report_removes_nothing() {
        let driver: Arc<dyn Driver> = Arc::new(Memory::new());
        write(&driver, "a/_uploads/one/data").await;
        let later = SystemTime::now() + WEEK * 2;
        let report = purger(&driver, PurgeMode::Report).purge(later).await.unwrap();
        assert_eq!(report, PurgeReport { sessions: 1, abandoned: 1, ..PurgeReport::default() });
        assert_eq!(names(&driver, "a").await, ["one"]);
    }

    #[tokio::test]
    async fn a_clock_that_lags_behind_the_store_removes_nothing() {
        let driver: Arc<dyn Driver> = Arc::new(Memory::new());
        write(&driver, "a/_uploads/one/data").await;
        let report = purger(&driver, PurgeMode::Remove).purge(SystemTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(report.abandoned, 0);
    }
}
