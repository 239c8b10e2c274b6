//! What can go wrong before the server serves. Afterwards single connections fail, which is logged and is no error of the
//! server.

use std::path::PathBuf;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configured address cannot be listened on.
    #[error("http.addr: cannot listen on {addr}: {source}; free the address or configure another")]
    Listen {
        /// The address as configured.
        addr: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// `http.addr` is not `host:port`.
    #[error("http.addr: {addr}: {reason}; write it as host:port, or :port for all addresses")]
    Address {
        /// The address as configured.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that is no socket lies where the unix socket should be made.
    #[error("http.addr: {path} exists and is not a socket; remove it or configure another path")]
    NotASocket {
        /// Path of the file in the way.
        path: PathBuf,
    },
    /// The service manager passed sockets that cannot be used.
    #[error("socket activation: {reason}; pass exactly one stream socket")]
    Activation {
        /// What is wrong with them.
        reason: String,
    },
    /// The debug listener's address cannot be listened on.
    #[error("http.debug.addr: cannot listen on {addr}: {source}; free the address or configure another")]
    DebugListen {
        /// The address as configured.
        addr: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file of `http.tls` cannot be used.
    #[error("{key}: {path}: {reason}")]
    TlsFile {
        /// Configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A name in `http.tls.ciphersuites` that has no meaning here.
    #[error("http.tls.ciphersuites: {name}: {reason}")]
    CipherSuite {
        /// The name as configured.
        name: String,
        /// Why it cannot be offered, and the way out.
        reason: String,
    },
    /// The TLS settings contradict each other.
    #[error("http.tls: {reason}")]
    Tls {
        /// What does not fit.
        reason: String,
    },
}
