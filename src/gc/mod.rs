//! Frees what nothing needs any more. Uses storage, registry and oci, never routes.
//!
//! [`Collector`] removes manifests, links and content beside running writers; [`UploadPurger`] removes uploads that were
//! given up. [`Scheduler`] and [`Rescuer`] do in `serve` what nobody has to ask for. [`Scrubber`] judges what is stored.

mod bin;
mod collect;
mod config;
mod error;
mod mark;
mod needed;
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
mod scrub;
mod sweep;
mod undo;

#[cfg(test)]
mod tests;

pub use collect::{Collector, Watcher};
pub use config::*;
pub use error::Error;
pub use purge::{PurgeReport, UploadPurger};
pub use report::{Event, Kept, NotKept, Report, Tally};
pub use rescue::Rescuer;
pub use schedule::{Schedule, Scheduled, Scheduler};
pub use scrub::{Finding, Mending, Problem, Repairs, Scrub, ScrubReading, ScrubReport, Scrubber, Severity};
pub use undo::{NotPutBack, Undo, UndoReport};
