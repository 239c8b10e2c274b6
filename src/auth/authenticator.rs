//! The one question that is asked of every request.

use super::{Access, Config, Grant};

/// Decides who may do what, by the configured way of proving who one is.
#[derive(Debug)]
pub struct Authenticator {
    config: Config,
}

/// What a request brings along to prove whose it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The `Authorization` header, when there is exactly one and it is text.
    pub authorization: Option<&'a str>,
}

/// Why access is refused. Open access refuses nothing, so there is no reason yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Authenticator {
    /// An authenticator by `config`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Whether whoever shows `credentials` has `access`.
    ///
    /// # Errors
    /// [`Refusal`] when not.
    #[must_use = "a request is carried out only with the grant in hand"]
    pub fn authorize(&self, _credentials: Credentials<'_>, _access: Access<'_>) -> Result<Grant, Refusal> {
        match self.config {
            Config::Open => Ok(Grant::everything()),
        }
    }
}
