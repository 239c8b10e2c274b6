//! `registry verify`: checks a configuration and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::storage::{DriverConfig, driver};

/// Loads the configuration, opens what it names for reading, and says what it found.
pub(super) fn run(config: Option<PathBuf>) -> ExitCode {
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
    if let Err(error) = crate::auth::check(&config.auth) {
        return super::failed(&error);
    }
    eprintln!("registry: {} is a valid configuration", loaded.origin);
    ExitCode::SUCCESS
}
