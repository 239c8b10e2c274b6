//! Scopes, the words in which clients ask token servers for access: `repository:team/app:pull,push`.
//!
//! The grammar is that of distribution's token documentation, with everything that real clients send. Pure.

use std::fmt;

use super::{Access, Action};

/// Longest list of scopes that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// Most scopes in one list; a push across repositories asks for two.
const MOST: usize = 100;

/// Access to one thing, as clients ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `repository` or `registry`; others are kept and give nothing.
    pub kind: String,
    /// What stands in brackets behind the kind, such as `plugin`; of no consequence here.
    pub class: Option<String>,
    /// The repository, or `catalog`. May hold colons, as names with a host and port do.
    pub name: String,
    /// In the order asked for, each once.
    pub actions: Vec<String>,
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A colon is missing.
    #[error("a scope is written kind:name:actions, as in repository:team/app:pull,push; this is not: {0:?}")]
    Form(String),
    /// The list is longer than anybody needs.
    #[error("scopes may have {LONGEST} bytes and be {MOST} at most; ask for fewer repositories at once")]
    TooLong,
}

impl Scope {
    /// Reads one scope.
    ///
    /// # Errors
    /// [`ScopeError::Form`] unless it has a kind, a name and actions, divided by the first and the last colon.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let refuse = || ScopeError::Form(text.chars().take(120).collect());
        let (kind, rest) = text.split_once(':').ok_or_else(refuse)?;
        let (name, listed) = rest.rsplit_once(':').ok_or_else(refuse)?;
        let (kind, class) = match kind.split_once('(') {
            Some((kind, class)) => (kind, Some(class.strip_suffix(')').ok_or_else(refuse)?.to_owned())),
            None => (kind, None),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if kind.is_empty() || !kind.bytes().all(word) || name.is_empty() || !name.bytes().all(printable) {
            return Err(refuse());
        }
        let mut actions: Vec<String> = Vec::new();
        for action in listed.split(',').map(str::trim).filter(|action| !action.is_empty()) {
            if !action.bytes().all(|byte| word(byte) || byte == b'*') {
                return Err(refuse());
            }
            if !actions.iter().any(|known| known == action) {
                actions.push(action.to_owned());
            }
        }
        Ok(Self { kind: kind.to_owned(), class, name: name.to_owned(), actions })
    }

    /// Reads scopes divided by blanks, as a form or a repeated parameter holds them.
    ///
    /// # Errors
    /// As [`Scope::parse`]; [`ScopeError::TooLong`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ScopeError> {
        if text.len() > LONGEST {
            return Err(ScopeError::TooLong);
        }
        let scopes: Vec<Self> = text.split_ascii_whitespace().map(Self::parse).collect::<Result<_, _>>()?;
        if scopes.len() > MOST { Err(ScopeError::TooLong) } else { Ok(scopes) }
    }

    /// What a token must list for `access`; nothing for the ping. Pushing needs pulling too, as in distribution.
    #[must_use]
    pub fn needed(access: Access<'_>) -> Vec<Self> {
        let repository = |name: &crate::oci::RepositoryName, actions: &[&str]| Self {
            kind: "repository".to_owned(),
            class: None,
            name: name.to_string(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        };
        match access {
            Access::Ping => Vec::new(),
            Access::Catalog => vec![Self {
                kind: "registry".to_owned(),
                class: None,
                name: "catalog".to_owned(),
                actions: vec!["*".to_owned()],
            }],
            Access::Repository { name, action } => vec![repository(name, action.words())],
            Access::Mount { target, source } => {
                let mut scopes = vec![repository(target, Action::Push.words())];
                scopes.extend(source.filter(|source| *source != target).map(|name| repository(name, &["pull"])));
                if source.is_none() {
                    scopes.push(Self {
                        kind: "registry".to_owned(),
                        class: None,
                        name: "content".to_owned(),
                        actions: vec!["pull".to_owned()],
                    });
                }
                scopes
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(class) = &self.class {
            write!(f, "({class})")?;
        }
        write!(f, ":{}:{}", self.name, self.actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_that_clients_send_is_read() {
        let cases = [
            ("repository:a/b:pull,push", "repository", None, "a/b", vec!["pull", "push"]),
            ("repository:a:push,pull,pull", "repository", None, "a", vec!["push", "pull"]),
            ("registry:catalog:*", "registry", None, "catalog", vec!["*"]),
            ("repository(plugin):a:pull", "repository", Some("plugin"), "a", vec!["pull"]),
            ("repository:host:5000/a:pull", "repository", None, "host:5000/a", vec!["pull"]),
            ("repository:a:", "repository", None, "a", vec![]),
            ("repository:a:delete", "repository", None, "a", vec!["delete"]),
        ];
        for (text, kind, class, name, actions) in cases {
            let scope = Scope::parse(text).unwrap();
            assert_eq!(
                (scope.kind.as_str(), scope.class.as_deref(), scope.name.as_str()),
                (kind, class, name),
                "{text}"
            );
            assert_eq!(scope.actions, actions, "{text}");
        }
        assert_eq!(Scope::parse_list(" repository:a:pull  repository:b:push ").unwrap().len(), 2);
        assert_eq!(Scope::parse_list("").unwrap(), []);
    }

    #[test]
    fn what_is_no_scope_is_said_to_be_none() {
        for text in
            ["", "a", "a:b", ":a:pull", "repository::pull", "repository(x:a:pull", "repository:a\"b:pull", "é:a:b"]
        {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
        assert_eq!(Scope::parse_list(&"repository:a:pull ".repeat(101)), Err(ScopeError::TooLong));
        assert_eq!(Scope::parse_list(&"a".repeat(LONGEST + 1)), Err(ScopeError::TooLong));
    }

    #[test]
    fn a_mount_asks_for_both_repositories() {
        let (target, source) = ("a/b".parse().unwrap(), "c".parse().unwrap());
        let texts = |access| Scope::needed(access).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(
            texts(Access::Mount { target: &target, source: Some(&source) }),
            "repository:a/b:pull,push repository:c:pull"
        );
        assert_eq!(texts(Access::Mount { target: &target, source: Some(&target) }), "repository:a/b:pull,push");
        assert_eq!(texts(Access::Catalog), "registry:catalog:*");
        assert_eq!(texts(Access::Repository { name: &target, action: Action::Delete }), "repository:a/b:delete");
        assert_eq!(texts(Access::Ping), "");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_again(text in "\\PC{0,60}|repository(\\(p\\))?:[a-z/:]{1,9}:[a-z,*]{0,9}") {
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
            }
        }
    }
}
