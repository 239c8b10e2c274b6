//! Who may do what; knows the words of the specification only.
//!
//! A door asks one question ([`Authenticator::authorize`]) about the [`Access`] that a request needs and gets a [`Grant`]
//! or a [`Refusal`]. Nobody else makes a [`Grant`], so a function that takes one cannot be reached without the question.

mod access;
mod authenticator;
mod config;

pub use access::{Access, Action, Grant};
pub use authenticator::{Authenticator, Credentials, Refusal};
pub use config::*;
