//! Tokens: JSON Web Tokens (RFC 7519) as distribution's token documentation has them, verified and remembered.
//!
//! A token that distribution 2.8 or 3.x accepts is accepted, with two exceptions made on purpose: symmetric algorithms,
//! and words that are there twice. Nothing that a token names is ever fetched or opened.

mod chain;
mod claims;
mod fetched;
mod jwk;
mod jws;
mod key;
mod signing;
mod trust;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use quick_cache::sync::Cache;

use super::watched::Watched;
use super::{Error, SigningAlgorithm, TokenConfig};
pub(super) use claims::AccessList;
use claims::Claims;
pub(super) use fetched::Renewed;
use jws::Token;
pub(super) use jws::unverified;
#[cfg(test)]
pub(super) use signing::new_rsa_key;
pub(super) use signing::{KEY, SigningFailed, SigningKey};
use trust::Trust;

/// Seconds by which clocks may differ, as in distribution.
const LEEWAY: i64 = 60;

/// Seconds for which a verified token is not verified again.
const REMEMBERED: i64 = 60;

/// Most tokens that are remembered, and the longest of them in bytes.
const MOST_REMEMBERED: usize = 1024;
const LONGEST_REMEMBERED: usize = 8 * 1024;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is no token.
    #[error("it is not a signed JSON Web Token")]
    Malformed,
    /// It is longer than any token needs to be.
    #[error("it is too long")]
    TooLong,
    /// It demands that extensions are understood.
    #[error("it has a crit header, and no extension is understood here")]
    Critical,
    /// Its algorithm is not one of those that may sign, or does not belong to its key.
    #[error("its signing algorithm is not accepted")]
    Algorithm,
    /// It names no key that is trusted.
    #[error("it names no key that this registry trusts")]
    KeyUnknown,
    /// Its chain of certificates does not end at one that is trusted, or is not valid now.
    #[error("its chain of certificates is not trusted")]
    Chain,
    /// The signature is not that of its key.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("its issuer is not the one configured")]
    Issuer,
    /// It is meant for another service.
    #[error("it is meant for another service")]
    Audience,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    Early,
    /// It was issued to somebody whose password is another now, or who is no longer known.
    #[error("its user's password has changed since, or the user is gone")]
    Outdated,
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    issuer: String,
    service: String,
    algorithms: Vec<SigningAlgorithm>,
    trust: Trust,
    verified: Cache<Box<str>, Verified>,
}

/// What is known of a token that is good.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    /// Absent in tokens for nobody in particular.
    pub(super) subject: Option<Arc<str>>,
    /// What it allows.
    pub(super) listed: Arc<AccessList>,
    /// Unix time from which it must be looked at again.
    until: i64,
}

impl Tokens {
    /// Reads the keys; `own` is that of the token server in this program.
    pub(super) fn open(config: &TokenConfig, own: Option<Arc<Watched<SigningKey>>>) -> Result<Self, Error> {
        Ok(Self {
            issuer: config.issuer.clone(),
            service: config.service.clone(),
            algorithms: config.algorithms.clone(),
            trust: Trust::open(config, own)?,
            verified: Cache::new(MOST_REMEMBERED),
        })
    }

    /// Fetches the key set, where it has an address, and goes on to do so.
    pub(super) async fn start(&self) {
        if let Some(set) = self.trust.fetched() {
            set.start().await;
        }
    }

    /// Fetches the key set once.
    pub(super) async fn fetch(&self) -> Result<(), Error> {
        match self.trust.fetched() {
            Some(set) => set.fetch().await,
            None => Ok(()),
        }
    }

    /// Looks for keys that were not there before, when a token names one that is not known.
    pub(super) async fn renew_keys(&self) -> Renewed {
        match self.trust.fetched() {
            Some(set) => set.renew().await,
            None => Renewed::No,
        }
    }

    /// What `token` says, if it is good now.
    pub(super) fn verify(&self, token: &str) -> Result<Verified, Rejection> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.verify_at(token, i64::try_from(now).unwrap_or(i64::MAX))
    }

    fn verify_at(&self, token: &str, now: i64) -> Result<Verified, Rejection> {
        if let Some(verified) = self.verified.get(token)
            && now < verified.until
        {
            return Ok(verified);
        }
        let parsed = Token::parse(token)?;
        if !self.algorithms.contains(&parsed.algorithm) {
            return Err(Rejection::Algorithm);
        }
        self.trust.key(&parsed.header, now)?.verify(&parsed)?;
        let claims = Claims::read(&parsed.payload)?;
        claims.check(&self.issuer, &self.service, now)?;
        let until = now.saturating_add(REMEMBERED).min(claims.expires.saturating_add(LEEWAY));
        let subject = Some(claims.subject).filter(|subject| !subject.is_empty()).map(Arc::from);
        let verified = Verified { subject, listed: Arc::new(claims.access), until };
        if token.len() <= LONGEST_REMEMBERED {
            self.verified.insert(token.into(), verified.clone());
        }
        Ok(verified)
    }
}

/// For `fuzz/`.
#[cfg(fuzzing)]
pub(super) mod fuzzing {
    /// Takes a token apart as far as that is done before its signature is looked at, and then as if it were good.
    pub(in crate::auth) fn token(text: &str) {
        let Ok(token) = super::Token::parse(text) else { return };
        if let Some(material) = token.header.jwk.as_ref().and_then(super::jwk::Jwk::material) {
            let _ = material.thumbprint();
            let _ = material.prepare().verify(&token);
        }
        for chain in token.header.x5c.iter().chain(token.header.jwk.iter().filter_map(|jwk| jwk.x5c.as_ref())) {
            assert!(super::chain::verified_key(chain, &[], 0).is_err());
        }
        if let Ok(claims) = super::Claims::read(&token.payload) {
            let _ = claims.check("issuer", "service", 0);
            let _ = claims.access.allows("repository", "a", &["pull"]);
        }
    }

    /// Reads a key set.
    pub(in crate::auth) fn key_set(json: &[u8]) {
        let _ = super::trust::read_set(json);
    }
}

#[cfg(test)]
mod forge;
#[cfg(test)]
mod tests;
