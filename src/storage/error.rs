//! What can go wrong below the rules: few kinds, because callers decide by kind.

use thiserror::Error;

/// An error of a driver or of a store above it.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing lies at the path.
    #[error("nothing is stored at {path}")]
    NotFound {
        /// The path that was asked for, relative to the driver's root.
        path: String,
    },
    /// A create-only write found something at the path.
    #[error("something is already stored at {path}")]
    AlreadyExists {
        /// The path that was to be created.
        path: String,
    },
    /// Another request works on the same staged write.
    #[error("another request is writing to {path}")]
    Busy {
        /// The staged write's path.
        path: String,
    },
    /// The staged state handed in does not fit what is stored.
    #[error("the staged write at {path} does not match its state: {reason}")]
    StaleState {
        /// The staged write's path.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// What is stored cannot be what was written: an empty or torn link, an object of the wrong size.
    #[error("what is stored at {path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The object is larger than the caller is ready to hold.
    #[error("{path} holds {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Where.
        path: String,
        /// Size found, bytes.
        size: u64,
        /// Limit given by the caller, bytes.
        limit: u64,
    },
    /// The store has no room left: disk full, quota reached.
    #[error("no space left for {path}")]
    NoSpace {
        /// What was being written.
        path: String,
    },
    /// The disk or the bucket failed.
    #[error("{operation} {path} failed: {source}")]
    Backend {
        /// The verb, for the log: `read`, `rename` …
        operation: &'static str,
        /// The path it was applied to.
        path: String,
        /// Whether the same request may succeed in a moment.
        retry: Retry,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether trying again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The cause is likely to pass: a timeout, too many open files.
    Later,
    /// The cause stays until somebody acts.
    Pointless,
}

/// Result of storage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the error says that nothing is there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Turns "nothing is there" into `None` and leaves every other error an error.
pub fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
