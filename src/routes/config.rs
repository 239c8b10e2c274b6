//! What the HTTP layer is told: how it names itself to clients and which headers it adds.

use http::{HeaderName, HeaderValue};

/// The `http` section as far as requests and answers are concerned.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http.prefix` with leading and trailing slash; routes live under `<prefix>v2/`.
    pub prefix: String,
    /// How `Location` is written.
    pub location: LocationForm,
    /// `http.headers`, added to every answer of a `/v2/` route.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How `Location` and token realms name this registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationForm {
    /// Path only; the client keeps its own idea of host and scheme.
    Relative,
    /// `http.host`: scheme, host and base path, without a trailing slash.
    Fixed(String),
    /// `http.relativeurls: false` written in the config: scheme and host of the request, with forwarded headers
    /// believed as distribution does.
    FromRequest,
}

impl Default for Config {
    fn default() -> Self {
        Self { prefix: "/".to_owned(), location: LocationForm::Relative, headers: Vec::new() }
    }
}
