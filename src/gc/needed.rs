//! The content that something needs: the one thing of which a first look remembers every piece, so it has to be small. A
//! second look remembers of it what was condemned.

use std::collections::HashSet;

use crate::storage::collection::{Fingerprint, Fingerprints, Key, fingerprint};

/// Content by the first half of its fingerprint, nine bytes a piece rather than seventeen. Two that share it are both kept, so
/// nobody gains by making such two.
#[derive(Debug, Default)]
pub(super) struct Needed {
    content: HashSet<u64>,
    /// The only content that anybody will ask for, where that is known.
    asked: Option<HashSet<u64>>,
}

impl Needed {
    /// Nothing yet, and nothing ever but content that is in `condemned`.
    pub(super) fn among(condemned: &Condemned) -> Self {
        Self { content: HashSet::new(), asked: Some(condemned.content.clone()) }
    }

    /// Adds one.
    pub(super) fn insert(&mut self, content: Fingerprint) {
        let content = half(content);
        if self.asked.as_ref().is_none_or(|asked| asked.contains(&content)) {
            self.content.insert(content);
        }
    }

    /// Whether it was added, or one that cannot be told from it.
    pub(super) fn contains(&self, content: Fingerprint) -> bool {
        self.content.contains(&half(content))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }
}

/// What an epoch condemned.
#[derive(Debug)]
pub(super) struct Condemned {
    keys: Fingerprints,
    content: HashSet<u64>,
}

impl Condemned {
    /// All of `list`.
    pub(super) fn of(list: &[(Key, u64)]) -> Self {
        let content = list.iter().filter_map(|(key, _)| match key {
            Key::Blob(digest) => Some(half(fingerprint(digest))),
            Key::Revision(..) | Key::Link(..) => None,
        });
        Self { keys: list.iter().map(|(key, _)| key.fingerprint()).collect(), content: content.collect() }
    }

    /// Whether `key` is of it.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(&key.fingerprint())
    }
}

/// The upper 64 of the 128 bits.
fn half(fingerprint: Fingerprint) -> u64 {
    u64::try_from(fingerprint >> 64).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    #[test]
    fn what_was_added_is_needed_and_little_else() {
        let mut needed = Needed::default();
        needed.insert(7 << 64);
        assert!(needed.contains(7 << 64) && needed.contains((7 << 64) + 1));
        assert!(!needed.contains(8 << 64) && !needed.contains(7));
        needed.insert((7 << 64) + 1);
        assert_eq!(needed.len(), 1);
    }

    #[test]
    fn of_what_is_condemned_only_content_is_asked_for() {
        let [condemned, other, manifest] = [b"a", b"b", b"c"].map(|c| Hasher::digest(Algorithm::Sha256, c));
        let revision = Key::Revision("a".parse().unwrap(), manifest);
        let list = Condemned::of(&[(Key::Blob(condemned), 1), (revision.clone(), 0)]);
        assert!(list.contains(&Key::Blob(condemned)) && list.contains(&revision));
        assert!(!list.contains(&Key::Blob(other)) && !list.contains(&Key::Blob(manifest)));
        let mut needed = Needed::among(&list);
        assert!(!needed.contains(fingerprint(&condemned)), "nothing was added");
        for digest in [condemned, other, manifest] {
            needed.insert(fingerprint(&digest));
        }
        assert!(needed.contains(fingerprint(&condemned)));
        assert_eq!(needed.len(), 1);
    }
}
