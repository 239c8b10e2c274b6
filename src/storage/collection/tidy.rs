//! Removal of what is no object: half-written files and empty directories, which only a disk has. Must not know what is garbage.
//!
//! Looking for them in a large store takes longer than collecting does, and they are few and small. So each time a share of
//! the store is gone through, and all of it in turn.

use std::time::SystemTime;

use crate::storage::driver::{Latency, Share, WriteMode};
use crate::storage::layout::{StoragePath, all_blobs, repositories, tidied};
use crate::storage::{Result, Store, found};

/// Shares in which a large store is gone through.
const SHARES: u64 = 64;

/// Largest note of the share that is next, bytes.
const LARGEST_NOTE: u64 = 32;

impl Store {
    /// Removes files that were left half-written before `before`, and empty directories, from the share that is next. Returns
    /// how many files there were. See [`crate::storage::driver::Driver::tidy`].
    pub async fn tidy(&self, before: SystemTime) -> Result<u64> {
        if self.latency == Latency::Remote {
            return Ok(0);
        }
        let note = tidied();
        let share = Share { number: self.next_share(&note).await?, of: SHARES };
        let (repositories, blobs) = (repositories(""), all_blobs());
        let removed =
            tokio::try_join!(self.driver.tidy(&repositories, before, share), self.driver.tidy(&blobs, before, share))?;
        let next = (share.number + 1) % SHARES;
        self.driver.write(&note, next.to_string().into(), WriteMode::Overwrite).await?;
        Ok(removed.0 + removed.1)
    }

    /// A note that makes no sense is no reason to stop: which share comes first matters to nobody.
    async fn next_share(&self, note: &StoragePath) -> Result<u64> {
        let noted = found(self.driver.read(note, LARGEST_NOTE).await)?;
        let number = noted.and_then(|noted| std::str::from_utf8(&noted).ok()?.parse::<u64>().ok());
        Ok(number.unwrap_or(0) % SHARES)
    }
}
