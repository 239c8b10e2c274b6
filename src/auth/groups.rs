//! Groups of users, from the configuration or from a file: a line `group: member member` for each. Pure.
//!
//! The file is Apache's: members are divided by blanks, a group may go on on further lines, and lines that begin with `#`
//! are not read.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Groups and their members.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<String, HashSet<String>>);

impl Groups {
    /// The groups of `auth.groups`.
    pub(super) fn of(listed: &BTreeMap<String, Vec<String>>) -> Self {
        let members = |members: &Vec<String>| members.iter().cloned().collect();
        Self(listed.iter().map(|(group, listed)| (group.clone(), members(listed))).collect())
    }

    /// Reads a file's content.
    pub(super) fn read(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not text in UTF-8".to_owned())?;
        let mut groups = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (group, members) = line
                .split_once(':')
                .filter(|(group, _)| !group.trim().is_empty())
                .ok_or_else(|| format!("line {number} names no group; write group: alice bob"))?;
            let known = groups.0.entry(group.trim().to_owned()).or_default();
            known.extend(members.split_whitespace().map(str::to_owned));
        }
        Ok(groups)
    }

    /// Whether there is such a group, even without members.
    pub(super) fn knows(&self, group: &str) -> bool {
        self.0.contains_key(group)
    }

    /// Whether `user` is in `group`.
    pub(super) fn has(&self, group: &str, user: &str) -> bool {
        self.0.get(group).is_some_and(|members| members.contains(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_apache_reads_them() {
        let text = "# who\r\n\nops: olga  otto\ndev:alice\n dev : bob\nempty:\n";
        let groups = Groups::read(text.as_bytes()).unwrap();
        for (group, user) in [("ops", "olga"), ("ops", "otto"), ("dev", "alice"), ("dev", "bob")] {
            assert!(groups.has(group, user), "{group} {user}");
        }
        assert!(groups.knows("empty") && !groups.knows("who"));
        assert!(!groups.has("ops", "alice") && !groups.has("empty", "") && !groups.has("none", "olga"));
    }

    #[test]
    fn a_line_without_a_group_is_told_by_its_number() {
        assert!(Groups::read(b"a: b\nalice bob").unwrap_err().contains("line 2"));
        assert!(Groups::read(b": b").is_err());
        assert!(Groups::read(b"a: \xff").is_err());
    }

    proptest! {
        #[test]
        fn no_content_panics(content in "\\PC{0,60}") {
            let _ = Groups::read(content.as_bytes());
        }
    }
}
