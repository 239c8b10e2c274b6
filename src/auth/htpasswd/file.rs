//! The htpasswd file: a line `user:hash` for each user, blank lines and lines that begin with `#` between them. Pure.
//!
//! Only bcrypt hashes count, as in distribution; users with others cannot log in, and a warning names their line.

use std::borrow::Cow;
use std::collections::HashMap;

/// Highest cost of a hash: each step more doubles the time, and at this one a password takes about five seconds.
const HIGHEST_COST: u32 = 16;

/// A hash that belongs to nobody, from the cost on.
const NOBODY: &str = "abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

/// The users of a file.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<String, String>,
    /// The cost of each hash; unknown users are given one of them, so that nothing tells them from known ones.
    costs: Vec<u32>,
    problems: Vec<String>,
}

/// What a password is held against.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) hash: Cow<'a, str>,
    /// Whether the hash is that of a user, rather than nobody's.
    pub(super) known: bool,
}

impl Users {
    /// Reads a file's content; of a user on two lines the last counts, as in distribution.
    pub(super) fn read(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not text in UTF-8".to_owned())?;
        let mut users = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line
                .split_once(':')
                .ok_or_else(|| format!("line {number} has no colon; write user:hash as htpasswd -B does"))?;
            users.hashes.remove(user);
            match cost(hash) {
                Some(cost) if cost <= HIGHEST_COST => {
                    users.costs.push(cost);
                    users.hashes.insert(user.to_owned(), hash.to_owned());
                }
                Some(cost) => users.problems.push(format!(
                    "htpasswd line {number}: {user} cannot log in: a bcrypt cost of {cost} is above {HIGHEST_COST}; hash \
                     the password again"
                )),
                None => users.problems.push(format!(
                    "htpasswd line {number}: {user} cannot log in: only bcrypt hashes are taken; make one with htpasswd -B"
                )),
            }
        }
        Ok(users)
    }

    /// The entry of `user`, or one that costs as much and belongs to nobody. `choice` decides which cost that is.
    pub(super) fn entry(&self, user: &str, choice: usize) -> Entry<'_> {
        if let Some(hash) = self.hashes.get(user) {
            return Entry { hash: Cow::Borrowed(hash), known: true };
        }
        let at = choice.checked_rem(self.costs.len()).unwrap_or_default();
        let cost = self.costs.get(at).copied().unwrap_or(bcrypt::DEFAULT_COST);
        Entry { hash: Cow::Owned(format!("$2b${cost:02}${NOBODY}")), known: false }
    }

    /// What is wrong with single lines.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// The cost of a bcrypt hash; `None` for any other.
fn cost(hash: &str) -> Option<u32> {
    let rest = ["$2y$", "$2a$", "$2b$", "$2x$"].iter().find_map(|prefix| hash.strip_prefix(prefix))?;
    let (cost, digest) = rest.split_once('$')?;
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    let well_formed = cost.len() == 2 && digest.len() == 53 && digest.bytes().all(alphabet);
    let cost = cost.parse().ok().filter(|cost| (4..=31).contains(cost))?;
    well_formed.then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_distribution_reads_them() {
        let hash = |cost: u32| format!("$2y${cost:02}${NOBODY}");
        let text = format!(
            "# people\r\n\n  alice:{}  \nbob:{{SHA}}x\ncarl:{}\ndora:{}\nalice:{}\n:{}\n",
            hash(4),
            hash(17),
            hash(16),
            hash(5),
            hash(4)
        );
        let users = Users::read(text.as_bytes()).unwrap();
        assert_eq!(users.entry("alice", 0).hash, hash(5));
        assert!(users.entry("dora", 0).known && users.entry("", 0).known);
        assert!(!users.entry("bob", 0).known && !users.entry("carl", 0).known);
        let problems = users.problems().join("\n");
        assert!(problems.contains("line 4: bob cannot log in") && problems.contains("line 5: carl"), "{problems}");
        assert!(Users::read(b"alice").unwrap_err().contains("line 1"));
        assert!(Users::read(b"a:\xff").is_err());
    }

    #[test]
    fn a_user_whose_last_line_is_no_bcrypt_cannot_log_in_with_an_earlier_one() {
        let text = format!("a:$2y$04${NOBODY}\na:plain");
        assert!(!Users::read(text.as_bytes()).unwrap().entry("a", 0).known);
    }

    #[test]
    fn nobody_has_a_hash_that_can_be_verified_and_costs_what_others_cost() {
        let users = Users::read(format!("a:$2y$04${NOBODY}").as_bytes()).unwrap();
        let entry = users.entry("b", 77);
        assert!(entry.hash.starts_with("$2b$04$") && !entry.known);
        assert_eq!(bcrypt::verify("x", &entry.hash).map_err(|error| error.to_string()), Ok(false));
        assert!(Users::default().entry("b", 3).hash.starts_with("$2b$12$"));
    }

    proptest! {
        #[test]
        fn no_content_panics(content in "\\PC{0,40}|([a-z#]{0,3}:?\\$2[aby]\\$[0-9]{0,3}\\$?[./a-zA-Z0-9]{0,60}\n?){0,3}") {
            if let Ok(users) = Users::read(content.as_bytes()) {
                let _ = users.entry("a", 1);
            }
        }
    }
}
