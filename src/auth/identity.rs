//! Who somebody is found to be, and what follows from it.

use std::sync::Arc;

use super::token::AccessList;
use super::{Access, Action, Scope};

/// By which way an identity was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Not at all.
    Anonymous,
    /// Name and password.
    Password,
    /// A signed token.
    Token,
    /// The certificate of the TLS connection.
    Certificate,
}

/// Somebody, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, the token's subject or the certificate's name; absent when nobody in particular.
    pub name: Option<Arc<str>>,
    /// How that was proven.
    pub way: Way,
}

/// An identity with everything that limits what it may do.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) identity: Identity,
    /// What the token lists, for those who came with one.
    pub(super) listed: Option<Arc<AccessList>>,
}

impl Standing {
    /// Whether `action` on `repository` is allowed.
    pub(super) fn may(&self, repository: &str, action: Action) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.allows("repository", repository, action.words()))
    }

    /// Whether a request that needs `access` is carried out.
    pub(super) fn allows(&self, access: Access<'_>) -> bool {
        match access {
            Access::Ping => self.identity.way != Way::Anonymous,
            Access::Catalog => self.listed.as_ref().is_none_or(|listed| {
                Scope::needed(access).iter().all(|scope| listed.allows(&scope.kind, &scope.name, &["*"]))
            }),
            Access::Repository { name, action } => self.may(name.as_str(), action),
            Access::Mount { target, .. } => self.may(target.as_str(), Action::Push),
        }
    }

    /// Whether nothing limits it.
    pub(super) fn is_unlimited(&self) -> bool {
        self.listed.is_none()
    }

    /// Whether who may see the catalog may see all of it.
    #[expect(clippy::unused_self, reason = "access rules will limit it")]
    pub(super) fn sees_whole_catalog(&self) -> bool {
        true
    }

    /// The name of whoever this is.
    pub(super) fn name(&self) -> Option<&str> {
        self.identity.name.as_deref()
    }
}
