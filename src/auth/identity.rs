//! Who somebody is found to be, and what follows from it.

use std::sync::Arc;

use super::policy::{Allowed, SharedPolicy};
use super::token::AccessList;
use super::{Access, Action};

/// By which way an identity was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// Not at all.
    Anonymous,
    /// Name and password.
    Password,
    /// A signed token.
    Token,
    /// A client certificate.
    Certificate,
}

/// Somebody, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of the user or of a certificate's holder, or the token's subject; absent when nobody in particular.
    pub(super) name: Option<Arc<str>>,
    /// How that was proven.
    pub(super) way: Way,
}

/// An identity with everything that limits what it may do.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) identity: Identity,
    /// What the token lists, for those who came with one.
    pub(super) listed: Option<Arc<AccessList>>,
    /// The access rules, where there are any. They cut down what a token lists and never add to it.
    pub(super) policy: Option<SharedPolicy>,
}

impl Standing {
    /// Whether `action` on `repository` is allowed.
    pub(super) fn may(&self, repository: &str, action: Action) -> bool {
        self.is_listed(repository, action) && self.is_ruled_in(repository, action)
    }

    /// Whether a request that needs `access` is carried out.
    pub(super) fn allows(&self, access: Access<'_>) -> bool {
        match access {
            Access::Ping => self.identity.way != Way::Anonymous,
            Access::Catalog => self.identity.way != Way::Anonymous && self.lists_catalog(),
            Access::Repository { name, action } => self.may(name.as_str(), action),
            Access::Mount { target, .. } => self.may(target.as_str(), Action::Push),
        }
    }

    /// Whether a wider token could help where `access` is refused.
    pub(super) fn lacks_scope(&self, access: Access<'_>) -> bool {
        self.listed.is_some()
            && match access {
                Access::Ping => false,
                Access::Catalog => !self.lists_catalog(),
                Access::Repository { name, action } => !self.is_listed(name.as_str(), action),
                Access::Mount { target, .. } => !self.is_listed(target.as_str(), Action::Push),
            }
    }

    /// Whether the rules would let `access` pass, whatever a token lists.
    pub(super) fn is_ruled_in_for(&self, access: Access<'_>) -> bool {
        match access {
            Access::Ping | Access::Catalog => true,
            Access::Repository { name, action } => self.is_ruled_in(name.as_str(), action),
            Access::Mount { target, .. } => self.is_ruled_in(target.as_str(), Action::Push),
        }
    }

    /// The access rule that decides about `access`, counted from 1; `None` where none does.
    pub(super) fn rule_for(&self, access: Access<'_>) -> Option<usize> {
        let (name, action) = match access {
            Access::Ping | Access::Catalog => return None,
            Access::Repository { name, action } => (name, action),
            Access::Mount { target, .. } => (target, Action::Push),
        };
        self.policy.as_ref()?.decide(&self.identity, name.as_str(), action).rule
    }

    /// Whether every repository may be read, those that do not exist included.
    pub(super) fn may_pull_everything(&self) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.allows("registry", "content", &["pull"]))
            && self.policy.as_ref().is_none_or(|policy| policy.allows_everywhere(&self.identity, Action::Pull))
    }

    /// Whether a mount may read where it comes from; everything else comes from nowhere.
    pub(super) fn reaches_source(&self, access: Access<'_>) -> bool {
        match access {
            Access::Mount { source: Some(source), .. } => self.may(source.as_str(), Action::Pull),
            Access::Mount { source: None, .. } => self.may_pull_everything(),
            _ => true,
        }
    }

    /// The same, were there no list to limit it.
    pub(super) fn unlisted(&self) -> Self {
        Self { listed: None, ..self.clone() }
    }

    /// Whether nothing limits it.
    pub(super) fn is_unlimited(&self) -> bool {
        self.listed.is_none() && self.policy.is_none()
    }

    /// Whether who may see the catalog may see all of it.
    pub(super) fn sees_whole_catalog(&self) -> bool {
        self.policy.is_none()
    }

    /// Whether the rules let the repository's name be shown.
    pub(super) fn may_see(&self, repository: &str) -> bool {
        self.is_ruled_in(repository, Action::Pull)
    }

    /// The name of whoever this is.
    pub(super) fn name(&self) -> Option<&str> {
        self.identity.name.as_deref()
    }

    fn is_listed(&self, repository: &str, action: Action) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.allows("repository", repository, action.words()))
    }

    fn lists_catalog(&self) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.allows("registry", "catalog", &["*"]))
    }

    fn is_ruled_in(&self, repository: &str, action: Action) -> bool {
        let allows = |policy: &SharedPolicy| policy.decide(&self.identity, repository, action).allowed == Allowed::Yes;
        self.policy.as_ref().is_none_or(allows)
    }
}
