//! Counters.

use std::time::Duration;

/// All metrics of the process. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters of storage actions, labelled with the driver's name. Call once for each process.
    #[must_use]
    pub fn storage(&self, _driver: &str) -> StorageMetrics {
        StorageMetrics {}
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        String::new()
    }
}

/// `registry_storage_action_seconds`. Clones share the counters.
#[derive(Debug, Clone)]
pub struct StorageMetrics {}

impl StorageMetrics {
    /// Counts one action of the driver. `action` is one of distribution's names: `GetContent`, `PutContent`, `Stat`,
    /// `List`, `Move`, `Delete`, `RedirectURL`; another name counts as `Other`.
    pub fn observe(&self, _action: &'static str, _elapsed: Duration) {}
}
