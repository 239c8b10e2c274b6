//! Why the registry refuses or fails: one variant for each thing a client or an operator has to tell apart.

use thiserror::Error;

use crate::oci::{Digest, ManifestError, Reference, RepositoryName};
use crate::storage;

use super::UploadSession;

/// A refusal or a failure of the registry's rules.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing was ever pushed to the repository.
    #[error("repository {0} is not known to this registry")]
    NameUnknown(RepositoryName),
    /// The repository has no such manifest.
    #[error("repository {name} has no manifest {reference}")]
    ManifestUnknown {
        /// Where it was looked for.
        name: RepositoryName,
        /// What was looked for.
        reference: Reference,
    },
    /// The repository has no such blob.
    #[error("repository {name} has no blob {digest}")]
    BlobUnknown {
        /// Where it was looked for.
        name: RepositoryName,
        /// What was looked for.
        digest: Digest,
    },
    /// The upload session does not exist: never begun, finished, cancelled or purged.
    #[error("this upload session does not exist any more; begin a new one")]
    UploadUnknown,
    /// The session's state was not issued by this registry for this session.
    #[error("the state of this upload session is not valid: {0}")]
    UploadStateInvalid(&'static str),
    /// Another request is at work on the session.
    #[error("another request is writing to this upload session")]
    UploadBusy,
    /// The chunk does not begin where the session ends.
    #[error("the chunk does not begin at offset {}, where the upload stands", session.length)]
    UploadOutOfOrder {
        /// The session as it stands, so that the client can go on from there.
        session: Box<UploadSession>,
    },
    /// The body has another length than its `Content-Range` says.
    #[error("the chunk has {received} bytes but its Content-Range says {expected}")]
    ChunkLength {
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        received: u64,
    },
    /// The uploaded bytes are not what the digest names.
    #[error("the content's digest is {computed}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What was received.
        computed: Digest,
    },
    /// The client stopped sending before the body was complete.
    #[error("the request body ended early: {0}")]
    BodyInterrupted(String),
    /// More bytes than a blob may have here.
    #[error("a blob may have at most {limit} bytes here")]
    BlobTooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// More bytes than a manifest may have here.
    #[error("a manifest may have at most {limit} bytes here")]
    ManifestTooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// The document is not a manifest that can be stored.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest refers to content that the repository lacks.
    #[error("the manifest refers to content that is not in {name}: push it first")]
    ReferencesUnknown {
        /// The repository pushed to.
        name: RepositoryName,
        /// What is missing.
        missing: Vec<Digest>,
    },
    /// A layer that lies elsewhere has a URL that the configuration does not allow.
    #[error("the layer {digest} has a URL that validation.manifests.urls does not allow: {url:?}")]
    LayerUrlRefused {
        /// The layer.
        digest: Digest,
        /// The URL, shortened.
        url: String,
    },
    /// The configuration keeps artifacts of this class out (`policy.repository.classes`).
    #[error("policy.repository.classes does not allow a manifest whose config is {config}")]
    ClassDenied {
        /// The config's media type.
        config: String,
    },
    /// `storage.delete.enabled` is off.
    #[error("deleting is disabled; set storage.delete.enabled to true to allow it")]
    DeletionDisabled,
    /// `storage.maintenance.readonly` is on.
    #[error("this registry is in read-only mode")]
    ReadOnly,
    /// More uploads at once than `limits.concurrentuploads` allows.
    #[error("too many uploads are running; try again in a moment")]
    TooManyUploads,
    /// What the push needs is being removed this very moment; in a moment it can be pushed again.
    #[error("garbage collection is removing content that this push needs; push it again in a moment")]
    BeingCollected,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Result of the registry's rules.
pub type Result<T, E = Error> = std::result::Result<T, E>;
