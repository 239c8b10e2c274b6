//! Listeners, TLS, connection limits and drain: from a socket to requests and back.
//!
//! [`bind`] takes the sockets, so that what cannot be had fails before anything is served; [`Bound::run`] serves any tower
//! service until [`Shutdown`] says otherwise. Knows HTTP framing but no endpoint; rooms are composed in `commands`.

mod bound;
mod config;
mod error;
mod shutdown;

pub use bound::{Address, Bound, bind};
pub use config::*;
pub use error::ServerError;
pub use shutdown::{Outcome, Shutdown, ShutdownTrigger};
