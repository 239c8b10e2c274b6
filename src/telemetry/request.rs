//! What travels in a request's and a response's extensions so that logs and metrics can name them.
//!
//! Plain values: this file writes nothing and counts nothing.

use std::net::SocketAddr;

/// Address of the peer of the connection a request came in by, in every request's extensions.
///
/// `None` on a unix socket. Behind a proxy this is the proxy; whom to believe about the client is a question for routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub Option<SocketAddr>);

/// The `handler` label of distribution's HTTP metrics. Routes put it into a response's extensions; a response without one
/// counts as [`Handler::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handler {
    /// `GET /v2/`.
    Base,
    /// Manifests.
    Manifest,
    /// Tag lists.
    Tags,
    /// Blobs.
    Blob,
    /// Start of an upload (`POST /v2/<name>/blobs/uploads/`).
    BlobUpload,
    /// An upload session under way.
    BlobUploadChunk,
    /// The catalog.
    Catalog,
    /// Referrers lists, which distribution does not have.
    Referrers,
    /// The token server, which distribution does not have.
    Token,
    /// Everything that is none of these.
    #[default]
    Other,
}

impl Handler {
    /// Every handler, in the order of [`Handler::index`].
    pub(crate) const ALL: [Self; 10] = [
        Self::Base,
        Self::Manifest,
        Self::Tags,
        Self::Blob,
        Self::BlobUpload,
        Self::BlobUploadChunk,
        Self::Catalog,
        Self::Referrers,
        Self::Token,
        Self::Other,
    ];

    /// The label's value, in distribution's spelling.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Manifest => "manifest",
            Self::Tags => "tags",
            Self::Blob => "blob",
            Self::BlobUpload => "blob_upload",
            Self::BlobUploadChunk => "blob_upload_chunk",
            Self::Catalog => "catalog",
            Self::Referrers => "referrers",
            Self::Token => "token",
            Self::Other => "other",
        }
    }

    /// Position in [`Handler::ALL`], where its counters are.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handler_finds_its_own_counters() {
        for (position, handler) in Handler::ALL.into_iter().enumerate() {
            assert_eq!(handler.index(), position, "{}", handler.label());
        }
    }
}
