//! What a request needs and what it was given.

use std::fmt;

use crate::oci::RepositoryName;

use super::identity::Standing;

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

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The actions that a token must list for it, in the words of scopes.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["pull"],
            Self::Push => &["pull", "push"],
            Self::Delete => &["delete"],
        }
    }

    /// The one word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The access that a request needs, as its endpoint declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// To be known here at all: what the ping asks.
    Ping,
    /// To list the repositories, of which [`Grant::may_see`] tells the ones to show.
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

impl Access<'_> {
    /// For the audit line: what is asked for, in one word.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Catalog => "catalog",
            Self::Repository { action, .. } => action.as_str(),
            Self::Mount { .. } => "push",
        }
    }

    /// Whether what is asked for changes what is stored.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Ping | Self::Catalog | Self::Repository { action: Action::Pull, .. } => false,
            Self::Repository { action: Action::Push | Action::Delete, .. } | Self::Mount { .. } => true,
        }
    }

    /// The repository that is acted on.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Ping | Self::Catalog => None,
            Self::Repository { name, .. } | Self::Mount { target: name, .. } => Some(name),
        }
    }
}

/// Proof that the question was asked and answered with yes. Only this room makes one.
#[derive(Debug)]
pub struct Grant(Option<Standing>);

impl Grant {
    /// What [`crate::auth::Config::Open`] gives to everybody.
    pub(super) fn everything() -> Self {
        Self(None)
    }

    /// What `standing` gives.
    pub(super) fn of(standing: Standing) -> Self {
        Self(Some(standing))
    }

    /// Whether the holder may also read from `repository`, asked for what a request touches besides its own repository.
    #[must_use]
    pub fn may_pull(&self, repository: &RepositoryName) -> bool {
        self.0.as_ref().is_none_or(|standing| standing.may(repository.as_str(), Action::Pull))
    }

    /// Whether the holder may read from every repository there is, asked when a request does not say where from.
    #[must_use]
    pub fn may_pull_everything(&self) -> bool {
        self.0.as_ref().is_none_or(Standing::may_pull_everything)
    }

    /// Whether each entry of the catalog must be asked about before it is shown.
    #[must_use]
    pub fn sees_whole_catalog(&self) -> bool {
        self.0.as_ref().is_none_or(Standing::sees_whole_catalog)
    }

    /// Whether the catalog shows `repository` to the holder.
    #[must_use]
    pub fn may_see(&self, repository: &RepositoryName) -> bool {
        self.0.as_ref().is_none_or(|standing| standing.may_see(repository.as_str()))
    }

    /// The access rule that gives it, for the audit line.
    pub(super) fn rule(&self, access: Access<'_>) -> Option<usize> {
        self.0.as_ref()?.rule_for(access)
    }

    /// Who holds it, when that is known.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.0.as_ref()?.name()
    }
}
