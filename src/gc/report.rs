//! What a collection tells: events while it goes on, and a report at its end.

use serde::Serialize;

use crate::oci::{Digest, RepositoryName};
use crate::storage::collection::Key;

/// Something that happened, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A repository is being marked.
    Repository(&'a RepositoryName),
    /// A manifest is needed.
    Manifest(&'a RepositoryName, &'a Digest),
    /// A blob is needed.
    Blob(&'a RepositoryName, &'a Digest),
    /// The first mark is over: so much is needed, and so much is not.
    Marked {
        /// Contents that are needed.
        needed: usize,
        /// What is not.
        eligible: &'a Tally,
    },
    /// Nothing needs this.
    Eligible(&'a Key),
    /// Writers were told what is condemned, and are given time to object.
    Announced {
        /// How many things are condemned.
        condemned: usize,
    },
    /// Requests to remove something went unanswered, and nothing may end before they certainly cannot arrive any more.
    WaitingForRequests(std::time::Duration),
    /// So many things are being removed.
    Sweeping {
        /// How many.
        doomed: usize,
    },
}

/// How much of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Manifests.
    pub manifests: u64,
    /// Links of blobs to repositories.
    pub layer_links: u64,
    /// Contents: layers, configs and manifests' bytes.
    pub blobs: u64,
    /// Bytes of these contents.
    pub bytes: u64,
}

impl Tally {
    /// Counts one more.
    pub(super) fn count(&mut self, key: &Key, bytes: u64) {
        match key {
            Key::Revision(..) => self.manifests += 1,
            Key::Link(..) => self.layer_links += 1,
            Key::Blob(_) => {
                self.blobs += 1;
                self.bytes += bytes;
            }
        }
    }
}

/// What of the removed things can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Kept {
    /// Bytes of content that are kept.
    pub bytes: u64,
    /// Until when, in seconds since 1970 by the store's clock; `None` when nothing is kept.
    pub until: Option<u64>,
    /// Why not everything is kept, where the operator could not know.
    pub not_kept: Option<NotKept>,
}

/// Why something that was removed cannot be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// The file system has little room left.
    ShortOfSpace,
    /// It lay on another file system than what is kept.
    OtherFileSystem,
}

/// What a collection did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Repositories looked at.
    pub repositories: u64,
    /// Contents stored when it began, and their bytes.
    pub stored: u64,
    /// See `stored`.
    pub stored_bytes: u64,
    /// Contents that something needs.
    pub needed: u64,
    /// What nothing needed at the first mark.
    pub eligible: Tally,
    /// What was removed.
    pub removed: Tally,
    /// What of that can be put back.
    pub kept: Kept,
    /// Bytes freed of what earlier collections had removed and kept.
    pub emptied_bytes: u64,
    /// Things that were condemned and spared, because somebody pushed what needs them.
    pub spared: u64,
    /// Upload sessions and unfinished writes that were given up.
    pub uploads: u64,
    /// Half-written files of processes that died, removed.
    pub leftovers: u64,
    /// Epochs of collectors that died, finished for them.
    pub recovered: u64,
    /// More is left than one run takes in: run again.
    pub more: bool,
}
