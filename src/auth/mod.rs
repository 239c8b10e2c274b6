//! Who may do what; knows the words of the specification only.
//!
//! A door asks one question ([`Authenticator::authorize`]) about the [`Access`] that a request needs and gets a [`Grant`]
//! or a [`Refusal`]. Nobody else makes a [`Grant`], so a function that takes one cannot be reached without the question.
//! Inside, a request's credentials become an identity (`htpasswd`, `token`), and what the identity may do is what its
//! token lists, cut down to what the access rules (`policy`) allow where there are any.

mod access;
mod authenticator;
mod authorization;
mod challenge;
mod config;
mod error;
mod htpasswd;
mod identity;
mod policy;
mod scope;
mod token;
mod watched;

pub use access::{Access, Action, Grant};
pub use authenticator::{Adopted, Authenticator, Authorization, Credentials, check, explain};
pub use challenge::{Challenge, Realm, Refusal, Unproven};
pub use config::*;
pub use error::Error;
pub use htpasswd::hash as hash_password;
pub use policy::{Allowed, Decision};
pub use scope::{Scope, ScopeError};
pub use token::Rejection;
