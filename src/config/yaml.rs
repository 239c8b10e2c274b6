//! YAML text to a tree, with anchors, aliases and merge keys resolved and their growth bounded.
//!
//! The only file that knows the YAML parser. Accepts what Go's yaml.v2 accepts of a registry's configuration, except
//! that a key written twice in one mapping is an error. <https://yaml.org/type/merge.html> for merge keys.

use std::collections::HashMap;
use std::fmt::Display;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::error::{Place, Problem};
use super::section::MAX_PROBLEMS;
use super::tree::{Entry, NODE_WEIGHT, Node, Value};

/// Levels of nesting; a registry's configuration has six.
const MAX_DEPTH: usize = 64;

/// Weight of the finished tree, aliases counted each time they are used.
const MAX_WEIGHT: usize = 32 * 1024 * 1024;

/// Reads one YAML document.
///
/// `locate` turns a line and a column, both from 1, into a place. Empty text is a null. A syntax error ends reading;
/// every duplicate key is reported.
pub(super) fn parse(text: &str, locate: &dyn Fn(usize, usize) -> Place) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder::new(locate);
    let options = granit_parser::options! { emit_comments: false };
    for step in Parser::new_from_str_with_options(text, options) {
        let outcome = match step {
            Ok((event, span)) => builder.accept(event, &span),
            Err(error) => {
                let place = locate(error.marker().line(), error.marker().col() + 1);
                Err(problem(place, format!("not YAML: {}", error.info())))
            }
        };
        let readable = outcome.is_ok();
        builder.problems.extend(outcome.err());
        if !readable || builder.problems.len() >= MAX_PROBLEMS {
            return Err(builder.problems);
        }
    }
    if builder.problems.is_empty() {
        let nothing = Node { place: locate(1, 1), value: Value::Null };
        Ok(builder.root.unwrap_or(nothing))
    } else {
        Err(builder.problems)
    }
}

fn problem(place: Place, message: impl Display) -> Problem {
    Problem { place, path: String::new(), message: message.to_string(), hint: None }
}

/// A collection that has begun and not ended.
struct Frame {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(Box<Pairs>),
}

#[derive(Default)]
struct Pairs {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    merged: Vec<Node>,
    key: Option<Key>,
}

enum Key {
    Word(String, Place),
    Merge,
}

struct Builder<'a> {
    locate: &'a dyn Fn(usize, usize) -> Place,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    weight: usize,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn new(locate: &'a dyn Fn(usize, usize) -> Place) -> Self {
        Self { locate, frames: Vec::new(), anchors: HashMap::new(), root: None, weight: 0, problems: Vec::new() }
    }

    fn accept(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let place = (self.locate)(span.start.line(), span.start.col() + 1);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(problem(place, "a second document begins here; a configuration is one document"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(NODE_WEIGHT + text.len(), 1, &place)?;
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_text;
                if plain && text == "<<" && self.expects_key() {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                let value = if plain && is_null(&text) { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.complete(Node { place, value }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.open(place, anchor, Content::Mapping(Box::default())),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(problem(place, "an alias stands inside the value that it names"));
                };
                let measure = target.measure();
                self.charge(measure.weight, measure.depth, &place)?;
                self.complete(target, 0)
            }
            _ => Ok(()),
        }
    }

    /// Accounts for a subtree about to be added, before it costs anything more.
    fn charge(&mut self, weight: usize, depth: usize, place: &Place) -> Result<(), Problem> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            return Err(problem(place.clone(), "aliases multiply this text beyond all measure; write it out"));
        }
        if self.frames.len() + depth > MAX_DEPTH {
            return Err(problem(place.clone(), format!("nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Problem> {
        self.charge(NODE_WEIGHT, 1, &place)?;
        self.frames.push(Frame { place, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Frame { place, anchor, content }) = self.frames.pop() else { return Ok(()) };
        let value = match content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping(pairs) => Value::Mapping(merge(*pairs)?),
        };
        self.complete(Node { place, value }, anchor)
    }

    /// Puts a finished node where it belongs: into the collection that is open, or at the root.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            let measure = node.measure();
            self.charge(measure.weight, measure.depth, &node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping(pairs)) => match pairs.key.take() {
                None => pairs.key = Some(key_from(node)?),
                Some(Key::Merge) => pairs.merged.push(node),
                Some(Key::Word(key, place)) => self.problems.extend(pairs.insert(Entry { key, place, node })),
            },
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Mapping(pairs), .. }) if pairs.key.is_none())
    }

    fn set_key(&mut self, key: Key) {
        if let Some(Frame { content: Content::Mapping(pairs), .. }) = self.frames.last_mut() {
            pairs.key = Some(key);
        }
    }
}

impl Pairs {
    /// Adds an entry, or says where its key was written before.
    fn insert(&mut self, entry: Entry) -> Option<Problem> {
        if let Some(first) = self.index.get(&entry.key).and_then(|at| self.entries.get(*at)) {
            let message = format!("the key {} is written twice in one section, first at {}", entry.key, first.place);
            let hint = Some("keep one of the two".to_owned());
            return Some(Problem { place: entry.place, path: String::new(), message, hint });
        }
        self.index.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
        None
    }
}

fn key_from(node: Node) -> Result<Key, Problem> {
    match node.value {
        Value::Scalar(word) => Ok(Key::Word(word, node.place)),
        Value::Null => Ok(Key::Word(String::new(), node.place)),
        Value::Sequence(_) | Value::Mapping(_) => Err(problem(node.place, "a key must be a word, not a collection")),
    }
}

/// Adds what `<<` brings in; keys written in the mapping itself win, then the sources in their order.
fn merge(mut pairs: Pairs) -> Result<Vec<Entry>, Problem> {
    for source in std::mem::take(&mut pairs.merged) {
        let parts = match source.value {
            Value::Sequence(items) => items,
            value => vec![Node { place: source.place, value }],
        };
        for part in parts {
            let Value::Mapping(entries) = part.value else {
                return Err(problem(part.place, "<< takes a mapping, or a list of mappings"));
            };
            for entry in entries {
                if !pairs.index.contains_key(&entry.key) {
                    pairs.insert(entry);
                }
            }
        }
    }
    Ok(pairs.entries)
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::Arc;

    use super::*;

    fn read(text: &str) -> Result<Node, String> {
        let locate = |line, column| Place::Line { file: Arc::from("f"), line, column };
        parse(text, &locate).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn shown(text: &str) -> String {
        read(text).unwrap().to_string()
    }

    #[test]
    fn reads_what_registry_configurations_contain() {
        assert_eq!(shown("a: 1\nb:\n  - x\n  - {y: 'z'}\n"), "{a: 1, b: [x, {y: z}]}");
        assert_eq!(shown("addr: :5000\nv: 0.1\n"), "{addr: :5000, v: 0.1}");
        assert_eq!(shown("---\na: b\n...\n"), "{a: b}");
        assert_eq!(shown("\u{feff}a: b\n"), "{a: b}");
        assert_eq!(shown("a: b\r\nc: d\r\n"), "{a: b, c: d}");
        assert_eq!(shown("headers:\n  X-A: [nosniff]\nlist:\n- a\n- b\n"), "{headers: {X-A: [nosniff]}, list: [a, b]}");
        assert_eq!(shown("text: |\n  one\n  two\n"), "{text: one\ntwo\n}");
        assert_eq!(shown("a: ^https?://[^/]*\\.example\\.com/"), "{a: ^https?://[^/]*\\.example\\.com/}");
    }

    #[test]
    fn reads_what_people_write_by_hand() {
        let cases = [
            ("a : b   # why\n", "{a: b}"),
            ("a: {b: c,}\nd: [e,]\n", "{a: {b: c}, d: [e]}"),
            ("a: one\n  two\n", "{a: one two}"),
            ("a: \"one\n  two\"\n", "{a: one two}"),
            ("a: !!int '5'\n", "{a: 5}"),
            ("a: b # c\n\n\n# end", "{a: b}"),
            ("a: pass#word\n", "{a: pass#word}"),
            ("a: it's\n", "{a: it's}"),
            ("'a': 'it''s'\n", "{a: it's}"),
            ("a: >-\n  one\n  two\n", "{a: one two}"),
            ("{\"a\": {\"b\": [1, true]}}", "{a: {b: [1, true]}}"),
            ("a:\n- b: c\n  d: e\n- f\n", "{a: [{b: c, d: e}, f]}"),
            ("a: -1\nb: ?x\nc: :x\n", "{a: -1, b: ?x, c: :x}"),
            ("%YAML 1.1\n---\na: b\n", "{a: b}"),
            ("a: b\t\n", "{a: b}"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_ref().map(ToString::to_string), Ok(expected.to_owned()), "{text}");
        }
        let commented = format!("a: b\n{}c: d\n", "# words\n".repeat(500));
        assert_eq!(shown(&commented), "{a: b, c: d}");
    }

    #[test]
    fn a_missing_value_is_null_and_a_quoted_one_is_not() {
        let node = read("a:\nb: ~\nc: ''\nd: !!str null\n").unwrap();
        assert_eq!(node.get("a").unwrap().value, Value::Null);
        assert_eq!(node.get("b").unwrap().value, Value::Null);
        assert_eq!(node.get("c").unwrap().value, Value::Scalar(String::new()));
        assert_eq!(node.get("d").unwrap().value, Value::Scalar("null".to_owned()));
    }

    #[test]
    fn merge_keys_bring_in_what_is_not_written() {
        assert_eq!(shown("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"), "{x: {a: 1, b: 2}, y: {b: 3, a: 1}}");
        assert_eq!(
            shown("x: &x {a: 1}\ny: &y {a: 2, c: 3}\nz: {<<: [*x, *y]}\n").split("z: ").nth(1),
            Some("{a: 1, c: 3}}")
        );
        assert!(read("x: &x 1\ny: {<<: *x}\n").unwrap_err().contains("takes a mapping"));
    }

    #[test]
    fn a_key_written_twice_names_both_lines() {
        let text = read("a: 1\nb: 2\na: 3\nb: 4\n").unwrap_err();
        assert!(text.contains("f:3:1: the key a is written twice in one section, first at f:1:1"), "{text}");
        assert!(text.contains("f:4:1: the key b"), "{text}");
    }

    #[test]
    fn places_are_lines_and_columns_from_one() {
        let node = read("a:\n  b: c\n").unwrap();
        assert_eq!(node.get("a").unwrap().get("b").unwrap().place.to_string(), "f:2:6");
    }

    #[test]
    fn growth_is_bounded() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        let mut chain = "a0: &a0 x\n".to_owned();
        for level in 1..100 {
            let below = format!("*a{}", level - 1);
            let ten = [below.as_str(); 10].join(", ");
            writeln!(bomb, "a{level}: &a{level} [{ten}]").unwrap();
            writeln!(chain, "a{level}: &a{level} [{below}]").unwrap();
        }
        assert!(read(&bomb).unwrap_err().contains("beyond all measure"));
        assert!(read(&chain).unwrap_err().contains("levels deep"));
        assert!(read(&("[".repeat(100) + &"]".repeat(100))).unwrap_err().contains("levels deep"));
        assert!(read("a: &a [*a]\n").is_err());
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        assert!(read("a: 1\n---\nb: 2\n").unwrap_err().contains("second document"));
        assert!(read("a: b: c\n").unwrap_err().contains("not YAML"));
        assert!(read("a: *nowhere\n").is_err());
        assert!(read("? [a]\n: b\n").unwrap_err().contains("must be a word"));
    }
}
