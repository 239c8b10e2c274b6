//! How a refusal reads: the reason for the person, the challenge for the client (RFC 9110 §11.6.1, and what
//! distribution's token documentation adds).

use std::fmt::Write;
use std::sync::Arc;

use super::{Rejection, Scope};

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
    /// The token is not good.
    #[error("the token is not accepted: {0}; log in again")]
    Token(Rejection),
    /// The token is good and does not list what is asked for.
    #[error("the token does not allow this: {0} is needed")]
    Scope(String),
    /// This way is not one of those configured.
    #[error("this registry does not take {0} credentials; its challenge tells what it takes")]
    Way(&'static str),
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
}

impl Challenge {
    /// The value of `WWW-Authenticate`. `origin` is `scheme://host` as the client sees it, for [`Realm::Here`].
    #[must_use]
    pub fn header(&self, origin: Option<&str>) -> String {
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
                    Realm::Here { path } => quote(&mut header, &format!("{}{path}", origin.unwrap_or_default())),
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
