//! The words of the OCI specifications, validated and without I/O.
//!
//! A value of a type here has passed its grammar: nobody below the door checks a digest, a name or a tag again.

mod descriptor;
mod digest;
mod error;
mod hasher;
mod json;
mod manifest;
mod media_type;
mod mentions;
mod name;
mod range;

pub use descriptor::{Descriptor, Platform};
pub use digest::{Algorithm, Digest};
pub use error::{Error, ManifestError};
pub use hasher::Hasher;
pub use manifest::{DeclaredType, Manifest, Relation, Role};
pub use media_type::{Class, MediaType};
pub use mentions::digests_mentioned;
pub use name::{Reference, RepositoryName, Tag};
pub use range::{ByteRange, ContentRange, RangeSet, ResolvedRanges};
