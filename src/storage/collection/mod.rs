//! What garbage collection needs of the store, and what writers need to know of it: surveys of everything stored, the
//! epochs in which collectors announce what they are about to remove, and the removal itself.
//!
//! Knows the objects of the protocol, not its rules; those are in `gc` for collectors and in `registry` for writers.
//! Nothing here is answered from a cache but what can never change.

mod bin;
mod epochs;
mod rounds;
mod survey;
mod sweep;
mod tidy;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::oci::{Algorithm, Digest, Hasher, RepositoryName};

pub use bin::{BinList, BinTimes, Removed};
pub(in crate::storage) use epochs::CondemnedLists;
pub use epochs::{Epochs, Fetched, Progress};
pub use survey::{Cursor, Found, FoundPage, LinkPage, Manifests, Shelf};

/// Something that may be removed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A manifest of a repository, with its entries in tag histories and in the referrers index.
    Revision(RepositoryName, Digest),
    /// The link that makes a blob a repository's.
    Link(RepositoryName, Digest),
    /// Content.
    Blob(Digest),
}

/// The beginning of the SHA-256 of a key. Two keys that share it would both be spared, which loses nothing.
pub type Fingerprint = u128;

impl Key {
    /// See [`Fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&Hasher::digest(Algorithm::Sha256, self.to_string().as_bytes()))
    }
}

/// The first 128 bits of a digest, by which content is marked as needed. Two contents that share them are both kept.
#[must_use]
pub fn fingerprint(digest: &Digest) -> Fingerprint {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(digest.output()) {
        *to = *from;
    }
    u128::from_be_bytes(first)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(name, digest) => write!(f, "rev:{name}@{digest}"),
            Self::Link(name, digest) => write!(f, "link:{name}@{digest}"),
            Self::Blob(digest) => write!(f, "blob:{digest}"),
        }
    }
}

/// The text names nothing that collection removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of a list of garbage")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (kind, rest) = text.split_once(':').ok_or(NotAKey)?;
        let of_repository = || {
            let (name, digest) = rest.split_once('@').ok_or(NotAKey)?;
            Ok((name.parse().map_err(|_| NotAKey)?, digest.parse().map_err(|_| NotAKey)?))
        };
        match kind {
            "rev" => of_repository().map(|(name, digest)| Self::Revision(name, digest)),
            "link" => of_repository().map(|(name, digest)| Self::Link(name, digest)),
            "blob" => rest.parse().map(Self::Blob).map_err(|_| NotAKey),
            _ => Err(NotAKey),
        }
    }
}

/// Names one round of one collector: random, so that no two are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId(uuid::Uuid);

impl EpochId {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for EpochId {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let id = Self(uuid::Uuid::try_parse(text).map_err(|_| NotAKey)?);
        if id.to_string() == text { Ok(id) } else { Err(NotAKey) }
    }
}

/// The fingerprints of a list of keys.
pub type Fingerprints = HashSet<Fingerprint>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let digest = Hasher::digest(Algorithm::Sha512, b"x");
        let name: RepositoryName = "a/b-c".parse().unwrap();
        for key in [Key::Revision(name.clone(), digest), Key::Link(name, digest), Key::Blob(digest)] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for text in ["", "blob:", "rev:a", "link:A@sha256:00", "tag:a@b"] {
            assert_eq!(text.parse::<Key>(), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn what_is_removed_apart_has_fingerprints_apart() {
        let digest = Hasher::digest(Algorithm::Sha256, b"x");
        let names: [RepositoryName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let keys = names.iter().flat_map(|name| [Key::Revision(name.clone(), digest), Key::Link(name.clone(), digest)]);
        let fingerprints: Fingerprints = keys.chain([Key::Blob(digest)]).map(|key| key.fingerprint()).collect();
        assert_eq!(fingerprints.len(), 5);
    }
}
