//! What collection is told: `storage.maintenance` of `config.yml`.

use std::time::Duration;

/// Cleaning that `serve` does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// `storage.maintenance.uploadpurging`, unless turned off.
    pub upload_purging: Option<UploadPurging>,
}

/// `storage.maintenance.uploadpurging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPurging {
    /// Time since the last byte after which an upload session is abandoned.
    pub age: Duration,
    /// Time between two rounds.
    pub interval: Duration,
    /// Whether abandoned sessions are removed or only reported.
    pub mode: PurgeMode,
}

/// `storage.maintenance.uploadpurging.dryrun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PurgeMode {
    /// Abandoned sessions are removed.
    #[default]
    Remove,
    /// Abandoned sessions are named in the log and left alone.
    Report,
}

impl Default for UploadPurging {
    fn default() -> Self {
        Self { age: Duration::from_hours(168), interval: Duration::from_hours(24), mode: PurgeMode::Remove }
    }
}
