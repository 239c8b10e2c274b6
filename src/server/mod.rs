//! Listeners, TLS, connection limits and drain: from a socket to requests and back.
//!
//! [`bind`] takes the sockets, so that what cannot be had fails before anything is served; [`Bound::run`] serves any tower
//! service until [`Shutdown`] says otherwise. Knows HTTP framing but no endpoint; rooms are composed in `commands`.

mod admission;
mod bound;
mod config;
mod connection;
mod error;
mod exchange;
mod file_stream;
mod guarded;
mod listener;
mod shutdown;
mod socket;
mod tls;
mod tls_clients;
mod tls_suites;
mod watch;
mod wire_body;
mod wire_buf;

pub use bound::{Address, Bound, bind};
pub use config::*;
pub use error::ServerError;
pub use shutdown::{Outcome, Shutdown, ShutdownTrigger};
pub use tls::check_tls;
