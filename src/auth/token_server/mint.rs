//! Tokens made and looked at by hand, for the command line.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Terms;
use crate::auth::token::{Rejection, SigningFailed, SigningKey, Tokens, unverified};
use crate::auth::{Config, Error, Scope, unix_time};

/// A token to be made.
#[derive(Debug, Clone)]
pub struct Mint {
    /// A private key in PEM. It must exist.
    pub key: PathBuf,
    /// What `auth.token.issuer` is where the token is used.
    pub issuer: String,
    /// What `auth.token.service` is there.
    pub service: String,
    /// Whose token it is; empty for nobody in particular.
    pub subject: String,
    /// What it lists, which nobody looks at before it is used.
    pub scopes: Vec<Scope>,
    /// Seconds for which it is good.
    pub expiration: u64,
}

/// Why no token is made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The key is none.
    #[error("{}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Failed(SigningFailed),
}

/// Makes a token with a key.
///
/// # Errors
/// [`MintError`].
pub fn mint(mint: &Mint) -> Result<String, MintError> {
    let Mint { key: path, issuer, service, subject, scopes, expiration } = mint;
    let pem = std::fs::read(path).map_err(|source| MintError::Read { path: path.clone(), source })?;
    let key = SigningKey::read(&pem).map_err(|problem| MintError::Key { path: path.clone(), problem })?;
    let terms = Terms { issuer, service, expiration: *expiration };
    terms.sign(&key, subject, scopes, unix_time()).map_err(MintError::Failed)
}

/// What a token says, and what a configuration says to it.
#[derive(Debug)]
pub struct Inspection {
    /// The header; [`Value::Null`] when there is none to read.
    pub header: Value,
    /// The claims; [`Value::Null`] when there are none to read.
    pub claims: Value,
    /// Whether a registry so configured takes it now; `None` when that takes no tokens at all.
    pub verdict: Option<Result<(), Rejection>>,
}

/// Looks at `token`. Reads what `config` names and makes nothing.
///
/// # Errors
/// As `Authenticator::open`.
pub fn inspect(config: &Config, token: &str) -> Result<Inspection, Error> {
    let (header, claims) = unverified(token);
    let verdict = match config {
        Config::Closed(ways) => match &ways.token {
            Some(config) => {
                let existing = |path: &&Path| path.exists();
                let own = config.server.as_ref().map(|server| server.key.as_path()).filter(existing);
                let own = own.map(SigningKey::open).transpose()?.map(std::sync::Arc::new);
                Some(Tokens::open(config, own)?.verify(token).map(|_| ()))
            }
            None => None,
        },
        Config::Open => None,
    };
    Ok(Inspection { header, claims, verdict })
}
