//! What is wrong with a word or a manifest. The text names the word, what was found and what is allowed.

use thiserror::Error;

/// A word that does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Not `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits.
    #[error("{0:?} is not a digest: expected sha256:<64 hex digits> or sha512:<128 hex digits>, lower case")]
    Digest(String),
    /// Not a repository name.
    #[error(
        "{0:?} is not a repository name: expected lower-case components of a-z, 0-9 and single separators \
         (. _ __ -) joined by /, at most 255 characters"
    )]
    RepositoryName(String),
    /// Not a tag.
    #[error("{0:?} is not a tag: expected a letter, digit or _ followed by at most 127 of letters, digits, . _ -")]
    Tag(String),
    /// Not a media type.
    #[error("{0:?} is not a media type: expected type/subtype without parameters, at most 255 characters")]
    MediaType(String),
    /// Not a range that a chunk may have.
    #[error("{0:?} is not a content range: expected <start>-<end>, both inclusive")]
    ContentRange(String),
    /// A hash mid-state that this version did not write.
    #[error("the hash state does not belong to this version")]
    HashState,
}

impl Error {
    /// Keeps what is quoted short: a hostile value must not fill logs and answers.
    pub(super) fn quoted(value: &str) -> String {
        const LONGEST: usize = 80;
        if value.chars().count() <= LONGEST {
            return value.to_owned();
        }
        value.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON, or JSON beyond the limits.
    #[error("the manifest is not acceptable JSON: {0}")]
    Json(String),
    /// JSON of another shape than its media type demands.
    #[error("the manifest does not have the shape of {media_type}: {reason}")]
    Shape {
        /// Its media type.
        media_type: String,
        /// What is wrong.
        reason: String,
    },
    /// Neither the request nor the document says what it is.
    #[error("the manifest has no media type: send a Content-Type header or a mediaType field")]
    NoMediaType,
    /// Request and document say different things.
    #[error("the Content-Type is {content_type} but the manifest's mediaType is {media_type}")]
    MediaTypeMismatch {
        /// What the request said.
        content_type: String,
        /// What the document says.
        media_type: String,
    },
    /// A media type that is no JSON, or one that cannot be stored.
    #[error("{0} cannot be stored as a manifest")]
    Unsupported(String),
    /// A word inside the manifest does not follow its grammar.
    #[error("the manifest holds a malformed word: {0}")]
    Word(#[from] Error),
}
