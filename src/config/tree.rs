//! A configuration as a tree whose every node knows where it was written.
//!
//! Scalars keep their text; what it means is decided by the key that reads it, as the type is known only there.

use std::fmt;

use super::error::Place;

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where the value begins.
    pub(super) place: Place,
    /// The value.
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: the key is there, its value is not. Read as if the key were absent.
    Null,
    /// A word, number or text.
    Scalar(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in the order written.
    Mapping(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key is written.
    pub(super) place: Place,
    /// Its value.
    pub(super) node: Node,
}

/// How much a subtree holds, to bound what aliases may multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes of text, with a fixed charge for each node.
    pub(super) weight: usize,
    /// Levels, 1 for a scalar.
    pub(super) depth: usize,
}

/// Charge for a node besides its text.
pub(super) const NODE_WEIGHT: usize = 32;

impl Node {
    /// The value under `key`, when this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The keys, when this is a mapping.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let entries: &[Entry] = match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        };
        entries.iter().map(|entry| entry.key.as_str())
    }

    /// Weight and depth. Recursion is bounded by the depth that the parser allows.
    pub(super) fn measure(&self) -> Measure {
        let join = |sum: Measure, part: Measure, text: usize| Measure {
            weight: sum.weight.saturating_add(part.weight).saturating_add(text),
            depth: sum.depth.max(part.depth + 1),
        };
        let alone = Measure { weight: NODE_WEIGHT, depth: 1 };
        match &self.value {
            Value::Null => alone,
            Value::Scalar(text) => Measure { weight: NODE_WEIGHT + text.len(), ..alone },
            Value::Sequence(items) => items.iter().fold(alone, |sum, item| join(sum, item.measure(), 0)),
            Value::Mapping(entries) => {
                entries.iter().fold(alone, |sum, entry| join(sum, entry.node.measure(), entry.key.len()))
            }
        }
    }

    /// Turns a bare word into a section with that one key: `storage: inmemory` means `storage: {inmemory: }`.
    pub(super) fn bare_word_to_section(&mut self) {
        if let Value::Scalar(word) = &self.value {
            let nothing = Self { place: self.place.clone(), value: Value::Null };
            let entry = Entry { key: word.clone(), place: self.place.clone(), node: nothing };
            self.value = Value::Mapping(vec![entry]);
        }
    }
}

/// The value in YAML's one-line form, for messages and for log fields that hold more than a word.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => Ok(()),
            Value::Scalar(text) => f.write_str(text),
            Value::Sequence(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{item}")?;
                }
                f.write_str("]")
            }
            Value::Mapping(entries) => {
                f.write_str("{")?;
                for (index, Entry { key, node, .. }) in entries.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{key}: {node}")?;
                }
                f.write_str("}")
            }
        }
    }
}
