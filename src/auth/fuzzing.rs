//! The parsers of this room, for the targets of `fuzz/` alone: this file is part of the crate under `--cfg fuzzing` only.

use super::Scope;
use super::authorization::Presented;
use super::groups::Groups;
use super::htpasswd::fuzzing as passwords;
use super::token::fuzzing as tokens;

/// An `Authorization` header.
pub fn authorization(header: &str) {
    if let Presented::Bearer(text) = Presented::read(Some(header)) {
        token(text);
    }
}

/// A token: its parts, its header's key and chain, its claims.
pub fn token(text: &str) {
    tokens::token(text);
}

/// A JSON Web Key Set.
pub fn key_set(json: &[u8]) {
    tokens::key_set(json);
}

/// A list of scopes. What can be read must be written as what is read again.
pub fn scopes(text: &str) {
    for scope in Scope::parse_list(text).unwrap_or_default() {
        assert_eq!(Scope::parse(&scope.to_string()).as_ref(), Ok(&scope));
    }
}

/// The files of users and of groups.
pub fn htpasswd(content: &[u8]) {
    passwords::file(content);
    let _ = Groups::read(content);
}
