//! The shape of a configuration: which keys there are and what kind of value each holds.
//!
//! Environment variables are resolved against it and unknown keys find their right place with it. What a value means,
//! and which is allowed, is said where the section is read; a test holds the two, and `config.example.yml`, together.

use super::shape_table::ROOT;

/// Kind of value.
#[derive(Debug)]
pub(super) enum Shape {
    /// One word, number or text.
    Value,
    /// Whatever its reader takes.
    Any,
    /// A section with these keys and no others.
    Section(&'static [Key]),
    /// A section with these keys, and others that only its reader knows.
    Open(&'static [Key]),
    /// A section whose keys people choose, such as header names.
    Names,
    /// A list.
    List(&'static Shape),
    /// No level of the file: what follows in a variable's name belongs to the section around it.
    Inline,
}

/// A key, as written in the file and in a variable's name.
#[derive(Debug)]
pub(super) struct Key {
    /// The name in the file.
    pub(super) name: &'static str,
    /// The name that distribution demands in a variable, where it is not the upper-cased key.
    pub(super) alias: Option<&'static str>,
    /// What it holds.
    pub(super) shape: Shape,
}

impl Key {
    /// Whether a part of a variable's name means this key.
    pub(super) fn is_named(&self, part: &str) -> bool {
        self.alias == Some(part) || self.name.to_ascii_uppercase() == part
    }
}

impl Shape {
    /// The keys known at this level.
    pub(super) fn keys(&self) -> &'static [Key] {
        match self {
            Self::Section(keys) | Self::Open(keys) => keys,
            Self::Value | Self::Any | Self::Names | Self::List(_) | Self::Inline => &[],
        }
    }
}

/// Every key with its path, in the order of the table. Items of lists are written as `[]`.
pub(super) fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    collect(&ROOT, "", &mut paths);
    paths
}

fn collect(shape: &'static Shape, prefix: &str, paths: &mut Vec<String>) {
    match shape {
        Shape::List(item) => collect(item, &format!("{prefix}[]"), paths),
        Shape::Section(keys) | Shape::Open(keys) => {
            for key in keys.iter().filter(|key| !matches!(key.shape, Shape::Inline)) {
                let path = if prefix.is_empty() { key.name.to_owned() } else { format!("{prefix}.{}", key.name) };
                paths.push(path.clone());
                collect(&key.shape, &path, paths);
            }
        }
        Shape::Value | Shape::Any | Shape::Names | Shape::Inline => {}
    }
}

/// The paths whose last key is `word`, whatever its case.
pub(super) fn paths_ending_in(word: &str) -> Vec<String> {
    let ends = |path: &String| path.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(word));
    paths().into_iter().filter(ends).collect()
}

/// The name of every variable that sets a key; the first item stands for all items of a list.
pub(super) fn variables() -> Vec<String> {
    let name = |path: String| format!("REGISTRY_{}", path.replace("[]", ".0").replace('.', "_").to_ascii_uppercase());
    paths().into_iter().map(name).collect()
}
