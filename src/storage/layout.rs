//! The layout on disk and in buckets: exactly distribution's, plus what we add where it never looks.
//!
//! The only place that makes a [`StoragePath`], and only from validated words: nothing outside the root can be named.

use std::fmt;

use crate::oci::{Algorithm, Digest, RepositoryName, Tag};

/// Everything lies below this prefix, in every driver.
const ROOT: &str = "docker/registry/v2";

/// A path below the driver's root: components joined by `/`, none of them empty, `.` or `..`, no leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoragePath(String);

impl StoragePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh path in the same directory, of a form that listings of ours and of distribution take for no object.
    pub(in crate::storage) fn temporary_beside(&self) -> Self {
        Self(format!("{}.{}.tmp", self.0, uuid::Uuid::new_v4()))
    }

    /// The path of what a listing of the directory `self` names `below`.
    pub(in crate::storage) fn listed(&self, below: &str) -> Self {
        Self(format!("{}/{below}", self.0))
    }

    /// What comes after the directory `directory` and its `/`; `None` for a path that lies elsewhere.
    pub(in crate::storage) fn below(&self, directory: &Self) -> Option<&str> {
        self.0.strip_prefix(directory.as_str())?.strip_prefix('/')
    }

    /// For the contract suite and drivers' own tests, which need paths that mean nothing.
    #[cfg(test)]
    pub(crate) fn for_test(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The content named by `digest`: layers, configs and manifests alike.
pub(super) fn blob_data(digest: &Digest) -> StoragePath {
    StoragePath(format!("{ROOT}/blobs/{}", on_shelf(digest)))
}

/// Where content lies below what holds all content: on one of 256 shelves.
fn on_shelf(digest: &Digest) -> String {
    let hex = digest.hex();
    let shelf = hex.get(..2).unwrap_or_default();
    format!("{}/{shelf}/{hex}/data", digest.algorithm())
}

/// Below which every repository lies, or those whose names begin with the components of `parent`.
pub(super) fn repositories(parent: &str) -> StoragePath {
    if parent.is_empty() {
        StoragePath(format!("{ROOT}/repositories"))
    } else {
        StoragePath(format!("{ROOT}/repositories/{parent}"))
    }
}

/// Below which the content of one algorithm lies, on shelves named after the first two digits.
pub(super) fn blobs(algorithm: Algorithm) -> StoragePath {
    StoragePath(format!("{ROOT}/blobs/{algorithm}"))
}

/// Below which all content lies.
pub(super) fn all_blobs() -> StoragePath {
    StoragePath(format!("{ROOT}/blobs"))
}

/// Ours: what collectors announce, one object for each part of each epoch, so that one listing tells everything.
pub(super) fn epochs() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/epochs"))
}

/// Ours: one part of what a collector announces. Both are single components made by `collection`.
pub(super) fn epoch_part(epoch: &str, part: &str) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/epochs/{epoch}.{part}"))
}

/// Ours: what writers ask a collector to spare.
pub(super) fn revived(epoch: &str) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/revived/{epoch}"))
}

/// Ours: a sign of life of the collector that announced the epoch, or of the `successor`-th that took it over.
pub(super) fn collector(epoch: &str, successor: usize) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/collectors/{epoch}.{successor}"))
}

/// Ours: which replica does the collection of one time of the schedule.
pub(super) fn round(at: u64) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/rounds/{at}"))
}

/// Ours: all of these.
pub(super) fn rounds() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/rounds"))
}

/// Ours: the repositories that had tags at the last collection.
pub(super) fn tagged_repositories() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/tagged"))
}

/// Ours: which share of a large store is tidied next.
pub(super) fn tidied() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/tidied"))
}

/// Ours: the lock of a collector that works on `what`, which is an epoch or a single word.
pub(super) fn collector_lock(what: &str) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/locks/{what}"))
}

/// Ours: what collection removed and may be put back, in one directory for each epoch.
pub(super) fn bins() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/bin"))
}

/// Ours: everything of one epoch that may be put back.
pub(super) fn bin(epoch: &str) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/bin/{epoch}"))
}

/// Ours: one part of that besides content: `list` or `keep`.
pub(super) fn bin_part(epoch: &str, part: &str) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/bin/{epoch}/{part}"))
}

/// Ours: content that may be put back.
pub(super) fn bin_data(epoch: &str, digest: &Digest) -> StoragePath {
    StoragePath(format!("{ROOT}/gc/bin/{epoch}/{}", on_shelf(digest)))
}

/// Ours: the link to a blob that was removed from the repository `name`.
pub(super) fn bin_link(epoch: &str, name: &RepositoryName, digest: &Digest) -> StoragePath {
    let (algorithm, hex) = (digest.algorithm(), digest.hex());
    StoragePath(format!("{ROOT}/gc/bin/{epoch}/repositories/{name}/_layers/{algorithm}/{hex}/link"))
}

/// Ours: written to be told the time by the store's own clock.
pub(super) fn bin_clock() -> StoragePath {
    StoragePath(format!("{ROOT}/gc/bin/clock"))
}

/// Paths below one repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct RepositoryPaths<'a>(pub(super) &'a RepositoryName);

impl RepositoryPaths<'_> {
    fn below(self, rest: fmt::Arguments<'_>) -> StoragePath {
        StoragePath(format!("{ROOT}/repositories/{}/{rest}", self.0))
    }

    /// The repository itself.
    pub(super) fn directory(self) -> StoragePath {
        repositories(self.0.as_str())
    }

    /// One directory for each blob of the repository that has a digest of this algorithm.
    pub(super) fn layers(self, algorithm: Algorithm) -> StoragePath {
        self.below(format_args!("_layers/{algorithm}"))
    }

    /// Every link to a blob.
    pub(super) fn all_layers(self) -> StoragePath {
        self.below(format_args!("_layers"))
    }

    /// Every manifest and every tag.
    pub(super) fn manifests(self) -> StoragePath {
        self.below(format_args!("_manifests"))
    }

    /// Says that the blob belongs to the repository; holds the digest under which the content lies.
    pub(super) fn layer_link(self, digest: &Digest) -> StoragePath {
        self.below(format_args!("_layers/{}/{}/link", digest.algorithm(), digest.hex()))
    }

    /// Says that the manifest belongs to the repository; holds its digest.
    pub(super) fn revision_link(self, digest: &Digest) -> StoragePath {
        self.below(format_args!("_manifests/revisions/{}/{}/link", digest.algorithm(), digest.hex()))
    }

    /// Ours: the media type a manifest was pushed as, where its bytes do not tell.
    pub(super) fn revision_media_type(self, digest: &Digest) -> StoragePath {
        self.below(format_args!("_manifests/revisions/{}/{}/media-type", digest.algorithm(), digest.hex()))
    }

    /// One directory for each manifest of the repository that has a digest of this algorithm.
    pub(super) fn revisions(self, algorithm: Algorithm) -> StoragePath {
        self.below(format_args!("_manifests/revisions/{algorithm}"))
    }

    /// Every manifest, in one directory for each algorithm.
    pub(super) fn all_revisions(self) -> StoragePath {
        self.below(format_args!("_manifests/revisions"))
    }

    /// One directory for each tag.
    pub(super) fn tags(self) -> StoragePath {
        self.below(format_args!("_manifests/tags"))
    }

    /// Everything of one tag.
    pub(super) fn tag(self, tag: &Tag) -> StoragePath {
        self.below(format_args!("_manifests/tags/{tag}"))
    }

    /// What a tag points to.
    pub(super) fn tag_link(self, tag: &Tag) -> StoragePath {
        self.below(format_args!("_manifests/tags/{tag}/current/link"))
    }

    /// One link for each manifest that a tag ever pointed to.
    pub(super) fn tag_index_link(self, tag: &Tag, digest: &Digest) -> StoragePath {
        self.below(format_args!("_manifests/tags/{tag}/index/{}/{}/link", digest.algorithm(), digest.hex()))
    }

    /// One directory for each upload session.
    pub(super) fn uploads(self) -> StoragePath {
        self.below(format_args!("_uploads"))
    }

    /// Everything of one upload session, ours or distribution's. `id` is one component of a listing or a UUID.
    pub(super) fn upload(self, id: &str) -> StoragePath {
        self.below(format_args!("_uploads/{id}"))
    }

    /// The bytes of an upload session.
    pub(super) fn upload_data(self, id: &str) -> StoragePath {
        self.below(format_args!("_uploads/{id}/data"))
    }

    /// When distribution began an upload session.
    pub(super) fn upload_started_at(self, id: &str) -> StoragePath {
        self.below(format_args!("_uploads/{id}/startedat"))
    }

    /// Ours: the referrers index.
    pub(super) fn all_referrers(self) -> StoragePath {
        self.below(format_args!("_referrers"))
    }

    /// Ours: one directory for each referrer of `subject` that has a digest of `algorithm`.
    pub(super) fn referrers(self, subject: &Digest, algorithm: Algorithm) -> StoragePath {
        self.below(format_args!("_referrers/{}/{}/{algorithm}", subject.algorithm(), subject.hex()))
    }

    /// Ours: holds the descriptor of a referrer.
    pub(super) fn referrer(self, subject: &Digest, referrer: &Digest) -> StoragePath {
        self.below(format_args!(
            "_referrers/{}/{}/{}/{}/link",
            subject.algorithm(),
            subject.hex(),
            referrer.algorithm(),
            referrer.hex()
        ))
    }

    /// Ours: the manifests that the referrers index has looked at.
    pub(super) fn referrers_record(self) -> StoragePath {
        self.below(format_args!("_referrers/indexed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_distributions() {
        let name: RepositoryName = "library/busybox".parse().unwrap();
        let tag: Tag = "1.0".parse().unwrap();
        let hex = "ab".repeat(32);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        let repository = RepositoryPaths(&name);
        let root = "docker/registry/v2";
        let base = format!("{root}/repositories/library/busybox");
        for (path, expected) in [
            (blob_data(&digest), format!("{root}/blobs/sha256/ab/{hex}/data")),
            (repository.layer_link(&digest), format!("{base}/_layers/sha256/{hex}/link")),
            (repository.revision_link(&digest), format!("{base}/_manifests/revisions/sha256/{hex}/link")),
            (repository.tag_link(&tag), format!("{base}/_manifests/tags/1.0/current/link")),
            (repository.tag_index_link(&tag, &digest), format!("{base}/_manifests/tags/1.0/index/sha256/{hex}/link")),
            (repository.upload_data("x"), format!("{base}/_uploads/x/data")),
        ] {
            assert_eq!(path.as_str(), expected);
        }
    }
}
