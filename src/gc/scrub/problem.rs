//! The kinds of problems that scrubbing knows: how bad each is, what it means and the way out, in words for people.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Left over from something that ended early, or deliberate: no answer of the registry is wrong for it.
    Warning,
    /// Something stored cannot be handed out as it was pushed, or garbage collection stops at it.
    Error,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // Each is described by its own `meaning`.
pub enum Problem {
    ForeignName,
    Unreadable,
    EmptyLink,
    TornLink,
    MisleadingLink,
    WrongContent,
    DanglingTag,
    TagWithoutManifest,
    DanglingLayerLink,
    ContentMissing,
    NotAManifest,
    MediaTypeUnknown,
    BreaksRules,
    PartMissing,
    PartDamaged,
    PartOfOtherSize,
    ChildMissing,
    SparseChild,
    TagEntryMissing,
    TagEntryStale,
    TagEntryDamaged,
    ReferrerMissing,
    ReferrerDamaged,
    ReferrerStale,
}

impl Problem {
    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::ForeignName
            | Self::Unreadable
            | Self::EmptyLink
            | Self::TornLink
            | Self::MisleadingLink
            | Self::WrongContent
            | Self::DanglingTag
            | Self::ContentMissing
            | Self::NotAManifest
            | Self::MediaTypeUnknown
            | Self::PartMissing
            | Self::PartDamaged
            | Self::ChildMissing
            | Self::ReferrerMissing
            | Self::ReferrerDamaged => Severity::Error,
            Self::TagWithoutManifest
            | Self::DanglingLayerLink
            | Self::BreaksRules
            | Self::PartOfOtherSize
            | Self::SparseChild
            | Self::TagEntryMissing
            | Self::TagEntryStale
            | Self::TagEntryDamaged
            | Self::ReferrerStale => Severity::Warning,
        }
    }

    /// What comes of it, and what to do about it.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ForeignName => (
                "no registry puts such a name there; garbage collection stops at it, because more may be amiss",
                "look at what it is, and move it elsewhere",
            ),
            Self::Unreadable => (
                "the disk or the bucket has it and does not give it",
                "look at the cause that is named, and at the disk's own log",
            ),
            Self::EmptyLink | Self::TornLink | Self::MisleadingLink => (
                "a link file names the digest of what it stands for, and this one does not: what it stood for cannot be pulled",
                "push the image again; a tag may also be deleted",
            ),
            Self::WrongContent => (
                "the bytes are not those that were pushed, so every client refuses them",
                "push an image that has this blob again, to any repository: content that is pushed replaces what lies there",
            ),
            Self::DanglingTag => (
                "the tag points to a manifest that the repository does not have; garbage collection stops at it",
                "push the image again under this tag, or delete the tag",
            ),
            Self::TagWithoutManifest => (
                "a push under this tag ended early, or its deletion did; the tag is listed and cannot be pulled",
                "push under this tag again, or remove its directory",
            ),
            Self::DanglingLayerLink => {
                ("the link leads to content that has gone; no manifest needs it", "registry garbage-collect removes it")
            }
            Self::ContentMissing => (
                "the repository has the manifest by its link, but the manifest itself is gone; garbage collection stops at it",
                "push the image again, or delete the manifest by its digest",
            ),
            Self::NotAManifest => (
                "what is stored as a manifest is no JSON object; garbage collection stops at it",
                "delete the manifest by its digest",
            ),
            Self::MediaTypeUnknown => (
                "nothing says what type the manifest has, so it cannot be handed out",
                "push it again with its media type, or delete it by its digest",
            ),
            Self::BreaksRules => (
                "the manifest is handed out as it is; what it refers to was not looked at",
                "nothing, if its clients still understand it; otherwise push it anew in a current form",
            ),
            Self::PartMissing => ("the image cannot be pulled", "push the image again, or delete the manifest"),
            Self::PartDamaged => ("the image cannot be pulled", "push the image again"),
            Self::PartOfOtherSize => (
                "the content is whole, and whoever wrote the manifest gave it another size; some clients refuse that",
                "push the image again with a tool that tells sizes as they are",
            ),
            Self::ChildMissing => (
                "the index cannot be pulled for every platform it names",
                "push what is missing, or push an index without it",
            ),
            Self::SparseChild => (
                "the index names an image that was not pushed; the configuration allows that",
                "nothing, if that is deliberate",
            ),
            Self::TagEntryMissing => (
                "the history of the tag does not have what the tag points to; only distribution's garbage-collect reads it",
                "registry scrub --repair writes it",
            ),
            Self::TagEntryStale => (
                "the history of the tag names a manifest that was deleted; nobody minds",
                "registry scrub --repair removes the entry",
            ),
            Self::TagEntryDamaged => (
                "an entry in the history of the tag does not hold its digest; only distribution's garbage-collect reads it",
                "registry scrub --repair writes it",
            ),
            Self::ReferrerMissing => (
                "the referrers index counts the manifest as seen but does not list it: signatures and the like are not found",
                "registry scrub --repair lists it",
            ),
            Self::ReferrerDamaged => (
                "the entry of the referrers index is not what the manifest says: it is not found, or described wrongly",
                "registry scrub --repair makes it anew from the manifest",
            ),
            Self::ReferrerStale => (
                "the referrers index lists what is not there or is about something else; it is not shown",
                "registry scrub --repair removes the entry",
            ),
        }
    }
}
