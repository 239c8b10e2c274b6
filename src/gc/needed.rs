//! The content that something needs: the one thing of which a collection remembers every piece, so it has to be small.

use std::collections::HashSet;

use crate::storage::collection::Fingerprint;

/// Content by the first half of its fingerprint, nine bytes a piece rather than seventeen. Two that share it are both kept, so
/// nobody gains by making such two.
#[derive(Debug, Default)]
pub(super) struct Needed(HashSet<u64>);

impl Needed {
    /// Adds one.
    pub(super) fn insert(&mut self, content: Fingerprint) {
        self.0.insert(half(content));
    }

    /// Whether it was added, or one that cannot be told from it.
    pub(super) fn contains(&self, content: Fingerprint) -> bool {
        self.0.contains(&half(content))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The upper 64 of the 128 bits.
fn half(fingerprint: Fingerprint) -> u64 {
    u64::try_from(fingerprint >> 64).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_needed_and_little_else() {
        let mut needed = Needed::default();
        needed.insert(7 << 64);
        assert!(needed.contains(7 << 64) && needed.contains((7 << 64) + 1));
        assert!(!needed.contains(8 << 64) && !needed.contains(7));
        needed.insert((7 << 64) + 1);
        assert_eq!(needed.len(), 1);
    }
}
