//! Listeners, TLS, connection limits and drain; hands each room its section of the config.

mod config;

pub use config::*;
