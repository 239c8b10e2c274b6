//! What can go wrong when telemetry starts. Once started it has no errors: it drops and counts.

/// Why logs or health checks could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Logging was initialised before; the second call changes nothing.
    #[error("logging is already initialised in this process; initialise it once, before the first log line")]
    AlreadyInitialised,
    /// A `health.http` address that cannot be asked.
    #[error("health.http: {uri}: {reason}; write it as http://host[:port]/path")]
    HealthUri {
        /// The address as configured.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
}
