//! Who may do what; knows the words of the specification only.
//!
//! A door asks one question ([`Authenticator::authorize`]) about the [`Access`] that a request needs and gets a [`Grant`]
//! or a [`Refusal`]. Nobody else makes a [`Grant`], so a function that takes one cannot be reached without the question.
//! Inside, a request's credentials become an identity (`htpasswd`, `token`, `certificate`), and what the identity may do is what its
//! token lists, cut down to what the access rules (`policy`) allow where there are any.

mod access;
mod authenticator;
mod authorization;
mod certificate;
mod challenge;
mod config;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod htpasswd;
mod identity;
mod policy;
mod scope;
mod token;
mod token_server;
mod watched;

pub use access::{Access, Action, Grant};
pub use authenticator::{Adopted, Authenticator, Authorization, Credentials, check, check_key_set, explain};
pub use certificate::CertificateProblem;
pub use challenge::{Challenge, Realm, RealmBase, Refusal, Unproven};
pub use config::*;
pub use error::Error;
pub use htpasswd::{PasswordHash, hash as hash_password};
pub use policy::{Allowed, Decision};
pub use scope::{Scope, ScopeError};
pub use token::Rejection;
pub use token_server::{
    Inspection, IssuedToken, Mint, MintError, Offline, TokenIssuer, TokenProof, TokenRefusal, TokenRequest, inspect,
    mint,
};

/// Seconds since 1970, of the clock on the wall.
fn unix_time() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
