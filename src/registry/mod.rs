//! The rules of push and pull; has never heard of HTTP.

mod config;

pub use config::*;
