//! Berth, an OCI and Docker v2 registry: the map of the house.
//!
//! A request comes in by [`server`], is parsed and authorized in [`routes`], obeys the rules of [`registry`], and ends at
//! a driver of [`storage`]; values come back up. What holds everywhere:
//!
//! * [`oci`] knows words, not I/O. Every digest, name and tag in the program was made by its parsers.
//! * [`storage`] knows where bytes lie. Only its layout makes paths, so nothing outside the root is ever opened.
//! * [`registry`] has never heard of HTTP; [`routes`] alone knows headers and status codes.
//! * [`auth`] alone grants access; [`gc`] alone removes what nobody asked to remove.
//! * Each room declares its own `Config`; [`config`] composes them and nobody below sees another room's.
//!
//! `tests/architecture.rs` reads the `use crate::` lines and enforces who may import whom.

pub mod auth;
pub mod commands;
pub mod config;
pub mod gc;
pub mod oci;
pub mod registry;
pub mod routes;
pub mod server;
pub mod storage;
pub mod telemetry;

#[cfg(test)]
#[path = "../tests/peers/mod.rs"]
pub(crate) mod peers;
