//! Servers that Berth is tested against, in the process of the test: object stores that check what they are asked, and a
//! proxy that spoils the way to them. Used by unit tests, by the black-box tests, and as a program by `conformance/`.

// Each of those uses another part of this, and what is public here is so for all of them.
#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

pub(crate) mod faults;
pub(crate) mod oss;
pub(crate) mod s3;
