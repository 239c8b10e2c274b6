//! Which replica does what the schedule of collection asks for, and which repositories the last collection knew. Neither
//! matters to the safety of pushes.

use bytes::Bytes;

use crate::oci::RepositoryName;
use crate::storage::driver::{Hold, ListPage, WriteMode};
use crate::storage::layout::{collector_lock, round, rounds, tagged_repositories};
use crate::storage::{Error, Result, Store, found};

/// Largest record of repositories read, bytes.
const LARGEST_RECORD: u64 = 64 * 1024 * 1024;

impl Store {
    /// Takes the lock of those who collect by the schedule.
    pub async fn hold_schedule(&self) -> Result<Hold> {
        self.driver.hold(&collector_lock("schedule")).await
    }

    /// What was written of the round that began at `at`, seconds since 1970.
    pub async fn round(&self, at: u64) -> Result<Option<Bytes>> {
        found(self.driver.read(&round(at), 4096).await)
    }

    /// Writes it.
    pub async fn write_round(&self, at: u64, content: Bytes, mode: WriteMode) -> Result<()> {
        self.driver.write(&round(at), content, mode).await
    }

    /// Forgets the rounds before `at`.
    pub async fn forget_rounds(&self, at: u64) -> Result<()> {
        let directory = rounds();
        let listing = self.driver.list(&directory, &ListPage::all()).await?;
        let old = listing.entries.iter().filter(|entry| entry.name.parse::<u64>().is_ok_and(|round| round < at));
        let old: Vec<_> = old.map(|entry| directory.listed(&entry.name)).collect();
        if old.is_empty() { Ok(()) } else { self.driver.delete_many(&old).await }
    }

    /// The repositories that had tags when they were last noted; `None` when they never were.
    ///
    /// # Errors
    /// `Damaged` when the record is not whole.
    pub async fn tagged_repositories(&self) -> Result<Option<Vec<RepositoryName>>> {
        let path = tagged_repositories();
        let Some(content) = found(self.driver.read(&path, LARGEST_RECORD).await)? else { return Ok(None) };
        let damaged = || Error::Damaged { path: path.to_string(), reason: "it is no list of repositories".to_owned() };
        let text =
            std::str::from_utf8(&content).ok().and_then(|text| text.strip_suffix("end\n")).ok_or_else(damaged)?;
        let names: Result<Vec<RepositoryName>, _> = text.lines().map(str::parse).collect();
        names.map(Some).map_err(|_| damaged())
    }

    /// Notes that `names` have tags.
    pub async fn note_tagged_repositories(&self, names: &[RepositoryName]) -> Result<()> {
        let mut content = String::new();
        for name in names {
            content.push_str(name.as_str());
            content.push('\n');
        }
        content.push_str("end\n");
        self.driver.write(&tagged_repositories(), content.into(), WriteMode::Overwrite).await
    }
}
