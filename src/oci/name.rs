//! Repository names, tags and references: distribution-spec, "Pulling manifests".

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Digest, Error};

/// A repository name: lower-case components joined by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// Longest repository name, in characters; what clients allow for host and name together.
const LONGEST_NAME: usize = 255;

/// Longest tag, in characters.
const LONGEST_TAG: usize = 128;

impl RepositoryName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() <= LONGEST_NAME && text.split('/').all(is_component) {
            Ok(Self(text.into()))
        } else {
            Err(Error::RepositoryName(Error::quoted(text)))
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let Some(after_word) = strip_run(rest, word) else { return false };
        if after_word.is_empty() {
            return true;
        }
        let after_separator = ["__", "_", "."]
            .iter()
            .find_map(|separator| after_word.strip_prefix(separator))
            .or_else(|| strip_run(after_word, |c| c == '-'));
        match after_separator {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

/// What follows the longest run of characters that satisfy `wanted`; `None` when the run is empty.
fn strip_run(text: &str, wanted: impl Fn(char) -> bool) -> Option<&str> {
    let rest = text.trim_start_matches(wanted);
    (rest.len() < text.len()).then_some(rest)
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which clients without a referrers API list the referrers of `subject`: distribution-spec,
    /// "Referrers Tag Schema". The algorithm is cut to 32 and the encoded part to 64 characters.
    #[must_use]
    pub fn referrers_fallback(subject: &Digest) -> Self {
        let encoded: String = subject.hex().chars().take(64).collect();
        Self(format!("{}-{encoded}", subject.algorithm()).into())
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = text.bytes().next().is_some_and(word);
        let rest = text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if first && rest && text.len() <= LONGEST_TAG {
            Ok(Self(text.into()))
        } else {
            Err(Error::Tag(Error::quoted(text)))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may be moved.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // A tag has no colon, so whoever writes one means a digest and gets the digest's error.
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in ["a", "library/busybox", "a-b", "a--b", "a__b", "a_b", "a.b", "0/1/2", "a/b-c.d_e__f---g"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good:?} was refused");
        }
        let overlong = "a".repeat(256);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a.",
            ".a",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "_a",
            "a_",
            "a._b",
            "a b",
            "a/../b",
            "..",
            "ä",
            "a%2fb",
            "a\0",
            "_uploads",
            "a/_layers",
            "localhost:5000/a",
            &overlong,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let longest = "a".repeat(128);
        for good in ["latest", "_", "1.0", "A-b_c.d", longest.as_str()] {
            assert!(good.parse::<Tag>().is_ok(), "{good:?} was refused");
        }
        let overlong = "a".repeat(129);
        for bad in ["", ".a", "-a", "a b", "a/b", "a:b", "ä", "a\n", "a%00", overlong.as_str()] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn fallback_tags_are_cut_as_the_specification_says() {
        let sha512: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(Tag::referrers_fallback(&sha512).as_str(), format!("sha512-{}", "ab".repeat(32)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_specifications_expression(text in "[a-c0_./-]{0,12}") {
            let expression = regex::Regex::new(r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$").unwrap();
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), expression.is_match(&text));
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = text.parse::<RepositoryName>();
            let _ = text.parse::<Tag>();
            let _ = text.parse::<Reference>();
        }
    }
}
