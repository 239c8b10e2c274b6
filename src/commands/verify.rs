//! `registry verify`: checks a configuration and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::auth::{self, Allowed};
use crate::oci::RepositoryName;
use crate::storage::{DriverConfig, driver};

/// What to check.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration file; found as by serve without one
    config: Option<PathBuf>,
    /// Tell what the access rules let this user do in --repository; without it, somebody who shows no credentials
    #[arg(long, requires = "repository")]
    user: Option<String>,
    /// Tell what the access rules allow in this repository
    #[arg(long)]
    repository: Option<RepositoryName>,
}

/// Loads the configuration, opens what it names for reading, and says what it found.
pub(super) fn run(options: Options) -> ExitCode {
    let Options { config, user, repository } = options;
    let loaded = match super::load(config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        eprintln!("registry: warning: {warning}");
    }
    let config = &loaded.config;
    if let DriverConfig::Filesystem(filesystem) = &config.storage.driver
        && !filesystem.root_directory.exists()
    {
        eprintln!("registry: note: {} does not exist yet; serve makes it", filesystem.root_directory.display());
    } else if let Err(error) = super::blocking(driver::open(&config.storage, driver::Access::Read)) {
        return super::failed(&error);
    }
    if let Some(tls) = &config.server.tls
        && let Err(error) = crate::server::check_tls(tls)
    {
        return super::failed(&error);
    }
    if let Err(error) = auth::check(&config.auth) {
        return super::failed(&error);
    }
    if let Some(repository) = repository {
        explain(&config.auth, user.as_deref(), &repository);
    }
    eprintln!("registry: {} is a valid configuration", loaded.origin);
    ExitCode::SUCCESS
}

/// Says for each action whether it is allowed, and by which rule.
fn explain(config: &auth::Config, user: Option<&str>, repository: &RepositoryName) {
    let ruled = matches!(config, auth::Config::Closed(ways) if ways.rules.is_some());
    for (action, decision) in auth::explain(config, user, repository) {
        let verb = match decision.allowed {
            Allowed::Yes => "may",
            Allowed::No => "may not",
        };
        let rule = match decision.rule {
            Some(number) => format!("rule {number} of auth.access"),
            None if ruled => "no rule fits".to_owned(),
            None => "there is no auth.access".to_owned(),
        };
        println!("{} {verb} {action} {repository} ({rule})", user.unwrap_or("anonymous"));
    }
}
