//! HTTP in, HTTP out: the only room that knows headers and status codes.

mod config;
mod file_body;

pub use config::*;
pub use file_body::FileBody;
