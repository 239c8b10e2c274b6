//! The `storage` section: one driver and what stands beside it.
//!
//! A new driver is one more arm in [`read_driver`] and a function of its own that reads its parameters.

use crate::gc::{self, Collection, PurgeMode, Schedule, Scheduled, Untagged, UploadPurging};
use crate::registry::{Access, Deletion};
use crate::routes::ProxyNetwork;
use crate::storage::{self, DriverConfig, FilesystemConfig, Redirect};

use super::document::is_on;
use super::error::Place;
use super::http;
use super::scalar::nearest;
use super::section::{Field, Section};
use super::unbuilt::refuse;

/// Names of drivers that somebody may have meant.
const KNOWN: [&str; 8] = ["filesystem", "inmemory", "s3", "s3aws", "oss", "gcs", "azure", "swift"];

/// Smaller numbers are raised to this one, as in distribution.
const LEAST_THREADS: usize = 25;

/// More threads than this were surely not meant.
const MOST_THREADS: i64 = 10_000;

/// What the section says, by the room it is for.
#[derive(Debug, Default)]
pub(super) struct Storage {
    /// For `storage`.
    pub(super) content: storage::Config,
    /// For `gc`.
    pub(super) gc: gc::Config,
    /// For `registry`.
    pub(super) deletion: Deletion,
    /// For `registry`.
    pub(super) access: Access,
    /// For `routes`.
    pub(super) served_directly: Vec<ProxyNetwork>,
}

/// Reads `storage`, which must be there.
pub(super) fn read(root: &Section<'_>) -> Storage {
    let Some(field) = root.field("storage") else {
        let hint = "write storage: and below it filesystem: with rootdirectory: /var/lib/registry";
        root.problem("storage", "is missing, so there is no place for the content", hint);
        return Storage::default();
    };
    let Some(section) = field.section() else { return Storage::default() };
    let defaults = storage::Config::default();
    let (gc, access) = maintenance(&section);
    let delete = section.section("delete");
    let deletion = if is_on(delete.as_ref(), "enabled") { Deletion::Enabled } else { Deletion::Disabled };
    let redirect = section.section("redirect");
    let redirects = if is_on(redirect.as_ref(), "disable") { Redirect::Never } else { Redirect::WherePossible };
    let served_directly =
        redirect.as_ref().and_then(|redirect| redirect.get("exclude", Field::list)).map(http::networks);
    let tag = section.section("tag");
    let tag_reads = tag.as_ref().and_then(|tag| tag.get("concurrencylimit", |field| field.number(0..=10_000)));
    let manifest_cache_bytes = section.section("cache").and_then(cache).unwrap_or(defaults.manifest_cache_bytes);
    [delete, redirect, tag].into_iter().flatten().for_each(Section::finish);
    let driver = driver(&field, &section).unwrap_or(defaults.driver);
    let tag_reads = tag_reads.unwrap_or(defaults.tag_reads);
    section.finish();
    let content =
        storage::Config { driver, manifest_cache_bytes, redirect: redirects, tag_reads, middleware: Vec::new() };
    Storage { content, gc, deletion, access, served_directly: served_directly.unwrap_or_default() }
}

/// Exactly one of the drivers known. Keys that are none are reported as such when one is there, and as drivers otherwise.
fn driver(storage: &Field<'_>, section: &Section<'_>) -> Option<DriverConfig> {
    let drivers: Vec<Field<'_>> = KNOWN.iter().filter_map(|name| section.present(name)).collect();
    match drivers.as_slice() {
        [] => {
            let unknown = section.rest();
            if unknown.is_empty() {
                storage.problem("names no driver", "write filesystem: below it, with rootdirectory: /var/lib/registry");
            }
            unknown.iter().for_each(unknown_driver);
            None
        }
        [driver] => read_driver(driver),
        [first, second, ..] => {
            let (one, other) = (first.key, second.key);
            let message = format!("two drivers are configured, {one} ({}) and {other} ({})", first.place, second.place);
            let from_variable = drivers.iter().find(|driver| matches!(driver.place, Place::Environment(_)));
            let hint = match from_variable {
                Some(driver) => format!("set REGISTRY_STORAGE={} to replace the section of the file", driver.key),
                None => "keep one of them".to_owned(),
            };
            storage.problem(message, hint);
            None
        }
    }
}

fn unknown_driver(driver: &Field<'_>) {
    let hint = match nearest(driver.key, KNOWN) {
        Some(meant) => format!("did you mean storage.{meant}?"),
        None => "known are filesystem and inmemory".to_owned(),
    };
    driver.problem("unknown storage driver", hint);
}

fn read_driver(driver: &Field<'_>) -> Option<DriverConfig> {
    let way_out = "use filesystem, or leave this registry with distribution until a release has it";
    match driver.key {
        "filesystem" => return driver.section().map(|section| DriverConfig::Filesystem(filesystem(section))),
        "inmemory" => {
            driver.section()?.finish();
            return Some(DriverConfig::Memory);
        }
        "s3" | "s3aws" => return driver.section().map(super::storage_s3::read),
        "oss" => return driver.section().map(super::storage_oss::read),
        "gcs" => refuse(driver, "storage in a Google Cloud bucket", way_out),
        "azure" => refuse(driver, "storage in an Azure container", way_out),
        "swift" => refuse(driver, "storage in OpenStack Swift", way_out),
        _ => unknown_driver(driver),
    }
    None
}

fn filesystem(section: Section<'_>) -> FilesystemConfig {
    let defaults = FilesystemConfig::default();
    let threads = section
        .get("maxthreads", |field| field.number(i64::MIN..=MOST_THREADS))
        .map(|threads| usize::try_from(threads).unwrap_or(0));
    let filesystem = FilesystemConfig {
        root_directory: section.get("rootdirectory", Field::path).unwrap_or(defaults.root_directory),
        max_threads: threads.map_or(defaults.max_threads, |threads| threads.max(LEAST_THREADS)),
    };
    section.finish();
    filesystem
}

/// The size of the manifest cache. distribution's own keys are checked and otherwise have nothing to choose here.
fn cache(section: Section<'_>) -> Option<u64> {
    // layerinfo is the older name and counts only where the newer is absent.
    let kind = section.field("blobdescriptor");
    let older = section.field("layerinfo");
    if let Some(kind) = kind.or(older)
        && kind.choice(&[("inmemory", false), ("redis", true)]) == Some(true)
    {
        refuse(&kind, "a cache shared through Redis", "write inmemory");
    }
    section.get("blobdescriptorsize", Field::integer);
    let bytes = section.get("manifestbytes", |field| field.bytes(0..=1 << 40));
    section.finish();
    bytes
}

fn maintenance(storage: &Section<'_>) -> (gc::Config, Access) {
    let Some(section) = storage.section("maintenance") else {
        let upload_purging = Some(UploadPurging::default());
        return (gc::Config { upload_purging, ..gc::Config::default() }, Access::ReadWrite);
    };
    let read_only = section.section("readonly");
    let access = if is_on(read_only.as_ref(), "enabled") { Access::ReadOnly } else { Access::ReadWrite };
    let gc = gc::Config {
        upload_purging: section.section("uploadpurging").map_or(Some(UploadPurging::default()), upload_purging),
        collection: section.section("garbagecollect").and_then(collection),
    };
    if let Some(read_only) = read_only {
        read_only.finish();
    }
    section.finish();
    (gc, access)
}

/// On unless switched off; what is not written has its default, where distribution would stop.
fn upload_purging(section: Section<'_>) -> Option<UploadPurging> {
    let defaults = UploadPurging::default();
    let enabled = section.get("enabled", Field::boolean).unwrap_or(true);
    let purging = UploadPurging {
        age: section.get("age", Field::period).unwrap_or(defaults.age),
        interval: section.get("interval", Field::period).unwrap_or(defaults.interval),
        mode: if is_on(Some(&section), "dryrun") { PurgeMode::Report } else { PurgeMode::Remove },
    };
    section.finish();
    enabled.then_some(purging)
}

/// Only where a schedule is written.
fn collection(section: Section<'_>) -> Option<Scheduled> {
    let schedule = section.get("schedule", |field| {
        let hint =
            "write minute, hour, day, month and day of the week in UTC, such as \"0 3 * * *\" for 3:00 every night";
        match field.text()?.parse::<Schedule>() {
            Ok(schedule) => Some(schedule),
            Err(reason) => {
                field.problem(format_args!("is no schedule: {reason}"), hint);
                None
            }
        }
    });
    let defaults = Collection::default();
    let grace = section.get("grace", Field::duration).unwrap_or(defaults.grace);
    let untagged = if is_on(Some(&section), "deleteuntagged") { Untagged::Remove } else { Untagged::Keep };
    let keep_removed = section.get("keepremoved", Field::duration).unwrap_or(defaults.keep_removed);
    if section.field("schedule").is_none() {
        section.problem("schedule", "is missing", "write schedule: \"0 3 * * *\" for 3:00 UTC every night");
    }
    section.finish();
    Some(Scheduled { schedule: schedule?, grace, untagged, keep_removed })
}
