//! What scrubbing finds: each with the place, what it means and the way out.

use std::fmt;

use serde::Serialize;

use super::{Problem, Severity};
use crate::oci::{Descriptor, Digest, RepositoryName};
use crate::storage::inspection::Thing;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing is wrong.
    pub problem: Problem,
    /// The repository it was found in, unless it concerns content alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What it was found at: `tag latest`, `manifest sha256:…`.
    pub at: String,
    /// Where that lies, relative to the root of the store.
    pub path: String,
    /// What was found.
    pub found: String,
    /// What comes of it.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Whether and how it was mended.
    pub mending: Mending,
    #[serde(skip)]
    pub(super) mend: Option<Mend>,
    /// The content it is about, where one is missing.
    #[serde(skip)]
    pub(super) part: Option<Digest>,
}

/// Whether a finding can be mended without guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mending {
    /// It cannot.
    ByHand,
    /// `--repair` does it.
    Possible,
    /// It was.
    Done,
}

/// A change that mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mend {
    /// The link must hold this digest.
    Link(Thing, Digest),
    /// The referrers index must list this under the subject.
    Entry(Digest, Box<Descriptor>),
    /// The object must go.
    Remove(Thing),
}

impl Finding {
    pub(super) fn of_content(problem: Problem, digest: &Digest, path: &impl fmt::Display, found: String) -> Self {
        let (meaning, remedy) = problem.words();
        Self {
            severity: problem.severity(),
            problem,
            repository: None,
            at: format!("content {digest}"),
            path: path.to_string(),
            found,
            meaning,
            remedy,
            mending: Mending::ByHand,
            mend: None,
            part: None,
        }
    }

    pub(super) fn foreign(repository: Option<&RepositoryName>, path: &impl fmt::Display) -> Self {
        let problem = Problem::ForeignName;
        let (meaning, remedy) = problem.words();
        Self {
            severity: problem.severity(),
            problem,
            repository: repository.map(ToString::to_string),
            at: "a foreign name".to_owned(),
            path: path.to_string(),
            found: "a name that is neither a digest nor a tag".to_owned(),
            meaning,
            remedy,
            mending: Mending::ByHand,
            mend: None,
            part: None,
        }
    }

    pub(super) fn of(problem: Problem, name: &RepositoryName, thing: &Thing, found: impl Into<String>) -> Self {
        let (meaning, remedy) = problem.words();
        Self {
            severity: problem.severity(),
            problem,
            repository: Some(name.to_string()),
            at: match thing {
                Thing::Layer(digest) => format!("link to blob {digest}"),
                Thing::Revision(digest) => format!("manifest {digest}"),
                Thing::Tag(tag) => format!("tag {tag}"),
                Thing::TagEntry(tag, digest) => format!("history of tag {tag}, {digest}"),
                Thing::Referrer { subject, referrer } => format!("referrer {referrer} of {subject}"),
            },
            path: thing.path(name).to_string(),
            found: found.into(),
            meaning,
            remedy,
            mending: Mending::ByHand,
            mend: None,
            part: None,
        }
    }

    pub(super) fn mended_by(self, mend: Mend) -> Self {
        Self { mending: Mending::Possible, mend: Some(mend), ..self }
    }

    pub(super) fn about(self, part: &Digest) -> Self {
        Self { part: Some(*part), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: ")?;
        if let Some(repository) = &self.repository {
            write!(f, "{repository}: ")?;
        }
        write!(f, "{}: {}", self.at, self.found)?;
        if self.mending == Mending::Done { f.write_str(" (mended)") } else { Ok(()) }
    }
}

/// What scrubbing looked at and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ScrubReport {
    /// Contents looked at: layers, configs and manifests' bytes.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Contents that were read and hashed.
    pub hashed: u64,
    /// Repositories.
    pub repositories: u64,
    /// Manifests, each repository's own.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// Links to blobs.
    pub layer_links: u64,
    /// Findings that are errors and were not mended.
    pub errors: u64,
    /// Findings that are warnings and were not mended.
    pub warnings: u64,
    /// Findings that were mended.
    pub mended: u64,
}
