//! Why collection stops.

use thiserror::Error;

use crate::oci::RepositoryName;
use crate::storage;

/// A failure of collection. Before it is told, nothing was removed that anything needs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Something is stored in a way that leaves open what it needs, so nothing may be removed.
    #[error(
        "nothing was removed, because {what} of repository {repository} cannot be read and may need anything: {reason}; \
         push it again, delete it, or look at `registry scrub`"
    )]
    Unreadable {
        /// Where.
        repository: RepositoryName,
        /// Which tag or manifest.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// So much would go that it is more likely that the store does not show everything.
    #[error(
        "nothing was removed, because {garbage} of {total} bytes ({percent} %) would go: check that the store shows all its \
         content, and if that is what you want, run again with --accept-large-removal"
    )]
    Implausible {
        /// Bytes that would go.
        garbage: u64,
        /// Bytes stored.
        total: u64,
        /// Share of bytes that would go.
        percent: u64,
    },
    /// The bucket does not show at once what was written, on which the protocol rests.
    #[error(
        "nothing was removed, because the bucket {0}, so that pushes during a collection would not be safe: stop all \
         writers and run with --offline"
    )]
    Forgetful(&'static str),
    /// Repositories that had tags at the last collection are not there at all now.
    #[error(
        "nothing was removed, because {first} and {others} more of the repositories that had tags at the last collection \
         cannot be seen any more: check that every disk is mounted and that the store shows all its content; if they were \
         removed on purpose, run again with --accept-large-removal"
    )]
    Vanished {
        /// One of them.
        first: RepositoryName,
        /// How many others there are.
        others: usize,
    },
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NoRepository(RepositoryName),
    /// Another program writes to the store that does not know the protocol.
    #[error(
        "nothing was removed, because another program than this one seems to be writing to the store (it began the upload \
         {upload} of repository {repository} {minutes} minutes ago), and its pushes would not be safe: stop it and collect \
         when a day has passed, or run with --offline while nothing writes at all"
    )]
    MixedUse {
        /// Where.
        repository: RepositoryName,
        /// The upload session that was found.
        upload: String,
        /// How long ago it was begun, minutes.
        minutes: u64,
    },
    /// Somebody else puts back what was removed.
    #[error(
        "another garbage-collect --undo is at work on this store, or one that empties what it would put back; wait for its end"
    )]
    BinInUse,
    /// The collector could not show for too long that it lives, so another may have taken over.
    #[error("collection stopped, because the store could not be reached for {0} seconds; run it again to finish")]
    OutOfTouch(u64),
}
