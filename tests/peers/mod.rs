//! Servers that Berth is tested against, in the process of the test: object stores that check what they are asked, and a
//! proxy that spoils the way to them. Used by unit tests, by the black-box tests, and as a program by `conformance/`.

#[allow(dead_code, reason = "who includes this file uses the part it needs")]
pub(crate) mod s3;

#[allow(dead_code, reason = "who includes this file uses the part it needs")]
pub(crate) mod faults;
