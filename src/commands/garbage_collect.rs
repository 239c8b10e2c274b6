//! `registry garbage-collect`: removes what nothing refers to, while the registry serves.
//!
//! The lines on stdout are distribution's, so that what reads them goes on to work; everything else goes to stderr.
//! Exit codes: 0 done, 1 stopped with everything that is needed still there, 2 the command line makes no sense.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::undo::Deed;
use crate::config::{self, Config};
use crate::gc::{Collection, Collector, Event, LargeRemoval, Mode, Report, Takeover, Untagged, Writers};
use crate::storage::collection::Key;
use crate::storage::{Store, driver};

/// distribution's flags, and ours.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a switch of the command line, told apart by its name.
pub(super) struct Options {
    /// Say what would be removed and write nothing at all
    #[arg(short = 'd', long)]
    dry_run: bool,
    /// Remove manifests that no tag reaches, unless they are about something that stays
    #[arg(short = 'm', long)]
    delete_untagged: bool,
    /// Say less
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Keep what was written more recently than this: 24h, 30m, 0s
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    grace: Duration,
    /// Time for running pushes between announcing what is condemned and removing it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    settle: Duration,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Nothing writes to the store: do not wait for anybody, and do not look for other programs that write
    #[arg(long)]
    offline: bool,
    /// Remove even an implausibly large share of the content
    #[arg(long)]
    accept_large_removal: bool,
    /// Keep what is removed from a disk for so long, so that it can be put back; 0s frees it, and what was kept before, at
    /// once [default: keepremoved of the configuration, or 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_removed: Option<Duration>,
    /// Put back what collections removed and kept; with --dry-run only tell what that would be
    #[arg(long, conflicts_with_all = NOT_WITH_UNDO)]
    undo: bool,
    /// No other collector runs: finish what any of them left unfinished
    #[arg(long)]
    recover: bool,
    /// How long a request to a bucket that was not answered may still take effect
    #[arg(long, value_name = "DURATION", default_value = "31m", value_parser = parse_duration)]
    request_lifetime: Duration,
    /// The configuration file; found as by serve without one
    config: Option<PathBuf>,
}

/// Switches that say how to collect.
const NOT_WITH_UNDO: &[&str] = &[
    "delete_untagged",
    "grace",
    "settle",
    "offline",
    "accept_large_removal",
    "keep_removed",
    "recover",
    "request_lifetime",
];

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// distribution's lines.
    Text,
    /// One JSON object at the end.
    Json,
}

/// A duration as the configuration has it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "write it as 24h, 1h30m or 0s".to_owned())
}

/// Collects, or puts back what was collected.
pub(super) fn run(options: &Options) -> ExitCode {
    let loaded = match super::load(options.config.clone()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        eprintln!("registry: warning: {warning}");
    }
    if options.undo {
        let deed = if options.dry_run { Deed::Look } else { Deed::PutBack };
        return super::undo::run(&loaded.config, deed, options.output);
    }
    match super::blocking(collect(options, &loaded.config)) {
        Ok(report) => finish(options, &report),
        Err(error) => super::failed(&error),
    }
}

async fn collect(options: &Options, config: &Config) -> Result<Report, crate::gc::Error> {
    let access = if options.dry_run { driver::Access::Read } else { driver::Access::ReadWrite };
    let driver = driver::open(&config.storage, access).await?;
    let store = Store::new(driver, &config.storage);
    let printer = Printer::new(options);
    let collector = Collector::new(store, collection(options, config));
    let result = collector.collect(&|event| printer.print(event)).await;
    printer.flush();
    result
}

fn collection(options: &Options, config: &Config) -> Collection {
    Collection {
        grace: options.grace,
        untagged: if options.delete_untagged { Untagged::Remove } else { Untagged::Keep },
        mode: if options.dry_run { Mode::Report } else { Mode::Remove },
        settle: if options.offline { Duration::ZERO } else { options.settle },
        request_lifetime: options.request_lifetime,
        manifest_limit: super::manifest_limit(config),
        writers: if options.offline { Writers::Offline } else { Writers::Online },
        large: if options.accept_large_removal { LargeRemoval::Accepted } else { LargeRemoval::Refused },
        takeover: if options.recover { Takeover::Everything } else { Takeover::OnlyTheDead },
        keep_removed: options.keep_removed.unwrap_or_else(|| keep_removed(config)),
    }
}

/// How long what is removed is kept, by the configuration.
pub(super) fn keep_removed(config: &Config) -> Duration {
    config.gc.collection.as_ref().map_or(Collection::KEEP_REMOVED, |scheduled| scheduled.keep_removed)
}

/// Prints events as distribution does.
struct Printer {
    lines: bool,
    details: bool,
    progress: bool,
    out: Mutex<BufWriter<std::io::Stdout>>,
}

impl Printer {
    fn new(options: &Options) -> Self {
        let lines = options.output == Output::Text;
        let progress = !options.quiet && std::io::stderr().is_terminal();
        Self { lines, details: lines && !options.quiet, progress, out: Mutex::new(BufWriter::new(std::io::stdout())) }
    }

    fn line(&self, line: std::fmt::Arguments<'_>) {
        // A closed stdout is no reason to stop half-way.
        let _ = writeln!(self.out.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
    }

    fn flush(&self) {
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    fn print(&self, event: Event<'_>) {
        match event {
            Event::Repository(name) if self.details => self.line(format_args!("{name}")),
            Event::Manifest(name, digest) if self.details => {
                self.line(format_args!("{name}: marking manifest {digest} "));
            }
            Event::Blob(name, digest) if self.details => self.line(format_args!("{name}: marking blob {digest}")),
            Event::Marked { needed, eligible } if self.lines => self.line(format_args!(
                "\n{needed} blobs marked, {} blobs and {} manifests eligible for deletion",
                eligible.blobs, eligible.manifests
            )),
            Event::Eligible(Key::Blob(digest)) if self.details => {
                self.line(format_args!("blob eligible for deletion: {digest}"));
            }
            Event::Eligible(Key::Revision(_, digest)) if self.details => {
                self.line(format_args!("manifest eligible for deletion: {digest}"));
            }
            Event::Eligible(Key::Link(name, digest)) if self.details => {
                self.line(format_args!("{name}: layer link eligible for deletion: {digest}"));
            }
            Event::Announced { condemned } if self.progress => {
                self.flush();
                eprintln!("registry: {condemned} things are condemned; waiting for pushes that need them");
            }
            Event::WaitingForRequests(time) => eprintln!(
                "registry: the bucket left requests to remove something unanswered; waiting {} minutes, until they cannot \
                 arrive any more",
                time.as_secs().div_ceil(60)
            ),
            Event::Sweeping { doomed } if self.progress => eprintln!("registry: removing {doomed} of them"),
            _ => {}
        }
    }
}

/// The last words, and the exit code.
fn finish(options: &Options, report: &Report) -> ExitCode {
    if options.output == Output::Json {
        return print_json(report);
    }
    let (verb, tally) = if options.dry_run { ("would remove", &report.eligible) } else { ("removed", &report.removed) };
    eprintln!(
        "registry: {verb} {} manifests, {} layer links and {} blobs in {} repositories, {} of {}",
        tally.manifests,
        tally.layer_links,
        tally.blobs,
        report.repositories,
        size(tally.bytes),
        size(report.stored_bytes)
    );
    super::undo::tell_kept(&report.kept);
    if report.emptied_bytes > 0 {
        eprintln!("registry: freed {} that earlier collections had removed and kept", size(report.emptied_bytes));
    }
    if report.spared > 0 {
        eprintln!("registry: spared {} things that were pushed again or found to be needed", report.spared);
    }
    if report.uploads > 0 {
        eprintln!("registry: gave up {} abandoned uploads", report.uploads);
    }
    if report.leftovers > 0 {
        eprintln!("registry: removed {} files that were never written to their end", report.leftovers);
    }
    if report.recovered > 0 {
        eprintln!("registry: finished {} collections that had been interrupted", report.recovered);
    }
    if report.more {
        eprintln!("registry: there is more than one run takes in; run it again");
    }
    ExitCode::SUCCESS
}

/// One JSON object on stdout.
pub(super) fn print_json(report: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(report) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => super::failed(&error),
    }
}

/// Bytes in a form for people.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = "bytes";
    let mut tenths = u128::from(bytes) * 10;
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_are_those_of_the_configuration() {
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(parse_duration("soon").is_err());
    }
}
