//! `registry garbage-collect --undo`: puts back what collections removed from a disk and kept.
//!
//! Exit codes: 0 everything is back, 1 something is not, 2 the command line makes no sense.

use std::process::ExitCode;

use super::garbage_collect::{Output, print_json, size};
use crate::config::Config;
use crate::gc::{Error, Kept, NotKept, Undo, UndoReport};
use crate::registry::Registry;
use crate::storage::{Store, driver};

/// What is done with what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is put back.
    PutBack,
    /// It is told what would be.
    Look,
}

/// Does it, and says what came of it.
pub(super) fn run(config: &Config, deed: Deed, output: Output) -> ExitCode {
    let report = match super::blocking(undo(config, deed)) {
        Ok(report) => report,
        Err(error) => return super::failed(&error),
    };
    let done = report.not_put_back.is_empty() && report.being_swept == 0;
    match output {
        Output::Text => tell(deed, &report),
        Output::Json => {
            let printed = print_json(&report);
            if printed != ExitCode::SUCCESS {
                return printed;
            }
        }
    }
    if done || deed == Deed::Look { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn undo(config: &Config, deed: Deed) -> Result<UndoReport, Error> {
    let access = if deed == Deed::Look { driver::Access::Read } else { driver::Access::ReadWrite };
    let driver = driver::open(&config.storage, access).await?;
    let store = Store::new(driver, &config.storage);
    let registry = Registry::new(config.registry.clone(), store.clone());
    let undo = Undo::new(store, registry, super::manifest_limit(config));
    match deed {
        Deed::Look => undo.look().await,
        Deed::PutBack => undo.run().await,
    }
}

fn tell(deed: Deed, report: &UndoReport) {
    let UndoReport { restored, .. } = report;
    if report.collections == 0 {
        eprintln!("registry: nothing that a collection removed is kept");
    } else {
        eprintln!(
            "registry: {} {} manifests, {} layer links and {} blobs, {}, that {} collections had removed",
            if deed == Deed::Look { "would put back" } else { "put back" },
            restored.manifests,
            restored.layer_links,
            restored.blobs,
            size(restored.bytes),
            report.collections
        );
    }
    for failed in &report.not_put_back {
        eprintln!("registry: {} cannot be put back: {}", failed.what, failed.reason);
    }
    if report.being_swept > 0 {
        eprintln!(
            "registry: left {} collections alone that go on removing things; undo again after their end, and if their \
             process died run garbage-collect first, which finishes them",
            report.being_swept
        );
    }
    if restored.manifests > 0 && deed == Deed::PutBack {
        eprintln!("registry: manifests are back without tags; they can be pulled by digest and tagged again");
    }
}

/// Says until when what was removed can be put back, and how to free it at once.
pub(super) fn tell_kept(kept: &Kept) {
    if let Some(until) = kept.until {
        eprintln!(
            "registry: what was removed is kept until {}, {} on the disk: garbage-collect --undo puts it back, \
             garbage-collect --keep-removed 0s frees it at once",
            time(until),
            size(kept.bytes)
        );
    }
    match kept.not_kept {
        Some(NotKept::ShortOfSpace) => {
            eprintln!("registry: room is short, so that what was removed is gone and cannot be put back");
        }
        Some(NotKept::OtherFileSystem) => {
            eprintln!(
                "registry: what lay on another file system than docker/registry/v2/gc, or found no room there, is gone and \
                 cannot be put back"
            );
        }
        None => {}
    }
}

/// Seconds since 1970 in a form for people.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    // Far beyond any calendar.
    time.map_or_else(|| "the end of time".to_owned(), |time| format!("{} UTC", time.naive_utc()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_for_people() {
        let day = Duration::from_hours(24).as_secs();
        assert_eq!(time(day * 365 + 3600 * 3 + 60 * 7 + 5), "1971-01-01 03:07:05 UTC");
        assert_eq!(time(u64::MAX), "the end of time");
    }
}
