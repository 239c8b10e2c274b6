//! `config.yml` and `REGISTRY_*`: composes the rooms' own `Config` types from a file and the environment.
//!
//! Three stages: text to a tree with places (`yaml`), variables laid over it (`environment`), and the tree read section
//! by section (`document` and the files it calls). Every problem found is reported, with its place and the way out.
//! Only `server` and `commands` may import this room.

mod auth;
mod auth_robots;
mod auth_rules;
mod auth_token_server;
mod document;
mod environment;
mod error;
mod health;
mod http;
mod log;
mod middleware;
mod read;
mod registry;
mod scalar;
mod section;
mod shape;
mod shape_table;
mod source;
mod storage;
mod storage_oss;
mod storage_s3;
mod tls;
mod tree;
mod unbuilt;
mod yaml;

use std::sync::Arc;

pub(crate) use auth_token_server::NAME as TOKEN_SERVER_NAME;
pub use error::{ConfigError, Place, Problem, Warning};
pub use scalar::duration;
pub use source::{Source, find_path};

use section::Report;

/// Everything the program is told, one part per room.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Sockets, TLS and connection limits.
    pub server: crate::server::Config,
    /// Logs and health checks.
    pub telemetry: crate::telemetry::Config,
    /// Where the content lies.
    pub storage: crate::storage::Config,
    /// The rules of push and pull.
    pub registry: crate::registry::Config,
    /// How the registry names itself over HTTP.
    pub routes: crate::routes::Config,
    /// Who may do what.
    pub auth: crate::auth::Config,
    /// Cleaning that `serve` does by itself.
    pub gc: crate::gc::Config,
}

/// A configuration without errors, and what is worth knowing about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was accepted but does not do what its writer may expect.
    pub warnings: Vec<Warning>,
    /// Where it came from.
    pub origin: Source,
}

impl Config {
    /// Reads `source`, lays the `REGISTRY_*` variables of `environment` over it and checks all of it.
    ///
    /// Reads the one file and nothing else: certificates, directories and hosts that it names are not looked at.
    pub fn load(
        source: Source,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let text = source.read()?;
        let (config, warnings) = from_text(&text, &source.to_string(), environment)?;
        Ok(Loaded { config, warnings, origin: source })
    }
}

/// The part of loading that reads no file.
fn from_text(
    text: &str,
    name: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    let file: Arc<str> = Arc::from(name);
    let locate = |line, column| Place::Line { file: Arc::clone(&file), line, column };
    let mut root = yaml::parse(text, &locate).map_err(ConfigError::Invalid)?;
    let report = Report::default();
    environment::apply(&mut root, &environment, &report);
    let config = document::read(&root, Place::Document(Arc::clone(&file)), &environment, &report);
    match report.into_parts() {
        (problems, warnings) if problems.is_empty() => Ok((config, warnings)),
        (problems, _) => Err(ConfigError::Invalid(problems)),
    }
}

#[cfg(test)]
mod tests;
