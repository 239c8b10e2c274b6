//! How a refusal reads: the reason for the person, the challenge for the client (RFC 9110 §11.6.1, and what
//! distribution's token documentation adds).

use std::fmt::Write;
use std::sync::Arc;

use super::{CertificateProblem, Rejection, Scope};

/// Why access is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Whoever asks has not proven who they are, or may try again with a wider token.
    #[error("{reason}")]
    Unauthorized {
        /// What is missing.
        reason: Unproven,
        /// How to come back.
        challenge: Box<Challenge>,
    },
    /// Known, and not allowed; asking again changes nothing.
    #[error("{user} may not {action} {place}; ask the registry's operator for the right to")]
    Denied {
        /// Who.
        user: Arc<str>,
        /// What.
        action: &'static str,
        /// The repository, or what else it was about.
        place: String,
        /// The access rule that decided, counted from 1, for the log alone; `None` where none fits.
        rule: Option<usize>,
    },
    /// Too many passwords are being looked at.
    #[error("too many passwords are being verified at once; try again in a moment")]
    Busy,
}

/// What a proof lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// There is none.
    #[error("authentication is required: log in with docker login or your client's counterpart")]
    Missing,
    /// It cannot be understood.
    #[error("the Authorization header cannot be understood: one header is needed, Basic or Bearer")]
    Malformed,
    /// Nobody has this name and password. Which of the two is wrong is not told.
    #[error("the user name or the password is wrong")]
    Password,
    /// The password is right, and its time is over.
    #[error("the robot account {robot} expired on {on}; ask the registry's operator for another")]
    Expired {
        /// Its name.
        robot: Arc<str>,
        /// When, RFC 3339.
        on: String,
    },
    /// The client certificate does not tell whose it is, and nothing else was shown.
    #[error("the client certificate does not say who you are: {0}")]
    Certificate(CertificateProblem),
    /// The token is not good.
    #[error("the token is not accepted: {0}; log in again")]
    Token(Rejection),
    /// The token is good and does not list what is asked for.
    #[error("the token does not allow this: {0} is needed")]
    Scope(String),
    /// Nobody in particular may not do this; somebody may.
    #[error("{0} is not for everybody: log in with docker login or your client's counterpart")]
    Anonymous(String),
    /// This way is not one of those configured.
    #[error("this registry does not take {0} credentials; its challenge tells what it takes")]
    Way(&'static str),
}

impl Refusal {
    /// The access rule that refuses.
    pub(super) fn rule(&self) -> Option<usize> {
        if let Self::Denied { rule, .. } = self { *rule } else { None }
    }

    /// Who is refused, when that is proven.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Denied { user, .. } | Self::Unauthorized { reason: Unproven::Expired { robot: user, .. }, .. } => {
                Some(user)
            }
            Self::Unauthorized { .. } | Self::Busy => None,
        }
    }
}

/// What a client is told about how to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// By name and password.
    Basic {
        /// What for, for people.
        realm: Arc<str>,
    },
    /// By a token.
    Bearer {
        /// Where to get one.
        realm: Realm,
        /// Whom it is for.
        service: Arc<str>,
        /// What it must list; empty when that is nothing.
        scopes: Vec<Scope>,
        /// `invalid_token` or `insufficient_scope`, when a token was shown.
        error: Option<&'static str>,
    },
}

/// The address of a token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realm {
    /// As configured.
    Fixed(Arc<str>),
    /// A path on whatever host the client calls this registry.
    Here {
        /// Absolute.
        path: Arc<str>,
    },
    /// The token server in this program.
    Own {
        /// Absolute, below the registry's prefix.
        path: Arc<str>,
    },
}

/// From where a challenge's realm is reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealmBase {
    /// `scheme://host` as the client sees it.
    Origin,
    /// The address by which clients know this registry: `http.host`, or the origin and the prefix.
    Registry,
}

impl Challenge {
    /// What [`Challenge::header`] needs to know besides.
    #[must_use]
    pub fn realm_base(&self) -> RealmBase {
        match self {
            Self::Bearer { realm: Realm::Own { .. }, .. } => RealmBase::Registry,
            _ => RealmBase::Origin,
        }
    }

    /// The value of `WWW-Authenticate`. `base` is what [`Challenge::realm_base`] asks for, without a slash at its end.
    #[must_use]
    pub fn header(&self, base: Option<&str>) -> String {
        let mut header = String::with_capacity(160);
        match self {
            Self::Basic { realm } => {
                header.push_str("Basic realm=");
                quote(&mut header, realm);
            }
            Self::Bearer { realm, service, scopes, error } => {
                header.push_str("Bearer realm=");
                match realm {
                    Realm::Fixed(address) => quote(&mut header, address),
                    Realm::Here { path } | Realm::Own { path } => {
                        quote(&mut header, &format!("{}{path}", base.unwrap_or_default()));
                    }
                }
                header.push_str(",service=");
                quote(&mut header, service);
                if !scopes.is_empty() {
                    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
                    header.push_str(",scope=");
                    quote(&mut header, &scopes.join(" "));
                }
                if let Some(error) = error {
                    // Writing to a String cannot fail.
                    let _ = write!(header, ",error=\"{error}\"");
                }
            }
        }
        header
    }
}

/// RFC 9110's quoted-string; what it cannot hold is left out.
fn quote(header: &mut String, text: &str) {
    header.push('"');
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if letter == '"' || letter == '\\' {
            header.push('\\');
        }
        header.push(letter);
    }
    header.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(scopes: &str, error: Option<&'static str>) -> Challenge {
        let scopes = Scope::parse_list(scopes).unwrap();
        Challenge::Bearer {
            realm: Realm::Here { path: "/auth/token".into() },
            service: "r.example".into(),
            scopes,
            error,
        }
    }

    #[test]
    fn challenges_read_as_clients_parse_them() {
        assert_eq!(
            bearer("repository:a/b:pull,push repository:c:pull", Some("insufficient_scope")).header(Some("https://r")),
            "Bearer realm=\"https://r/auth/token\",service=\"r.example\",\
             scope=\"repository:a/b:pull,push repository:c:pull\",error=\"insufficient_scope\""
        );
        assert_eq!(bearer("", None).header(None), "Bearer realm=\"/auth/token\",service=\"r.example\"");
    }

    #[test]
    fn a_realm_cannot_end_its_quotes() {
        let challenge = Challenge::Basic { realm: "a\"b\\c\r\nd".into() };
        assert_eq!(challenge.header(None), r#"Basic realm="a\"b\\cd""#);
    }
}
