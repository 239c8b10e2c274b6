//! Frees what nothing references any more.

mod config;

pub use config::*;
