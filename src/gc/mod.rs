//! Frees what nothing needs any more. Uses storage, registry and oci, never routes.
//!
//! [`Collector`] removes manifests, links and content beside running writers; [`UploadPurger`] removes uploads that were
//! given up. [`Scheduler`] and [`Rescuer`] do in `serve` what nobody has to ask for.

mod collect;
mod config;
mod error;
mod mark;
mod owner;
mod plan;
mod pulse;
mod purge;
mod recover;
mod references;
mod report;
mod repository;
mod rescue;
mod schedule;
mod sweep;

#[cfg(test)]
mod tests;

pub use collect::{Collector, Watcher};
pub use config::*;
pub use error::Error;
pub use purge::{PurgeReport, UploadPurger};
pub use report::{Event, Report, Tally};
pub use rescue::Rescuer;
pub use schedule::{Schedule, Scheduled, Scheduler};
