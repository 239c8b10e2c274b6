//! `registry repository remove`: removes a whole repository, while the registry serves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::garbage_collect::parse_duration;
use crate::config::Config;
use crate::gc::{Collection, Collector, Mode, Report, Untagged, Writers};
use crate::oci::RepositoryName;
use crate::storage::{Store, driver};

/// What to do with a repository.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Remove a repository with all its tags and manifests; what only it needs goes with the next garbage-collect
    Remove(Options),
}

/// Which one, and how.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name, without the host
    name: RepositoryName,
    /// Say what would be removed and write nothing at all
    #[arg(short = 'd', long)]
    dry_run: bool,
    /// Time for running pushes between announcing what is condemned and removing it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    settle: Duration,
    /// Nothing writes to the store: do not wait for anybody, and do not look for other programs that write
    #[arg(long)]
    offline: bool,
    /// The configuration file; found as by serve without one
    config: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(command: Command) -> ExitCode {
    let Command::Remove(options) = command;
    let loaded = match super::load(options.config.clone()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        eprintln!("registry: warning: {warning}");
    }
    match super::blocking(remove(&options, &loaded.config)) {
        Ok(report) => {
            tell(&options, &report);
            ExitCode::SUCCESS
        }
        Err(error) => super::failed(&error),
    }
}

async fn remove(options: &Options, config: &Config) -> Result<Report, crate::gc::Error> {
    let access = if options.dry_run { driver::Access::Read } else { driver::Access::ReadWrite };
    let driver = driver::open(&config.storage, access).await?;
    let collection = Collection {
        grace: Duration::ZERO,
        untagged: Untagged::Remove,
        mode: if options.dry_run { Mode::Report } else { Mode::Remove },
        settle: if options.offline { Duration::ZERO } else { options.settle },
        manifest_limit: super::manifest_limit(config),
        writers: if options.offline { Writers::Offline } else { Writers::Online },
        keep_removed: super::garbage_collect::keep_removed(config),
        ..Collection::default()
    };
    Collector::new(Store::new(driver, &config.storage), collection).remove_repository(&options.name, &|_| {}).await
}

fn tell(options: &Options, report: &Report) {
    let (verb, tally) = if options.dry_run { ("would remove", report.eligible) } else { ("removed", report.removed) };
    eprintln!(
        "registry: {verb} {} manifests and {} layer links of {}",
        tally.manifests, tally.layer_links, options.name
    );
    if report.spared > 0 {
        eprintln!("registry: {} of them stay, because they were pushed meanwhile", report.spared);
    }
    super::undo::tell_kept(&report.kept);
    if !options.dry_run {
        eprintln!("registry: run garbage-collect to free what nothing else needs");
    }
}
