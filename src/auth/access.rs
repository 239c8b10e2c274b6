//! What a request needs and what it was given.

use crate::oci::RepositoryName;

/// What may be done to the content of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs and manifests; includes looking at and cancelling one's upload sessions.
    Push,
    /// Remove manifests, tags and blobs.
    Delete,
}

/// The access that a request needs, as its endpoint declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// To be known here at all: what the ping asks.
    Ping,
    /// To list the repositories.
    Catalog,
    /// To do something to one repository.
    Repository {
        /// Which.
        name: &'a RepositoryName,
        /// What.
        action: Action,
    },
    /// To push a blob that another repository already holds. Pushing to the target is needed; pulling from the source is
    /// wished for, because clients take a refusal here for the end of their push: ask [`Grant::may_pull`] for it.
    Mount {
        /// The repository that gets the blob.
        target: &'a RepositoryName,
        /// The repository that holds it, when the client names one.
        source: Option<&'a RepositoryName>,
    },
}

/// Proof that the question was asked and answered with yes. Only this room makes one.
#[derive(Debug)]
pub struct Grant(());

impl Grant {
    /// What [`crate::auth::Config::Open`] gives to everybody.
    pub(super) fn everything() -> Self {
        Self(())
    }

    /// Whether the holder may also read from `repository`, asked for what a request touches besides its own repository.
    #[must_use]
    pub fn may_pull(&self, _repository: &RepositoryName) -> bool {
        // The only grant there is allows everything.
        true
    }

    /// Whether the holder may read from every repository there is, asked when a request does not say where from.
    #[must_use]
    pub fn may_pull_everything(&self) -> bool {
        true
    }
}
