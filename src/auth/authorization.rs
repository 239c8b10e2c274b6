//! The `Authorization` header: Basic (RFC 7617) and Bearer (RFC 6750), as far as clients of registries use them. Pure.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Longest header that is looked at, in bytes: tokens with a chain of certificates are the longest there are.
const LONGEST: usize = 64 * 1024;

/// Longest user name and longest password, in bytes.
const LONGEST_WORD: usize = 4 * 1024;

/// What a request shows.
#[derive(PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// No header.
    Nothing,
    /// A user's name and password.
    Basic {
        /// May be empty.
        user: String,
        /// May be empty, and may hold colons.
        password: String,
    },
    /// A token, not looked at yet.
    Bearer(&'a str),
    /// A header that cannot be understood.
    Malformed,
}

impl<'a> Presented<'a> {
    /// Takes an empty name with an empty password for nothing: podman and skopeo say so when they have no credentials and
    /// are asked for some.
    pub(super) fn or_nothing(self) -> Self {
        match self {
            Self::Basic { user, password } if user.is_empty() && password.is_empty() => Self::Nothing,
            shown => shown,
        }
    }

    /// Reads a header's value. Schemes are told apart whatever their case.
    pub(super) fn read(header: Option<&'a str>) -> Self {
        let Some(header) = header else { return Self::Nothing };
        if header.len() > LONGEST {
            return Self::Malformed;
        }
        let Some((scheme, value)) = header.trim().split_once(' ') else { return Self::Malformed };
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") && is_token(value) {
            Self::Bearer(value)
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic(value).unwrap_or(Self::Malformed)
        } else {
            Self::Malformed
        }
    }
}

fn basic(value: &str) -> Option<Presented<'static>> {
    let decoded = STANDARD.decode(value).or_else(|_| STANDARD_NO_PAD.decode(value)).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    fits(user, password).then(|| Presented::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// Whether these can be a user's name and password at all.
pub(super) fn fits(user: &str, password: &str) -> bool {
    [user, password].iter().all(|word| word.len() <= LONGEST_WORD && !word.contains('\0'))
}

/// RFC 6750's `b64token`.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(header: &str) -> Option<(String, String)> {
        match Presented::read(Some(header)) {
            Presented::Basic { user, password } => Some((user, password)),
            _ => None,
        }
    }

    fn encoded(text: impl AsRef<[u8]>) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn passwords_hold_colons_and_letters_of_every_script() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(words(&encoded("alice:a:b:")), pair("alice", "a:b:"));
        assert_eq!(words(&encoded("jörg:пароль")), pair("jörg", "пароль"));
        assert_eq!(words(&encoded(":")), pair("", ""));
        assert_eq!(words("bAsIc YTpi"), pair("a", "b"));
        assert_eq!(words("Basic  YTo= "), pair("a", ""));
        assert_eq!(words("Basic YTo"), pair("a", ""));
    }

    #[test]
    fn what_cannot_be_understood_is_not_taken_for_nothing() {
        let long = encoded(format!("a:{}", "b".repeat(LONGEST_WORD + 1)));
        let dots = format!("Bearer {}", ".".repeat(LONGEST));
        let cases = [
            "",
            " ",
            "Basic",
            "Basic ",
            "Basic %%%",
            "Basic YWxpY2U=",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer é",
            "Digest a",
            "Negotiate YTpi",
            &encoded(b"a:\xff"),
            &encoded("a:b\0c"),
            &long,
            &dots,
        ];
        for header in cases {
            let presented = Presented::read(Some(header));
            assert!(matches!(presented, Presented::Malformed), "{}", header.chars().take(40).collect::<String>());
        }
        assert!(matches!(Presented::read(None), Presented::Nothing));
        assert!(matches!(Presented::read(Some("bearer a.b.c")), Presented::Bearer("a.b.c")));
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "\\PC{0,80}|(Basic|Bearer) [A-Za-z0-9+/=._-]{0,80}") {
            let _ = Presented::read(Some(&header));
        }
    }
}
