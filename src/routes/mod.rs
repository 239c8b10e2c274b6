//! HTTP in, HTTP out: the only room that knows headers and status codes.
//!
//! [`Routes`] answers a request in four steps: its path and query become an [`Endpoint`], `auth` is asked once for the
//! access the endpoint needs, one exhaustive match finds the handler, and the handler speaks to the registry. What goes
//! wrong anywhere becomes an answer by the one map in `error.rs`. Nothing below this room returns a response.

mod answer;
mod blobs;
mod body;
mod client;
mod client_certificate;
mod conditional;
mod config;
mod door;
mod endpoint;
mod error;
mod file_body;
mod listings;
mod location;
mod manifests;
mod multipart;
mod path;
mod query;
mod tokens;
mod uploads;

use std::sync::Arc;

pub use client_certificate::ClientCertificate;
pub use config::*;
pub use door::Routes;
pub use endpoint::{Effect, Endpoint};
use error::Error;
pub use file_body::FileBody;

use crate::auth::Authenticator;
use crate::registry::Registry;
use crate::telemetry::HealthChecks;

/// The API as an axum router, for whoever wants to add layers or routes of their own. [`Routes`] alone is cheaper.
pub fn router(
    config: Config,
    registry: Arc<Registry>,
    authenticator: Arc<Authenticator>,
    health: HealthChecks,
) -> axum::Router {
    axum::Router::new().fallback_service(Routes::new(config, registry, authenticator, health))
}
