//! `registry scrub`: reads what is stored and judges it, while the registry serves.
//!
//! Findings go to stdout, everything else to stderr. Exit codes: 0 no errors, 1 errors were found and not mended, 2 it could
//! not be judged.

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::garbage_collect::{parse_duration, size};
use crate::config::Config;
use crate::gc::{Finding, Mending, Repairs, Scrub, ScrubReading, ScrubReport, Scrubber, Severity};
use crate::storage::{Store, driver};

/// What could not be judged is told apart from what was found to be wrong.
const NOT_JUDGED: u8 = 2;

/// What to look at, and what to do about it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Read all content and hold it against its digests
    #[arg(long)]
    read_data: bool,
    /// Mend what can be mended without guessing: links whose path says what they hold, and indexes that follow from manifests
    #[arg(long)]
    repair: bool,
    /// One line for each finding, without what it means and what to do about it
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Time after which what looked wrong is looked at again, so that running pushes and deletions are not taken for damage
    #[arg(long, value_name = "DURATION", default_value = "6s", value_parser = parse_duration)]
    settle: Duration,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// The configuration file; found as by serve without one
    config: Option<PathBuf>,
}

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// Scrubs.
pub(super) fn run(options: &Options) -> ExitCode {
    let Ok(loaded) = super::load(options.config.clone()) else { return ExitCode::from(NOT_JUDGED) };
    for warning in &loaded.warnings {
        eprintln!("registry: warning: {warning}");
    }
    match super::blocking(scrub(options, &loaded.config)) {
        Ok(report) => finish(options, &report),
        Err(error) => {
            eprintln!("registry: what is stored could not be judged: {error}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}

async fn scrub(options: &Options, config: &Config) -> Result<ScrubReport, crate::gc::Error> {
    let access = if options.repair { driver::Access::ReadWrite } else { driver::Access::Read };
    let store = Store::new(driver::open(&config.storage, access).await?, &config.storage);
    let printer = Printer::new(options);
    printer.begin();
    let result = Scrubber::new(store, order(options, config)).scrub(&|finding| printer.print(finding)).await;
    if let Ok(report) = &result {
        printer.end(report);
    }
    result
}

fn order(options: &Options, config: &Config) -> Scrub {
    Scrub {
        reading: if options.read_data { ScrubReading::Everything } else { ScrubReading::Sizes },
        repairs: if options.repair { Repairs::Apply } else { Repairs::None },
        settle: options.settle,
        // What lies there was within the limit of its day, which may have been a larger one.
        manifest_limit: (config.registry.limits.manifest_bytes as u64).saturating_mul(16),
        validation: config.registry.validation.clone(),
    }
}

/// Prints findings as they come.
struct Printer {
    output: Output,
    details: bool,
    first: Mutex<bool>,
    out: Mutex<BufWriter<Stdout>>,
}

impl Printer {
    fn new(options: &Options) -> Self {
        Self {
            output: options.output,
            details: !options.quiet,
            first: Mutex::new(true),
            out: Mutex::new(BufWriter::new(std::io::stdout())),
        }
    }

    fn write(&self, text: std::fmt::Arguments<'_>) {
        // A closed stdout is no reason to stop half-way through mending.
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_fmt(text);
    }

    fn begin(&self) {
        if self.output == Output::Json {
            self.write(format_args!("{{\"findings\":["));
        } else if self.details && std::io::stderr().is_terminal() {
            eprintln!("registry: reading what is stored");
        }
    }

    fn print(&self, finding: &Finding) {
        if self.output == Output::Json {
            let first = std::mem::take(&mut *self.first.lock().unwrap_or_else(PoisonError::into_inner));
            let text = serde_json::to_string(finding).unwrap_or_default();
            self.write(format_args!("{}\n{text}", if first { "" } else { "," }));
            return;
        }
        self.write(format_args!("{finding}\n"));
        if self.details {
            self.write(format_args!("  at      {}\n  means   {}\n", finding.path, finding.meaning));
            if finding.mending != Mending::Done {
                self.write(format_args!("  way out {}\n", way_out(finding)));
            }
        }
    }

    fn end(&self, report: &ScrubReport) {
        if self.output == Output::Json {
            let text = serde_json::to_string(report).unwrap_or_default();
            self.write(format_args!("\n],\"report\":{text}}}\n"));
        }
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

fn way_out(finding: &Finding) -> &'static str {
    match (finding.mending, finding.severity) {
        (Mending::Possible, Severity::Error) => "registry scrub --repair",
        _ => finding.remedy,
    }
}

/// The last words, and the exit code.
fn finish(options: &Options, report: &ScrubReport) -> ExitCode {
    if options.output == Output::Text {
        eprintln!(
            "registry: looked at {} contents of {} ({} read and hashed), and {} manifests, {} tags and {} layer links in {} repositories",
            report.contents,
            size(report.bytes),
            report.hashed,
            report.manifests,
            report.tags,
            report.layer_links,
            report.repositories
        );
        eprintln!("registry: {} errors, {} warnings, {} mended", report.errors, report.warnings, report.mended);
    }
    if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
