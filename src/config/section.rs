//! Reading a section: keys are taken one by one, and what nobody took at the end is an unknown key.
//!
//! Problems are collected, so that one run shows all of them. Must not know any key.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use super::error::{Place, Problem, Warning};
use super::scalar::nearest;
use super::shape;
use super::tree::{Entry, Node, Value};

/// Most problems of one kind that are listed.
pub(super) const MAX_PROBLEMS: usize = 100;

/// What was found while reading; shared by all sections of one document.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Report {
    /// Records a problem.
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Records a warning.
    pub(super) fn warning(&self, warning: Warning) {
        self.warnings.borrow_mut().push(warning);
    }

    /// All that was recorded: what is missing, then by line, then what is wrong with variables.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Warning>) {
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        problems.sort_by_key(|problem| order(&problem.place));
        warnings.sort_by_key(|warning| order(&warning.place));
        (problems, warnings)
    }
}

fn order(place: &Place) -> (u8, usize, usize) {
    match place {
        Place::Document(_) => (0, 0, 0),
        Place::Line { line, column, .. } => (1, *line, *column),
        Place::Environment(_) => (2, 0, 0),
    }
}

/// A mapping being read. Call [`Section::finish`] when every key that is known was asked for.
#[derive(Debug)]
pub(super) struct Section<'a> {
    entries: &'a [Entry],
    place: Place,
    path: String,
    asked: RefCell<Vec<&'a str>>,
    all_taken: Cell<bool>,
    report: &'a Report,
}

/// A value that is there, with the key it was found under.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// The value.
    pub(super) node: &'a Node,
    /// The key's place, or the item's in a list.
    pub(super) place: &'a Place,
    /// The key alone; empty for the item of a list.
    pub(super) key: &'a str,
    /// The key with dots from the root.
    pub(super) path: String,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The whole document. Anything but a mapping is a problem; nothing at all is an empty one.
    pub(super) fn root(node: &'a Node, name: Place, report: &'a Report) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            Value::Scalar(_) | Value::Sequence(_) => {
                let message = format!("expected keys and values, found {}", describe(node));
                let hint = Some("begin with the line version: 0.1".to_owned());
                report.problem(Problem { place: node.place.clone(), path: String::new(), message, hint });
                return None;
            }
        };
        Some(Self {
            entries,
            place: name,
            path: String::new(),
            asked: RefCell::default(),
            all_taken: Cell::default(),
            report,
        })
    }

    /// Takes a key. `None` when it is absent or has no value.
    pub(super) fn field(&self, key: &'a str) -> Option<Field<'a>> {
        self.present(key).filter(|field| field.node.value != Value::Null)
    }

    /// Takes a key, with or without a value.
    pub(super) fn present(&self, key: &'a str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.field_of(entry))
    }

    /// Takes a key and reads its value; a value that cannot be read is reported by `read` and is `None` here.
    pub(super) fn get<T>(&self, key: &'a str, read: impl FnOnce(&Field<'a>) -> Option<T>) -> Option<T> {
        self.field(key).and_then(|field| read(&field))
    }

    /// Takes a key that holds a section.
    pub(super) fn section(&self, key: &'a str) -> Option<Section<'a>> {
        self.get(key, Field::section)
    }

    /// Takes every key that was not asked for, as in sections whose keys are names that people choose.
    pub(super) fn rest(&self) -> Vec<Field<'a>> {
        self.all_taken.set(true);
        self.entries.iter().filter(|entry| !self.was_asked(&entry.key)).map(|entry| self.field_of(entry)).collect()
    }

    /// Where a key of this section is written; the section's own place when it is not.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entries.iter().find(|entry| entry.key == key).map_or(&self.place, |entry| &entry.place).clone()
    }

    /// The full path of a key of this section.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a key of this section that is wrong, or missing.
    pub(super) fn problem(&self, key: &str, message: impl Display, hint: impl Display) {
        self.report.problem(Problem {
            place: self.place_of(key),
            path: self.path_of(key),
            message: message.to_string(),
            hint: Some(hint.to_string()),
        });
    }

    /// Warns about a key of this section.
    pub(super) fn warn(&self, key: &str, message: impl Display) {
        let (place, path) = (self.place_of(key), self.path_of(key));
        self.report.warning(Warning { place, path, message: message.to_string() });
    }

    /// Reports every key that nobody asked for, up to a number that nobody reads to the end.
    pub(super) fn finish(self) {
        if self.all_taken.get() {
            return;
        }
        for entry in self.entries.iter().filter(|entry| !self.was_asked(&entry.key)).take(MAX_PROBLEMS) {
            self.report.problem(Problem {
                place: entry.place.clone(),
                path: self.path_of(&entry.key),
                message: "unknown key".to_owned(),
                hint: Some(self.way_out(&entry.key)),
            });
        }
    }

    /// What may have been meant by an unknown key.
    fn way_out(&self, key: &str) -> String {
        let mut asked = self.asked.borrow().clone();
        if let Some(meant) = nearest(key, asked.iter().copied()) {
            return format!("did you mean {}?", self.path_of(meant));
        }
        // A key of another part of the same top section was meant; from the top level, the one at the least depth.
        let top = self.path.split('.').next().filter(|top| !top.is_empty());
        let mut elsewhere = shape::paths_ending_in(key);
        elsewhere.retain(|path| top.is_none_or(|top| path.split('.').next() == Some(top)));
        let least = elsewhere.iter().map(|path| path.matches('.').count()).min();
        elsewhere.retain(|path| Some(path.matches('.').count()) == least);
        elsewhere.truncate(2);
        if !elsewhere.is_empty() {
            return format!("there is {}", elsewhere.join(" and "));
        }
        if asked.is_empty() {
            return "this section has no keys".to_owned();
        }
        asked.sort_unstable();
        asked.dedup();
        format!("the keys known here are {}", asked.join(", "))
    }

    fn was_asked(&self, key: &str) -> bool {
        self.asked.borrow().contains(&key)
    }

    fn field_of(&self, entry: &'a Entry) -> Field<'a> {
        Field {
            node: &entry.node,
            place: &entry.place,
            key: &entry.key,
            path: self.path_of(&entry.key),
            report: self.report,
        }
    }
}

impl<'a> Field<'a> {
    /// Reports that this value is wrong.
    pub(super) fn problem(&self, message: impl Display, hint: impl Display) {
        self.report.problem(Problem {
            place: self.place.clone(),
            path: self.path.clone(),
            message: message.to_string(),
            hint: Some(hint.to_string()),
        });
    }

    /// Reports that another kind of value belongs here. Always `None`, to end a reader with.
    pub(super) fn expected<T>(&self, what: impl Display, hint: impl Display) -> Option<T> {
        self.problem(format_args!("expected {what}, found {}", describe(self.node)), hint);
        None
    }

    /// Warns about this value.
    pub(super) fn warn(&self, message: impl Display) {
        let message = message.to_string();
        self.report.warning(Warning { place: self.place.clone(), path: self.path.clone(), message });
    }

    /// Reads a mapping. A key without a value is an empty one.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        let entries: &[Entry] = match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            Value::Scalar(_) | Value::Sequence(_) => {
                return self.expected("a section", "write its keys below it, indented by two spaces");
            }
        };
        let (place, path) = (self.place.clone(), self.path.clone());
        Some(Section {
            entries,
            place,
            path,
            asked: RefCell::default(),
            all_taken: Cell::default(),
            report: self.report,
        })
    }

    /// Reads a list; items without a value are left out.
    pub(super) fn list(&self) -> Option<Vec<Field<'a>>> {
        let items = match &self.node.value {
            Value::Sequence(items) => items,
            Value::Scalar(word) => return self.expected("a list", format_args!("write [{word}]")),
            Value::Null | Value::Mapping(_) => return self.expected("a list", "write its items as - item, one a line"),
        };
        let item = |(index, node): (usize, &'a Node)| Field {
            node,
            place: &node.place,
            key: "",
            path: format!("{}[{index}]", self.path),
            report: self.report,
        };
        Some(items.iter().enumerate().filter(|(_, node)| node.value != Value::Null).map(item).collect())
    }
}

/// A value as a message shows it: short, and quoted when it is a word.
pub(super) fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a section".to_owned(),
        Value::Scalar(text) if text.chars().count() > 60 => {
            format!("\"{}…\"", text.chars().take(60).collect::<String>().escape_debug())
        }
        Value::Scalar(text) => format!("\"{}\"", text.escape_debug()),
    }
}
