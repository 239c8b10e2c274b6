//! What the server is told: where to listen, with which TLS, and the limits that protect it.
//!
//! Keys and defaults follow distribution's `http` section; `http.limits` is ours.

use std::path::PathBuf;
use std::time::Duration;

use crate::routes::ProxyNetwork;

/// The `http` section as far as sockets and connections are concerned.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen: `host:port` for TCP (an empty host means all addresses), a path for a unix socket.
    pub addr: String,
    /// Which kind of socket `addr` names.
    pub net: Net,
    /// TLS, when `http.tls.certificate` is set.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is offered in ALPN (`http.http2.disabled` turns it off).
    pub http2: Toggle,
    /// Whether cleartext HTTP/2 with prior knowledge is understood (`http.h2c.enabled`).
    pub h2c: Toggle,
    /// How long requests in flight may go on after SIGTERM or SIGINT; zero asks for the default of 30 s.
    pub drain_timeout: Duration,
    /// The debug listener (`http.debug`), plaintext and on its own address.
    pub debug: Option<Debug>,
    /// Bounds on connections, headers and idle time.
    pub limits: Limits,
}

/// Kind of listening socket (`http.net`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// A TCP socket.
    Tcp,
    /// A unix stream socket.
    Unix,
}

/// A switch with a name, because a bare bool says nothing where it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toggle {
    /// The feature is on.
    On,
    /// The feature is off.
    Off,
}

/// `http.tls`: server certificate and, optionally, client certificates.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the chain, leaf first. Re-read when it changes.
    pub certificate: PathBuf,
    /// PEM file with the private key. Re-read when it changes.
    pub key: PathBuf,
    /// PEM files with the authorities that sign client certificates; empty means none are asked for.
    pub client_cas: Vec<PathBuf>,
    /// What is demanded of the client when `client_cas` is not empty.
    pub client_auth: ClientAuth,
    /// Lowest protocol version spoken.
    pub minimum: TlsVersion,
    /// Go names of the TLS 1.2 cipher suites to offer; empty means the library's default. TLS 1.3 suites are always on.
    pub cipher_suites: Vec<String>,
}

/// `http.tls.clientauth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Ask for a certificate, accept none and any.
    Request,
    /// Demand a certificate, whoever signed it.
    RequireAny,
    /// Verify a certificate when one is given.
    VerifyIfGiven,
    /// Demand a certificate signed by one of `client_cas`.
    RequireAndVerify,
}

/// `http.tls.minimumtls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// `http.debug`: health and metrics on a listener of their own.
#[derive(Debug, Clone)]
pub struct Debug {
    /// `host:port` of the plaintext listener.
    pub addr: String,
    /// Path under which Prometheus metrics are served, when enabled.
    pub prometheus_path: Option<String>,
}

/// `http.limits`: bounds that distribution does not have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections held at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections held at once from one address; further ones are closed.
    pub connections_per_address: usize,
    /// Bytes of request line and headers.
    pub header_bytes: usize,
    /// Number of request headers.
    pub header_count: usize,
    /// Time for a request's headers, and for the TLS handshake, to arrive.
    pub header_timeout: Duration,
    /// Time a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// Time without a single byte moving, in either direction, before a request or response body is given up.
    pub stall_timeout: Duration,
    /// Addresses exempt from `connections_per_address` (proxies in front of us).
    pub trusted_proxies: Vec<ProxyNetwork>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 10_000,
            header_bytes: 32 * 1024,
            header_count: 100,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(2),
            stall_timeout: Duration::from_mins(1),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:5000".to_owned(),
            net: Net::Tcp,
            tls: None,
            http2: Toggle::On,
            h2c: Toggle::Off,
            drain_timeout: Duration::ZERO,
            debug: None,
            limits: Limits::default(),
        }
    }
}
