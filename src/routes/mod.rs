//! HTTP in, HTTP out: the only room that knows headers and status codes.

mod config;

pub use config::*;
