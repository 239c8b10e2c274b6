//! Everything that can be wrong with a request or its execution, and the one map from there to the wire: status and error
//! code of distribution-spec, "Error Codes", where the specification names one, and distribution's otherwise.
//!
//! No wildcard arm: a new error does not compile until somebody has decided what the client is told.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::{Refusal, ScopeError, TokenRefusal};
use crate::{oci, registry};

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No endpoint looks like the path.
    #[error("there is no such endpoint; distribution-spec lists what lies below /v2/")]
    EndpointUnknown,
    /// The endpoint does not know the method.
    #[error("this endpoint does not know the method; it knows {allow}")]
    MethodUnknown {
        /// What it knows.
        allow: &'static str,
    },
    /// The repository name does not follow its grammar.
    #[error(transparent)]
    Name(oci::Error),
    /// A digest or a digest algorithm does not follow its grammar.
    #[error(transparent)]
    Digest(oci::Error),
    /// A tag does not follow its grammar.
    #[error(transparent)]
    Tag(oci::Error),
    /// The closing request of an upload names no digest.
    #[error("the digest parameter is missing: end the upload with PUT <location>&digest=<digest>")]
    DigestMissing,
    /// More `?tag=` than one push may set.
    #[error("a push may set at most {most} tags by ?tag=; set the others by further requests")]
    TooManyTags {
        /// The limit.
        most: usize,
    },
    /// The last word of an upload's path was never an upload's id.
    #[error("this is not the id of an upload session; begin one with POST <name>/blobs/uploads/")]
    UploadId,
    /// An upload request without the state that the last `Location` had.
    #[error("the _state parameter is missing: use the Location of the last answer as it was given")]
    StateMissing,
    /// `n` is no number.
    #[error("n must be a whole number, not {0:?}")]
    PageSize(String),
    /// `last` is longer than anything it could name.
    #[error("last may have at most {longest} bytes")]
    Cursor {
        /// The limit, bytes.
        longest: usize,
    },
    /// The `Content-Type` of a manifest does not follow its grammar.
    #[error(transparent)]
    ContentType(oci::Error),
    /// The body is encoded, and content is never decoded here.
    #[error("Content-Encoding is not supported: send the bytes that the digest names")]
    ContentEncoding,
    /// A chunk says where it belongs in a way that cannot be understood. The session stands where it stood.
    #[error("{error}")]
    ContentRange {
        /// What is wrong.
        error: oci::Error,
        /// The session, so that the client can go on from there.
        session: Box<registry::UploadSession>,
    },
    /// The blob is not the one the client has in mind (`If-Match`).
    #[error("the content is not what If-Match asks for")]
    Precondition,
    /// No byte asked for exists.
    #[error("no byte of the range lies within the {size} bytes of the blob")]
    RangeUnsatisfiable {
        /// Of the blob, bytes.
        size: u64,
    },
    /// A health check fails.
    #[error("a health check fails; the debug listener's /debug/health tells which")]
    Unhealthy,
    /// A handler panicked.
    #[error("the request could not be carried out")]
    Panic,
    /// Access is refused.
    #[error(transparent)]
    Refused(Refusal),
    /// No token is issued.
    #[error(transparent)]
    TokenRefused(TokenRefusal),
    /// A scope that is asked for makes no sense.
    #[error(transparent)]
    Scope(ScopeError),
    /// A form lacks a word.
    #[error(
        "{0} is missing in the form; send grant_type=password with username and password, or grant_type=refresh_token"
    )]
    FormWordMissing(&'static str),
    /// A form asks by a way that does not exist here.
    #[error("the grant_type is unknown; password and refresh_token are known")]
    GrantTypeUnknown,
    /// A form is larger than it needs to be.
    #[error("the form has more than {limit} bytes")]
    FormTooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// A form is not text.
    #[error("the form is not text in UTF-8; send application/x-www-form-urlencoded")]
    FormNotText,
    /// The registry refuses or fails.
    #[error(transparent)]
    Registry(Box<registry::Error>),
}

/// What the client is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    /// The error code, upper case.
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
    /// `Null` leaves it out.
    pub(super) detail: Value,
    /// Seconds after which trying again makes sense.
    pub(super) retry_after: Option<u32>,
    /// The error code of RFC 6749 §5.2, for those who asked for a token.
    oauth: Option<&'static str>,
}

/// Longest message, in characters: some quote what the client sent, which may be megabytes.
const LONGEST_MESSAGE: usize = 600;

/// Most entries in one error body.
const MOST_ENTRIES: usize = 100;

impl Told {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.to_mut().truncate(end);
            message.to_mut().push('…');
        }
        Self { status, code, message, detail: Value::Null, retry_after: None, oauth: None }
    }

    fn about(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn oauth(mut self, code: &'static str) -> Self {
        self.oauth = Some(code);
        self
    }

    /// The body: `{"errors":[…]}`, one entry, or one for each of the first items of a detail that is a list.
    pub(super) fn body(&self) -> Vec<u8> {
        let entry = |detail: &Value| {
            let mut entry = json!({ "code": self.code, "message": self.message });
            if let (false, Some(entry)) = (detail.is_null(), entry.as_object_mut()) {
                entry.insert("detail".to_owned(), detail.clone());
            }
            entry
        };
        let errors: Vec<Value> = match &self.detail {
            Value::Array(details) => details.iter().take(MOST_ENTRIES).map(entry).collect(),
            detail => vec![entry(detail)],
        };
        let body = match self.oauth {
            Some(code) => json!({ "errors": errors, "error": code, "error_description": self.message }),
            None => json!({ "errors": errors }),
        };
        let mut body = body.to_string().into_bytes();
        body.push(b'\n');
        body
    }
}

impl Error {
    /// What the registry said. Boxed: it is the largest by far, and results of every handler carry the room for it.
    pub(super) fn by_registry(error: registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }

    /// The one map.
    pub(super) fn told(&self) -> Told {
        let said = || self.to_string();
        match self {
            Self::EndpointUnknown => Told::new(StatusCode::NOT_FOUND, "UNSUPPORTED", said()),
            Self::MethodUnknown { .. } => Told::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", said()),
            Self::Name(_) => Told::new(StatusCode::BAD_REQUEST, "NAME_INVALID", said()),
            Self::Digest(_) | Self::DigestMissing => Told::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", said()),
            Self::Tag(_) => Told::new(StatusCode::BAD_REQUEST, "TAG_INVALID", said()),
            Self::TooManyTags { .. } => Told::new(StatusCode::URI_TOO_LONG, "TAG_INVALID", said()),
            Self::UploadId => Told::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", said()),
            // distribution's status; docker takes 404 for "nothing to cancel".
            Self::StateMissing => Told::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID", said()),
            Self::PageSize(n) => {
                Told::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", said()).about(json!({ "n": n }))
            }
            Self::Cursor { .. } => Told::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", said()),
            Self::ContentType(_) => Told::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", said()),
            Self::ContentEncoding => Told::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED", said()),
            Self::Precondition => Told::new(StatusCode::PRECONDITION_FAILED, "DIGEST_INVALID", said()),
            Self::ContentRange { .. } | Self::RangeUnsatisfiable { .. } => {
                Told::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", said())
            }
            Self::Unhealthy => Told::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", said()).retry_after(5),
            Self::Panic => failed(),
            Self::Refused(refusal) => refused_by_auth(refusal),
            Self::TokenRefused(refusal) => no_token(refusal),
            Self::Scope(_) => Told::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", said()).oauth("invalid_scope"),
            Self::GrantTypeUnknown => {
                Told::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", said()).oauth("unsupported_grant_type")
            }
            Self::FormWordMissing(_) | Self::FormNotText => {
                Told::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", said()).oauth("invalid_request")
            }
            Self::FormTooLarge { .. } => {
                Told::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", said()).oauth("invalid_request")
            }
            Self::Registry(error) => refused_by_registry(error),
        }
    }
}

/// A failure of ours. What failed is for the log alone.
fn failed() -> Told {
    Told::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the registry failed; its log says why")
}

fn refused_by_auth(refusal: &Refusal) -> Told {
    let said = refusal.to_string();
    match refusal {
        Refusal::Unauthorized { .. } => Told::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", said),
        Refusal::Denied { .. } => Told::new(StatusCode::FORBIDDEN, "DENIED", said),
        Refusal::Busy => Told::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", said).retry_after(1),
    }
}

fn no_token(refusal: &TokenRefusal) -> Told {
    match refusal {
        // RFC 6749 would have 400 here. Clients know 401 for a wrong password, and some fall back from POST to GET by it.
        TokenRefusal::Refused(Refusal::Busy) => refused_by_auth(&Refusal::Busy).oauth("temporarily_unavailable"),
        TokenRefusal::Refused(refusal) => refused_by_auth(refusal).oauth("invalid_grant"),
        TokenRefusal::Service { .. } => {
            Told::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", refusal.to_string()).oauth("invalid_target")
        }
        TokenRefusal::Failed(_) => failed(),
    }
}

fn refused_by_registry(error: &registry::Error) -> Told {
    use registry::Error as E;
    let said = || error.to_string();
    match error {
        E::NameUnknown(name) => {
            Told::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", said()).about(json!({ "name": name.as_str() }))
        }
        E::ManifestUnknown { name, reference } => Told::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", said())
            .about(json!({ "name": name.as_str(), "reference": reference.to_string() })),
        E::BlobUnknown { digest, .. } => {
            Told::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", said()).about(json!(digest.to_string()))
        }
        E::UploadUnknown => Told::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", said()),
        E::UploadStateInvalid(_) => Told::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID", said()),
        E::UploadBusy => Told::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", said()),
        E::UploadOutOfOrder { .. } => Told::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", said()),
        E::ChunkLength { .. } | E::BodyInterrupted(_) => Told::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", said()),
        E::DigestMismatch { .. } => Told::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", said()),
        // MANIFEST_INVALID would make podman try again with other manifest formats, as large as the first.
        E::BlobTooLarge { .. } | E::ManifestTooLarge { .. } => {
            Told::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", said())
        }
        E::ManifestInvalid(_) | E::LayerUrlRefused { .. } => {
            Told::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", said())
        }
        E::ReferencesUnknown { missing, .. } => {
            let details = missing.iter().map(|digest| json!(digest.to_string())).collect();
            Told::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", said()).about(Value::Array(details))
        }
        E::ClassDenied { .. } => Told::new(StatusCode::FORBIDDEN, "DENIED", said()),
        E::DeletionDisabled | E::ReadOnly => Told::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", said()),
        E::TooManyUploads => Told::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", said()).retry_after(2),
        E::BeingCollected => Told::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", said()).retry_after(2),
        E::Storage(error) => failed_in_storage(error),
    }
}

fn failed_in_storage(error: &registry::StorageError) -> Told {
    use registry::StorageError as E;
    match error {
        // Clients give up at once on 507 and show the message, where they would repeat a 500 or 503 to no avail.
        E::NoSpace { .. } => Told::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "UNAVAILABLE",
            "the registry's storage is full; ask its operator to free space, then push again",
        ),
        E::Busy { .. } | E::Backend { retry: registry::Retry::Later, .. } => Told::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "the registry's storage does not answer; try again in a moment",
        )
        .retry_after(2),
        E::NotFound { .. }
        | E::AlreadyExists { .. }
        | E::StaleState { .. }
        | E::Damaged { .. }
        | E::TooLarge { .. }
        | E::Backend { retry: registry::Retry::Pointless, .. } => failed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry::{Retry, StorageError};

    fn storage(error: StorageError) -> Told {
        Error::by_registry(registry::Error::Storage(error)).told()
    }

    fn backend(retry: Retry) -> StorageError {
        let source = Box::new(std::io::Error::other("token=secret at 10.0.0.7"));
        StorageError::Backend { operation: "rename", path: "/var/lib/registry/x".to_owned(), retry, source }
    }

    #[test]
    fn a_full_store_is_507_and_one_that_stutters_503() {
        let full = storage(StorageError::NoSpace { path: "x".to_owned() });
        assert_eq!((full.status, full.code, full.retry_after), (StatusCode::INSUFFICIENT_STORAGE, "UNAVAILABLE", None));
        let later = storage(backend(Retry::Later));
        assert_eq!((later.status, later.code), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
        assert!(later.retry_after.is_some());
        let never = storage(backend(Retry::Pointless));
        assert_eq!((never.status, never.code), (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"));
    }

    #[test]
    fn a_failure_says_nothing_of_the_host() {
        let path = || "/var/lib/registry/x".to_owned();
        for error in [
            backend(Retry::Later),
            backend(Retry::Pointless),
            StorageError::NoSpace { path: path() },
            StorageError::Busy { path: path() },
            StorageError::NotFound { path: path() },
            StorageError::Damaged { path: path(), reason: "secret".to_owned() },
            StorageError::TooLarge { path: path(), size: 2, limit: 1 },
        ] {
            let body = String::from_utf8(storage(error).body()).unwrap();
            assert!(!["/var", "secret", "10.0.0.7", "rename"].iter().any(|word| body.contains(word)), "{body}");
        }
    }

    #[test]
    fn what_the_client_sent_does_not_come_back_whole() {
        let error = registry::Error::BodyInterrupted("ä".repeat(1_000_000));
        assert!(Error::by_registry(error).told().body().len() < 4096);
        let missing = vec![oci::Hasher::digest(oci::Algorithm::Sha256, b"x"); 50_000];
        let name = "a".parse().unwrap();
        let told = Error::by_registry(registry::Error::ReferencesUnknown { name, missing }).told();
        let body: Value = serde_json::from_slice(&told.body()).unwrap();
        assert_eq!(body["errors"].as_array().unwrap().len(), MOST_ENTRIES);
    }
}
