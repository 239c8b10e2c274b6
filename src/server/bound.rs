//! From listening sockets to an orderly end: accepts, serves, drains.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use tokio::net::TcpListener;
use tower::Service;

use super::admission::Admission;
use super::connection::Protocol;
use super::listener::{Listener, listen_tcp};
use super::shutdown::{Shutdown, Stage};
use super::tls::TlsFiles;
use super::{Config, Limits, Outcome, ServerError, Toggle};
use crate::telemetry::{Telemetry, debug_router};

/// How long a drain lasts when the config does not say.
const DRAIN: Duration = Duration::from_secs(30);

/// How long accepting pauses after a failure, such as having no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

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
    config: Config,
    listener: Listener,
    address: Address,
    tls: Option<TlsFiles>,
    debug: Option<(TcpListener, SocketAddr)>,
}

/// Opens the listening sockets (or takes the one passed by systemd) and reads the TLS files. Connections queue in the
/// kernel until [`Bound::run`]. Must be called on a runtime.
pub async fn bind(config: Config) -> Result<Bound, ServerError> {
    let tls = config.tls.clone().map(|tls| TlsFiles::load(tls, config.http2)).transpose()?;
    let listener = Listener::open(config.net, &config.addr).await?;
    let listen = |source| ServerError::Listen { addr: config.addr.clone(), source };
    let address = listener.address().map_err(listen)?;
    let debug = match &config.debug {
        Some(debug) => Some(bind_debug(&debug.addr).await?),
        None => None,
    };
    Ok(Bound { config, listener, address, tls, debug })
}

async fn bind_debug(addr: &str) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::DebugListen { addr: addr.to_owned(), source };
    let listener = listen_tcp(addr).await.map_err(|error| failed(std::io::Error::other(error)))?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
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
        self.debug.as_ref().map(|(_, address)| *address)
    }

    /// Serves `app` (an `axum::Router` or any cheaper service that is always ready) until `shutdown`, and the debug
    /// listener beside it.
    ///
    /// Every request carries a [`crate::telemetry::PeerAddress`]. Of each response the extensions
    /// [`crate::telemetry::Handler`] and [`crate::routes::FileBody`] are read.
    pub async fn run<S>(self, app: S, telemetry: Telemetry, mut shutdown: Shutdown) -> Outcome
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let Self { config, listener, address, tls, debug } = self;
        // Connections obey our own order, which also comes when the drain has lasted too long.
        let (order, orders) = Shutdown::manual();
        if let Some((listener, _)) = debug {
            spawn_debug(&config, listener, &telemetry, orders.clone());
        }
        let admission = Admission::new(&config.limits);
        let acceptor = tls.map(|tls| tls.watch(orders.clone()));
        let protocol = Arc::new(Protocol::new(&config.limits, config.h2c, acceptor));
        tokio::select! {
            () = shutdown.reached(Stage::Draining) => {}
            () = accept(&listener, &admission, &protocol, app, telemetry, &orders) => {}
        }
        // Closing the socket tells clients and balancers to go elsewhere.
        drop(listener);
        if let Address::Unix(path) = &address {
            let _ = std::fs::remove_file(path);
        }
        order.trigger();
        let limit = if config.drain_timeout.is_zero() { DRAIN } else { config.drain_timeout };
        let outcome = tokio::select! {
            biased;
            () = admission.empty() => Outcome::Drained,
            () = shutdown.reached(Stage::Now) => Outcome::Forced { connections: admission.held() },
            () = tokio::time::sleep(limit) => Outcome::TimedOut { connections: admission.held() },
        };
        order.trigger();
        outcome
    }
}

/// Accepts for ever. A connection from an address that holds too many is closed without a word.
async fn accept<S>(
    listener: &Listener,
    admission: &Admission,
    protocol: &Arc<Protocol>,
    app: S,
    telemetry: Telemetry,
    orders: &Shutdown,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    while let Some(permit) = admission.room().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = admission.admit(permit, peer) else {
            tracing::debug!(?peer, "too many connections from this address");
            continue;
        };
        let protocol = Arc::clone(protocol);
        let (app, telemetry, orders) = (app.clone(), telemetry.clone(), orders.clone());
        tokio::spawn(async move {
            protocol.serve(stream, peer, app, telemetry, orders).await;
            drop(place);
        });
    }
}

/// Serves the debug listener until all is over; it does not hold up a drain.
fn spawn_debug(config: &Config, listener: TcpListener, telemetry: &Telemetry, mut orders: Shutdown) {
    let path = config.debug.as_ref().and_then(|debug| debug.prometheus_path.as_deref());
    let app = debug_router(telemetry.clone(), path);
    let limits = Limits { connections: 100, ..config.limits.clone() };
    tokio::spawn(async move {
        let protocol = Arc::new(Protocol::new(&limits, Toggle::Off, None));
        let admission = Admission::new(&limits);
        let listener = Listener::Tcp(listener);
        let connections = orders.clone();
        // What scrapes us is no request of the registry's and is not counted.
        let uncounted = Telemetry::silent();
        tokio::select! {
            () = orders.reached(Stage::Now) => {}
            () = accept(&listener, &admission, &protocol, app, uncounted, &connections) => {}
        }
    });
}
