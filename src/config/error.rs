//! What can be wrong with a configuration, said so that a person finds the line and the way out.
//!
//! Must not know any key: the files that read a section word their own problems.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a configuration was not loaded. Its text is meant for the person who wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}\n  name an existing file, or none for the built-in defaults", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any configuration, so it is probably something else.
    #[error("{}: is larger than {limit} bytes, which no configuration is\n  check the path", path.display())]
    TooLarge {
        /// The file that was asked for.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
    },
    /// The file is not UTF-8.
    #[error("{}: is not UTF-8 text (first wrong byte at offset {offset})\n  save the file as UTF-8", path.display())]
    NotText {
        /// The file that was asked for.
        path: PathBuf,
        /// Offset in bytes of the first byte that is not UTF-8.
        offset: usize,
    },
    /// The text was read and is wrong. Every problem found is listed, one paragraph each.
    #[error("{}", Paragraphs(.0))]
    Invalid(Vec<Problem>),
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, both numbers counted from 1.
    Line {
        /// The file as it was named.
        file: Arc<str>,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// A whole document, when something is missing from it.
    Document(Arc<str>),
    /// An environment variable.
    Environment(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Document(name) => f.write_str(name),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written.
    pub place: Place,
    /// The key, with dots: `http.limits.connections`; empty for the text as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_located(f, &self.place, &self.path, &self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

/// Something that was accepted but does not do what its writer may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it is written.
    pub place: Place,
    /// The key, with dots; empty when the place says it all.
    pub path: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_located(f, &self.place, &self.path, &self.message)
    }
}

fn write_located(f: &mut fmt::Formatter<'_>, place: &Place, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() { write!(f, "{place}: {message}") } else { write!(f, "{place}: {path}: {message}") }
}

struct Paragraphs<'a>(&'a [Problem]);

impl fmt::Display for Paragraphs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
