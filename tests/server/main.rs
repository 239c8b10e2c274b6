//! The server from outside: raw sockets against limits, files, TLS, HTTP/2 and the order to stop.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test's helpers may fail loudly")]

mod activation;
mod certificates;
mod debug;
mod drain;
mod files;
mod harness;
mod http2;
mod limits;
mod tls;
