//! Logs, metrics and health: what an operator sees of the process.

mod config;

pub use config::*;
