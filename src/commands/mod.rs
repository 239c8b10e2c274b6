//! One file for each subcommand of the `registry` binary, and the command line that names them.
//!
//! Human messages go to stderr. Exit codes: 0 done, 1 failed, 2 the command line makes no sense or, of `scrub`, it could
//! not judge.

mod garbage_collect;
mod reload_rules;
mod repository;
mod scrub;
mod serve;
mod storage;
mod token;
mod undo;
mod user;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, Loaded};

/// An OCI and Docker v2 registry: stores images and artifacts and hands them out.
#[derive(Debug, Parser)]
#[command(name = "registry", version, disable_help_subcommand = false)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the registry until SIGTERM or SIGINT
    Serve {
        /// The configuration file; without one `REGISTRY_CONFIGURATION_PATH`, the usual places, then built-in defaults
        config: Option<PathBuf>,
    },
    /// Check a configuration: read it, connect to what it names, change nothing
    Verify(verify::Options),
    /// Add, remove and list the users of an htpasswd file
    #[command(subcommand)]
    User(user::Command),
    /// Make a token with a key, and look at one
    #[command(subcommand)]
    Token(token::Command),
    /// Remove content that nothing refers to
    #[command(name = "garbage-collect")]
    GarbageCollect(garbage_collect::Options),
    /// Read what is stored and judge it, changing nothing unless asked to repair
    Scrub(scrub::Options),
    /// Remove whole repositories
    #[command(subcommand)]
    Repository(repository::Command),
}

/// Runs the command that `arguments`, the program's name first, ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = name_serve(arguments.into_iter().collect());
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(refusal) => {
            // A closed stderr is no reason to fail differently.
            let _ = refusal.print();
            return if refusal.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match command_line.command {
        Some(Command::Serve { config }) => serve::run(config),
        Some(Command::Verify(options)) => verify::run(options),
        Some(Command::User(command)) => user::run(command),
        Some(Command::Token(command)) => token::run(command),
        Some(Command::GarbageCollect(options)) => garbage_collect::run(&options),
        Some(Command::Scrub(options)) => scrub::run(&options),
        Some(Command::Repository(command)) => repository::run(command),
        None => {
            eprintln!("{}", CommandLine::command().render_help());
            ExitCode::SUCCESS
        }
    }
}

/// `registry config.yml` means `registry serve config.yml`, as the official images of distribution have it.
fn name_serve(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_config = |argument: &OsString| {
        let path = Path::new(argument);
        path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") || path.is_file()
    };
    if arguments.get(1).is_some_and(is_config) {
        arguments.insert(1, OsString::from("serve"));
    }
    arguments
}

/// Loads the configuration that `argument` names, or says on stderr everything that is wrong with it.
fn load(argument: Option<PathBuf>) -> Result<Loaded, ExitCode> {
    let environment = environment();
    let source = config::find_path(argument, environment.clone());
    Config::load(source, environment).map_err(|error| failed(&error))
}

/// The variables. One that is not Unicode cannot be one of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Largest manifest read by what looks at everything that is stored. It was within the limit of its day, which may have been
/// a larger one.
fn manifest_limit(config: &Config) -> u64 {
    (config.registry.limits.manifest_bytes as u64).saturating_mul(16)
}

/// Runs what needs to wait for a network, in a command that otherwise does not.
fn blocking<T, E: std::error::Error + Send + Sync + 'static>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}

/// Says what went wrong and how the process ends for it.
fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("registry: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_bare_configuration_path_means_serve() {
        let arguments = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(name_serve(arguments(&["registry", "/etc/x.yml"])), arguments(&["registry", "serve", "/etc/x.yml"]));
        assert_eq!(name_serve(arguments(&["registry", "serve"])), arguments(&["registry", "serve"]));
        assert_eq!(name_serve(arguments(&["registry"])), arguments(&["registry"]));
    }
}
