//! The server from outside: raw sockets against limits, files, TLS, HTTP/2 and the order to stop.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test's helpers may fail loudly")]

mod drain;
mod files;
mod harness;
mod http2;
mod limits;
mod tls;
