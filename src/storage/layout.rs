//! The layout on disk and in buckets: exactly distribution's, plus what we add where it never looks.
//!
//! The only place that makes a [`StoragePath`], and only from validated words: nothing outside the root can be named.

use std::fmt;

/// A path below the driver's root: components joined by `/`, none of them empty, `.` or `..`, no leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoragePath(String);

impl StoragePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of `name` below this one. Listings give such names; drivers refuse to list any that is not one component.
    pub(in crate::storage) fn join(&self, name: &str) -> Self {
        debug_assert!(!name.is_empty() && name != "." && name != ".." && !name.starts_with('/'));
        Self(format!("{}/{name}", self.0))
    }

    /// For the contract suite and drivers' own tests, which need paths that mean nothing.
    #[cfg(test)]
    pub(in crate::storage) fn for_test(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
