//! The readers of single values, as methods of [`Field`]: each reports what it cannot read and then gives `None`.
//!
//! Must not know any key; the bounds come with the call.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::scalar;
use super::section::Field;
use super::tree::Value;

/// Below this a bare number of nanoseconds was almost surely meant in seconds.
const DOUBTFUL: Duration = Duration::from_millis(1);

impl Field<'_> {
    /// Any single word or text.
    pub(super) fn text(&self) -> Option<String> {
        match &self.node.value {
            Value::Scalar(text) => Some(text.clone()),
            _ => self.expected("a single value", "write it on the same line as the key"),
        }
    }

    /// Text that is not empty; an empty one counts as absent, as it does in distribution.
    pub(super) fn word(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty())
    }

    /// A path of a file or directory.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.word().map(PathBuf::from)
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.scalar().and_then(scalar::boolean);
        value.or_else(|| self.expected("true or false", "yes, no, on and off are understood too"))
    }

    /// A whole number of any size that fits.
    pub(super) fn integer(&self) -> Option<i64> {
        let value = self.scalar().and_then(scalar::integer);
        value.or_else(|| self.expected("a whole number", "write digits only"))
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let value = self.integer()?;
        match T::try_from(value) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.out_of_range(&range),
        }
    }

    /// A size in bytes within `range`.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Option<u64> {
        match self.scalar().and_then(scalar::bytes) {
            Some(size) if range.contains(&size) => Some(size),
            Some(_) => self.out_of_range(&range),
            None => self.expected("a size in bytes", "write a whole number, alone or with KiB, MiB or GiB"),
        }
    }

    /// A duration, zero included.
    pub(super) fn duration(&self) -> Option<Duration> {
        let Some(duration) = self.scalar().and_then(scalar::duration) else {
            return self.expected("a duration", "write a number and a unit, such as 30s, 5m or 168h");
        };
        let bare = self.scalar().is_some_and(|text| scalar::integer(text).is_some());
        if bare && !duration.is_zero() && duration < DOUBTFUL {
            self.warn(format_args!("{0} without a unit means {0} nanoseconds; write {0}s for seconds", self.node));
        }
        Some(duration)
    }

    /// A duration longer than zero.
    pub(super) fn period(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            return self.expected("a duration longer than zero", "leave the key out for its default");
        }
        Some(duration)
    }

    /// One of a few words, whatever their case.
    pub(super) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if let Some((_, value)) = found {
            return Some(value.clone());
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
        let hint = match scalar::nearest(&text, words.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "leave the key out for its default".to_owned(),
        };
        self.expected(one_of(&words), hint)
    }

    /// A list of words.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        Some(self.list()?.iter().filter_map(Field::word).collect())
    }

    /// `host:port`.
    pub(super) fn host_and_port(&self) -> Option<String> {
        let text = self.word()?;
        match scalar::host_and_port(&text) {
            Ok(()) => Some(text),
            Err(reason) => self.expected(
                format_args!("host:port ({reason})"),
                "write for example 127.0.0.1:5000, [::1]:5000, or :5000 for every address",
            ),
        }
    }

    fn scalar(&self) -> Option<&str> {
        match &self.node.value {
            Value::Scalar(text) => Some(text.trim()),
            _ => None,
        }
    }

    fn out_of_range<T, U: Display>(&self, range: &RangeInclusive<U>) -> Option<T> {
        let (low, high) = (range.start(), range.end());
        let what = if low.to_string().starts_with('-') {
            format!("a number up to {high}")
        } else {
            format!("a number from {low} to {high}")
        };
        self.expected(what, "leave the key out for its default")
    }
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
