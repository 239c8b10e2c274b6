//! What collection is told: `storage.maintenance` of `config.yml`.

use std::time::Duration;

use super::Scheduled;

/// Cleaning that `serve` does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `storage.maintenance.uploadpurging`, unless turned off.
    pub upload_purging: Option<UploadPurging>,
    /// `storage.maintenance.garbagecollect`, when there is one.
    pub collection: Option<Scheduled>,
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

/// One run of garbage collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// What was written more recently than this is kept, by the store's clock. Safety does not rest on it.
    pub grace: Duration,
    /// What becomes of manifests that no tag reaches.
    pub untagged: Untagged,
    /// Whether anything is removed.
    pub mode: Mode,
    /// Time between announcing what is condemned and looking again: pushes that end within it meet no delay.
    pub settle: Duration,
    /// How long a request to a bucket that was not answered may still take effect. Too little may cost a push.
    pub request_lifetime: Duration,
    /// Largest manifest read, bytes.
    pub manifest_limit: u64,
    /// Whether anybody may be writing.
    pub writers: Writers,
    /// What to do when an implausible share of the content would go.
    pub large: LargeRemoval,
    /// Whose unfinished work is taken over.
    pub takeover: Takeover,
    /// How long what is removed from a disk can be put back; zero to free it at once.
    pub keep_removed: Duration,
}

impl Collection {
    /// S3 and OSS take a signed request for 15 minutes by their clock, from which ours may differ by as much.
    pub const REQUEST_LIFETIME: Duration = Duration::from_mins(31);

    /// What is removed from a disk can be put back for so long, unless told otherwise.
    pub const KEEP_REMOVED: Duration = Duration::from_hours(24);
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(24),
            untagged: Untagged::Keep,
            mode: Mode::Remove,
            settle: Duration::from_secs(5),
            request_lifetime: Self::REQUEST_LIFETIME,
            manifest_limit: 64 * 1024 * 1024,
            writers: Writers::Online,
            large: LargeRemoval::Refused,
            takeover: Takeover::OnlyTheDead,
            keep_removed: Self::KEEP_REMOVED,
        }
    }
}

/// `--delete-untagged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    /// Every manifest is kept.
    Keep,
    /// Manifests that no tag reaches go, unless they are about something that stays.
    Remove,
}

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Garbage is removed.
    Remove,
    /// Garbage is named and left where it is; nothing is written at all.
    Report,
}

/// `--offline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Registries of this kind may be serving pushes.
    Online,
    /// The operator says that nothing writes.
    Offline,
}

/// `--accept-large-removal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeRemoval {
    /// Stop.
    Refused,
    /// The operator means it.
    Accepted,
}

/// `--recover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// That of collectors which are certainly dead.
    OnlyTheDead,
    /// The operator says that no other collector runs.
    Everything,
}
