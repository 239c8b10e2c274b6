//! `registry garbage-collect`: understood on the command line, and not yet built.
//!
//! A collector that is safe while others push comes with its own release; until then nothing is removed and the exit code
//! says so, lest a nightly job believe that it freed something.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// distribution's flags, so that scripts are told the truth rather than that they cannot spell.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Say what would be removed and remove nothing
    #[arg(short = 'd', long)]
    dry_run: bool,
    /// Remove manifests that no tag points to
    #[arg(short = 'm', long)]
    delete_untagged: bool,
    /// Say less
    #[arg(short = 'q', long)]
    quiet: bool,
    /// The configuration file; found as by serve without one
    config: Option<PathBuf>,
}

/// Refuses.
pub(super) fn run(_options: &Options) -> ExitCode {
    super::failed(
        &"garbage-collect is not built into this release and nothing was removed. Stop this registry and run distribution's \
          own garbage-collect on the same configuration and data. It stops without removing anything when a manifest is neither \
          an image nor an index; and with --delete-untagged it removes signatures and other referrers, which it does not know.",
    )
}
