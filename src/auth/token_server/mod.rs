//! The token server in this program: what it is asked, what it answers, and how its tokens read.
//!
//! Follows distribution's token documentation and, for the form, RFC 6749. An access token lists what was asked for and may
//! be done; a refresh token has an audience of its own and is good only while its user's password stays what it was.

mod issue;
mod mint;

use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::token::{KEY, Rejection, SigningFailed, SigningKey};
use super::watched::Watched;
use super::{Authorization, Error, Refusal, Scope, TokenConfig, TokenServerConfig};

pub use issue::TokenIssuer;
pub use mint::{Inspection, Mint, MintError, inspect, mint};

/// Somebody asks for a token.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// Whose token it is to be.
    pub proof: TokenProof<'a>,
    /// Whom the token is for; absent means this registry.
    pub service: Option<&'a str>,
    /// What the token is to list.
    pub scopes: Vec<Scope>,
    /// Whether a refresh token is wanted too.
    pub offline: Offline,
    /// Where the request comes from, for the audit line.
    pub address: Option<IpAddr>,
}

/// What shows whose token it is to be.
#[derive(Clone, Copy)]
pub enum TokenProof<'a> {
    /// The `Authorization` of a GET; without any the token is for nobody in particular.
    Authorization(Authorization<'a>),
    /// The words of a form.
    Password {
        /// As typed.
        user: &'a str,
        /// As typed.
        password: &'a str,
    },
    /// A refresh token that was issued earlier.
    RefreshToken(&'a str),
}

/// Nothing secret.
impl std::fmt::Debug for TokenProof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Authorization(_) => "Authorization",
            Self::Password { .. } => "Password",
            Self::RefreshToken(_) => "RefreshToken",
        })
    }
}

/// Whether a client wants to come back without the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// It keeps a refresh token in the password's place.
    Wanted,
    /// It does not.
    Unwanted,
}

/// A token that was issued.
#[derive(Clone)]
pub struct IssuedToken {
    /// To be shown as Bearer.
    pub token: String,
    /// Seconds for which it is good.
    pub expires_in: u64,
    /// Unix time.
    pub issued_at: i64,
    /// What it lists, in the words of scopes.
    pub scopes: Vec<Scope>,
    /// When one was wanted and can be had.
    pub refresh_token: Option<String>,
}

/// Why no token is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Whoever asks has not proven who they are, or too many do at once.
    #[error(transparent)]
    Refused(Refusal),
    /// The token would be for somebody else.
    #[error("this token server issues tokens for {known:?} only, not for {asked:?}; ask at the realm of its challenge")]
    Service {
        /// Whom for, shortened.
        asked: String,
        /// Who is served.
        known: Arc<str>,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Failed(SigningFailed),
}

/// Signs tokens and reads refresh tokens. Pure but for the key's file, which it watches.
#[derive(Debug)]
pub(super) struct TokenServer {
    pub(super) path: Arc<str>,
    service: Arc<str>,
    issuer: Arc<str>,
    key: Arc<Watched<SigningKey>>,
    expiration: u64,
    refresh_expiration: u64,
}

/// An access token's claims, in the order in which people like to read them.
#[derive(Debug, Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    access: Vec<AccessEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct AccessEntry<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    actions: &'a [String],
}

impl<'a> AccessEntry<'a> {
    fn of(scope: &'a Scope) -> Self {
        let Scope { kind, name, actions, .. } = scope;
        Self { kind, name, actions }
    }
}

/// A refresh token's claims. It lists nothing, so that it opens nothing even where its audience were overlooked.
#[derive(Debug, Serialize, Deserialize)]
struct RefreshClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    jti: String,
    /// A keyed digest of the user's entry among the users.
    bound: String,
}

impl TokenServer {
    /// Reads the key, or makes it. `token` is the section that `config` stands in.
    pub(super) fn open(token: &TokenConfig, config: &TokenServerConfig) -> Result<Self, Error> {
        let key = SigningKey::open(&config.key)?;
        let algorithm = key.current().algorithm();
        if !token.algorithms.contains(&algorithm) {
            let problem = format!(
                "it signs with {0}, which auth.token.signingalgorithms leaves out; add {0} there",
                algorithm.name()
            );
            return Err(Error::Content { key: KEY, path: config.key.clone(), problem });
        }
        Ok(Self {
            path: config.path.as_str().into(),
            service: token.service.as_str().into(),
            issuer: token.issuer.as_str().into(),
            key: Arc::new(key),
            expiration: config.expiration.as_secs(),
            refresh_expiration: config.refresh_expiration.as_secs(),
        })
    }

    /// The key, for whoever verifies.
    pub(super) fn key(&self) -> Arc<Watched<SigningKey>> {
        Arc::clone(&self.key)
    }

    /// A token for `subject` that lists `scopes`.
    fn access_token(&self, subject: &str, scopes: &[Scope], now: i64) -> Result<String, SigningFailed> {
        let terms = Terms { issuer: &self.issuer, service: &self.service, expiration: self.expiration };
        terms.sign(&self.key.current(), subject, scopes, now)
    }

    /// A token by which `user`, whose password hashes to `hash` now, gets others; `None` when none are given out.
    fn refresh_token(&self, user: &str, hash: &str, now: i64) -> Result<Option<String>, SigningFailed> {
        if self.refresh_expiration == 0 {
            return Ok(None);
        }
        let key = self.key.current();
        let claims = RefreshClaims {
            iss: self.issuer.to_string(),
            sub: user.to_owned(),
            aud: self.refresh_audience(),
            exp: later(now, self.refresh_expiration),
            iat: now,
            jti: token_id(),
            bound: bound(&key, user, hash),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| SigningFailed)?;
        key.sign("refresh+jwt", &claims).map(Some)
    }

    /// Whose refresh token `token` is, at `now`. `hash_of` tells what a user's password hashes to.
    fn refreshed(
        &self,
        token: &str,
        now: i64,
        hash_of: impl FnOnce(&str) -> Option<String>,
    ) -> Result<String, Rejection> {
        let key = self.key.current();
        let claims = key.verified(token)?;
        let claims: RefreshClaims = serde_json::from_slice(&claims).map_err(|_| Rejection::Audience)?;
        if claims.iss != *self.issuer {
            return Err(Rejection::Issuer);
        }
        if claims.aud != self.refresh_audience() {
            return Err(Rejection::Audience);
        }
        if now > claims.exp {
            return Err(Rejection::Expired);
        }
        let hash = hash_of(&claims.sub).ok_or(Rejection::Outdated)?;
        if claims.bound == bound(&key, &claims.sub, &hash) { Ok(claims.sub) } else { Err(Rejection::Outdated) }
    }

    fn refresh_audience(&self) -> String {
        format!("refresh:{}", self.service)
    }
}

/// Between whom a token is, and for how long.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    issuer: &'a str,
    service: &'a str,
    /// Seconds.
    expiration: u64,
}

impl Terms<'_> {
    /// A token for `subject`, or for nobody in particular when that is empty.
    fn sign(self, key: &SigningKey, subject: &str, scopes: &[Scope], now: i64) -> Result<String, SigningFailed> {
        let claims = AccessClaims {
            iss: self.issuer,
            sub: subject,
            aud: self.service,
            exp: later(now, self.expiration),
            nbf: now,
            iat: now,
            jti: token_id(),
            access: scopes.iter().map(AccessEntry::of).collect(),
        };
        key.sign("JWT", &serde_json::to_vec(&claims).map_err(|_| SigningFailed)?)
    }
}

fn later(now: i64, seconds: u64) -> i64 {
    now.saturating_add_unsigned(seconds)
}

fn token_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// What ties a refresh token to its user's password, and tells nobody anything about either.
fn bound(key: &SigningKey, user: &str, hash: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.secret()) else { return token_id() };
    mac.update(&user.len().to_le_bytes());
    mac.update(user.as_bytes());
    mac.update(hash.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;
