//! One line of the process log in its three formats.
//!
//! Whatever a value holds, a line stays one line and sends no command to a terminal.

use std::fmt::Write;

use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Formatter;

/// A field's value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text, quoted where needed.
    Text(String),
    /// A number or a truth value.
    Plain(String),
}

/// A line in the making.
#[derive(Debug)]
pub(super) struct Line {
    time: String,
    level: &'static str,
    message: String,
    fields: Vec<(String, Value)>,
}

impl Line {
    pub(super) fn new(time: OffsetDateTime, level: &'static str, message: &str) -> Self {
        let time = time.format(&Rfc3339).unwrap_or_default();
        Self { time, level, message: message.to_owned(), fields: Vec::new() }
    }

    /// Adds a field; a later one of the same name replaces the value.
    pub(super) fn field(&mut self, name: &str, value: &Value) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.clone(),
            None => self.fields.push((name.to_owned(), value.clone())),
        }
    }

    /// The line with its end.
    pub(super) fn finish(self, formatter: Formatter) -> String {
        let mut line = match formatter {
            Formatter::Text => self.text(),
            Formatter::Json => self.json(["time", "level", "msg"], None),
            Formatter::Logstash => self.json(["@timestamp", "level", "message"], Some(("@version", "1"))),
        };
        line.push('\n');
        line
    }

    fn text(&self) -> String {
        let mut line = format!("time=\"{}\" level={} msg=", self.time, self.level);
        quote(&mut line, &self.message);
        for (name, value) in &self.fields {
            let _ = write!(line, " {name}=");
            match value {
                Value::Text(text) => quote(&mut line, text),
                Value::Plain(plain) => line.push_str(plain),
            }
        }
        line
    }

    fn json(self, [time, level, message]: [&str; 3], version: Option<(&str, &str)>) -> String {
        let mut object = Map::new();
        for (name, value) in self.fields {
            // As logrus does, a field that is named like one of ours gets out of its way.
            let name = if [time, level, message].contains(&name.as_str()) { format!("fields.{name}") } else { name };
            let value = match value {
                Value::Text(text) => Json::String(text),
                Value::Plain(plain) => serde_json::from_str(&plain).unwrap_or(Json::String(plain)),
            };
            object.insert(name, value);
        }
        object.insert(time.to_owned(), self.time.into());
        object.insert(level.to_owned(), self.level.into());
        object.insert(message.to_owned(), self.message.into());
        if let Some((name, value)) = version {
            object.insert(name.to_owned(), value.into());
        }
        Json::Object(object).to_string()
    }
}

/// Appends `text`, in quotes unless it is a plain word, with everything escaped that is not printable.
fn quote(line: &mut String, text: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() => _ = write!(line, "\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let mut line = Line::new(OffsetDateTime::UNIX_EPOCH, "info", "two\nlines \u{1b}[31m");
        line.field("empty", &Value::Text(String::new()));
        line.field("path", &Value::Text("/v2/a:b".to_owned()));
        line.field("level", &Value::Text("mine".to_owned()));
        line.field("count", &Value::Plain("7".to_owned()));
        line
    }

    #[test]
    fn text_is_logfmt_and_stays_on_its_line() {
        let expected = "time=\"1970-01-01T00:00:00Z\" level=info msg=\"two\\nlines \\u001b[31m\" empty=\"\" \
                        path=\"/v2/a:b\" level=mine count=7\n";
        assert_eq!(line().finish(Formatter::Text), expected);
    }

    #[test]
    fn json_keeps_types_and_our_own_names() {
        let text = line().finish(Formatter::Json);
        let object: Json = serde_json::from_str(&text).expect("JSON");
        assert_eq!(object["time"], "1970-01-01T00:00:00Z");
        assert_eq!(object["level"], "info");
        assert_eq!(object["fields.level"], "mine");
        assert_eq!(object["count"], 7);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn logstash_has_its_own_names() {
        let object: Json = serde_json::from_str(&line().finish(Formatter::Logstash)).expect("JSON");
        assert_eq!(object["@version"], "1");
        assert_eq!(object["@timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(object["message"], "two\nlines \u{1b}[31m");
    }
}
