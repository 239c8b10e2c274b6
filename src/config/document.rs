//! The top level of `config.yml`: hands each section to the file that reads it, and puts the rooms' parts together.

use crate::routes;
use crate::storage::DriverConfig;

use super::error::{Place, Warning};
use super::section::{Field, Report, Section};
use super::tree::Node;
use super::{Config, auth, health, http, log, middleware, registry, storage, unbuilt};

/// The one version there is.
const VERSION: &str = "0.1";

/// What the environment decides besides the `REGISTRY_*` variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// A listening socket was passed, so that `http.addr` is not needed.
    Socket,
    /// Nothing was passed.
    None,
}

/// Reads the whole document. What it gives is of use only when `report` holds no problem.
pub(super) fn read(root: &Node, name: Place, environment: &[(String, String)], report: &Report) -> Config {
    let Some(section) = Section::root(root, name, report) else { return Config::default() };
    version(&section);
    let mut storage = storage::read(&section);
    storage.content.middleware = middleware::read(&section, &storage.content);
    let http = http::read(&section, activation(environment));
    let config = Config {
        server: http.server,
        telemetry: crate::telemetry::Config { log: log::read(&section), health: health::read(&section) },
        registry: registry::read(&section, &storage, secret_of(&section, &storage.content.driver, http.secret)),
        routes: routes::Config { served_directly: storage.served_directly, ..http.routes },
        auth: auth::read(&section),
        gc: storage.gc,
        storage: storage.content,
    };
    unbuilt::read(&section);
    tracing_variables(environment, report);
    section.finish();
    config
}

fn version(root: &Section<'_>) {
    let hint = format!("write version: {VERSION} at the top of the file");
    match root.field("version") {
        Some(field) => {
            if field.text().is_some_and(|text| text != VERSION) {
                field.expected::<()>(VERSION, hint);
            }
        }
        None => root.problem("version", "is missing", hint),
    }
}

/// `http.secret`, which must be set where more than this process, or its successor, answers for the same uploads.
fn secret_of(root: &Section<'_>, driver: &DriverConfig, secret: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if secret.is_none() && matches!(driver, DriverConfig::S3(_) | DriverConfig::Oss(_)) {
        root.problem(
            "http.secret",
            "is missing: what is known of an upload travels with the client, sealed with this key, and without it no \
             other replica, nor this one after a restart, could go on with an upload to the bucket",
            "write secret: below http:, the same for all replicas; openssl rand -hex 32 makes one",
        );
    }
    secret
}

fn activation(environment: &[(String, String)]) -> Activation {
    let passed =
        environment.iter().any(|(name, value)| name == "LISTEN_FDS" && value.parse::<u32>().is_ok_and(|n| n > 0));
    if passed { Activation::Socket } else { Activation::None }
}

/// distribution sends traces where the `OTEL_*` variables say; nothing here does.
fn tracing_variables(environment: &[(String, String)], report: &Report) {
    let wanted = |(name, value): &&(String, String)| {
        name.starts_with("OTEL_") && name.contains("EXPORTER") && !value.is_empty() && value != "none"
    };
    if let Some((name, _)) = environment.iter().find(wanted) {
        let place = Place::Environment(name.as_str().into());
        let message = "traces are not exported by this release; the OTEL_ variables have no effect".to_owned();
        report.warning(Warning { place, path: String::new(), message });
    }
}

/// Whether a switch such as `enabled` is on; absent is off.
pub(super) fn is_on(section: Option<&Section<'_>>, key: &'static str) -> bool {
    section.and_then(|section| section.get(key, Field::boolean)).unwrap_or(false)
}
