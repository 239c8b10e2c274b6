//! Logs, metrics and health: what an operator sees of the process.
//!
//! [`Telemetry`] is the bundle the server is given. No room below is known here: what storage or routes have to say comes
//! in as plain values ([`Handler`], [`StorageMetrics::observe`], a [`StorageProbe`]).

mod access_log;
mod config;
mod debug;
mod error;
mod exposition;
mod health;
mod health_probes;
mod histogram;
mod log_line;
mod logging;
mod metrics;
mod process;
mod record;
mod request;

pub use access_log::AccessLogSink;
pub use config::*;
pub use debug::debug_router;
pub use error::TelemetryError;
pub use health::{HealthChecks, StorageProbe};
pub use logging::init_logging;
pub use metrics::{Metrics, StorageMetrics};
pub use record::RequestRecord;
pub use request::{Handler, PeerAddress};

/// What the server reports each request to. Clones share everything.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Counters of requests and storage actions.
    pub metrics: Metrics,
    /// Where access log lines go.
    pub access_log: AccessLogSink,
    /// The verdict of the health checks.
    pub health: HealthChecks,
}

impl Telemetry {
    /// Counters at zero, no access log, healthy: for tests and for commands that serve nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { metrics: Metrics::new(), access_log: AccessLogSink::disabled(), health: HealthChecks::new() }
    }
}
