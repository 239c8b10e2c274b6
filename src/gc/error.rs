//! Why collection stops.

use thiserror::Error;

use crate::storage;

/// A failure of collection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}
