//! What a request asks for, parsed once: one variant for each endpoint of distribution-spec, with its words validated.
//!
//! What an endpoint needs (access, a store that takes writes) is a property of the variant, decided here in exhaustive
//! matches, so that a new endpoint does not compile without its answers.

use http::Method;

use crate::auth::{Access, Action};
use crate::oci::{Algorithm, Digest, Reference, RepositoryName, Tag};
use crate::registry::{PageRequest, UploadId};
use crate::telemetry::Handler;

use super::Error;
use super::path::Shape;
use super::query::Query;

/// Most tags that one manifest push may set by `?tag=`; the specification asks for at least 10.
const MOST_TAGS: usize = 64;

/// An endpoint with everything the client said in path and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v2/` (end-1).
    Base,
    /// `GET /v2/_catalog`, Docker's.
    Catalog {
        /// Which page.
        page: PageRequest,
    },
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags {
        /// Whose tags.
        name: RepositoryName,
        /// Which page.
        page: PageRequest,
    },
    /// `GET /v2/<name>/referrers/<digest>` (end-12).
    Referrers {
        /// Where.
        name: RepositoryName,
        /// What the referrers refer to.
        subject: Digest,
        /// Only referrers of these artifact types; empty for all.
        artifact_types: Vec<String>,
        /// Which page.
        page: PageRequest,
    },
    /// `GET` or `HEAD /v2/<name>/manifests/<reference>` (end-3).
    PullManifest {
        /// Where.
        name: RepositoryName,
        /// Which.
        reference: Reference,
    },
    /// `PUT /v2/<name>/manifests/<reference>` (end-7).
    PushManifest {
        /// Where.
        name: RepositoryName,
        /// As what.
        reference: Reference,
        /// Further tags, from `?tag=`.
        tags: Vec<Tag>,
    },
    /// `DELETE /v2/<name>/manifests/<reference>` (end-9).
    DeleteManifest {
        /// Where.
        name: RepositoryName,
        /// Which.
        reference: Reference,
    },
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>` (end-2).
    PullBlob {
        /// Where.
        name: RepositoryName,
        /// Which.
        digest: Digest,
    },
    /// `DELETE /v2/<name>/blobs/<digest>` (end-10).
    DeleteBlob {
        /// Where.
        name: RepositoryName,
        /// Which.
        digest: Digest,
    },
    /// `POST /v2/<name>/blobs/uploads/` (end-4a, end-4c).
    BeginUpload {
        /// Where.
        name: RepositoryName,
        /// The algorithm of the digest to come, when the client says.
        algorithm: Option<Algorithm>,
    },
    /// `POST /v2/<name>/blobs/uploads/?digest=` (end-4b).
    PushBlob {
        /// Where.
        name: RepositoryName,
        /// What the body is.
        digest: Digest,
    },
    /// `POST /v2/<name>/blobs/uploads/?mount=` (end-11).
    MountBlob {
        /// Where to.
        name: RepositoryName,
        /// What.
        digest: Digest,
        /// Where from; `None` leaves it to the registry.
        source: Option<RepositoryName>,
    },
    /// `GET` or `HEAD /v2/<name>/blobs/uploads/<id>` (end-13).
    UploadStatus {
        /// Where.
        name: RepositoryName,
        /// Which session.
        id: UploadId,
        /// The session's state as last given.
        state: String,
    },
    /// `PATCH /v2/<name>/blobs/uploads/<id>` (end-5).
    AppendUpload {
        /// Where.
        name: RepositoryName,
        /// Which session.
        id: UploadId,
        /// The session's state as last given.
        state: String,
    },
    /// `PUT /v2/<name>/blobs/uploads/<id>` (end-6).
    FinishUpload {
        /// Where.
        name: RepositoryName,
        /// Which session.
        id: UploadId,
        /// The session's state as last given.
        state: String,
        /// What all the bytes are.
        digest: Digest,
    },
    /// `DELETE /v2/<name>/blobs/uploads/<id>` (end-14).
    CancelUpload {
        /// Where.
        name: RepositoryName,
        /// Which session.
        id: UploadId,
        /// The session's state as last given.
        state: String,
    },
}

/// Whether an endpoint changes what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does not.
    Reads,
    /// It may.
    Writes,
}

impl Endpoint {
    /// Validates the words of `shape` and `query` for `method`.
    ///
    /// # Errors
    /// The first word that does not follow its grammar, in the order of the request line; the method when the path does
    /// not know it.
    pub(super) fn parse(shape: Shape<'_>, method: &Method, query: Query<'_>) -> Result<Self, Error> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        match shape {
            Shape::Base if reads => Ok(Self::Base),
            Shape::Catalog if reads => Ok(Self::Catalog { page: query.page()? }),
            Shape::Tags { name } if reads => Ok(Self::Tags { name: repository(name)?, page: query.page()? }),
            Shape::Referrers { name, subject } if reads => Ok(Self::Referrers {
                name: repository(name)?,
                subject: digest(subject)?,
                artifact_types: artifact_types(query),
                page: query.page()?,
            }),
            Shape::Manifest { name, reference: text } => match *method {
                Method::GET | Method::HEAD => {
                    Ok(Self::PullManifest { name: repository(name)?, reference: reference(text)? })
                }
                Method::PUT => Ok(Self::PushManifest {
                    name: repository(name)?,
                    reference: reference(text)?,
                    tags: further_tags(query)?,
                }),
                Method::DELETE => Ok(Self::DeleteManifest { name: repository(name)?, reference: reference(text)? }),
                _ => Err(Error::MethodUnknown { allow: shape.allow() }),
            },
            Shape::Blob { name, digest: text } if reads => {
                Ok(Self::PullBlob { name: repository(name)?, digest: digest(text)? })
            }
            Shape::Blob { name, digest: text } if *method == Method::DELETE => {
                Ok(Self::DeleteBlob { name: repository(name)?, digest: digest(text)? })
            }
            Shape::Uploads { name } if *method == Method::POST => Self::parse_post(repository(name)?, query),
            Shape::Upload { name, id } => Self::parse_session(name, id, method, query),
            _ => Err(Error::MethodUnknown { allow: shape.allow() }),
        }
    }

    fn parse_post(name: RepositoryName, query: Query<'_>) -> Result<Self, Error> {
        if let Some(mount) = query.value("mount") {
            let source = query.value("from").map(|from| repository(&from)).transpose()?;
            return Ok(Self::MountBlob { name, digest: digest(&mount)?, source });
        }
        if let Some(text) = query.value("digest") {
            return Ok(Self::PushBlob { name, digest: digest(&text)? });
        }
        let algorithm = query.value("digest-algorithm").map(|text| text.parse().map_err(Error::Digest)).transpose()?;
        Ok(Self::BeginUpload { name, algorithm })
    }

    fn parse_session(name: &str, id: &str, method: &Method, query: Query<'_>) -> Result<Self, Error> {
        let known = [Method::GET, Method::HEAD, Method::PATCH, Method::PUT, Method::DELETE].contains(method);
        if !known {
            return Err(Error::MethodUnknown { allow: Shape::Upload { name, id }.allow() });
        }
        let name = repository(name)?;
        let id = id.parse().map_err(|_| Error::UploadId)?;
        let state = query.value("_state").map(std::borrow::Cow::into_owned).ok_or(Error::StateMissing)?;
        if *method == Method::GET || *method == Method::HEAD {
            return Ok(Self::UploadStatus { name, id, state });
        }
        match *method {
            Method::PATCH => Ok(Self::AppendUpload { name, id, state }),
            Method::PUT => {
                let text = query.value("digest").ok_or(Error::DigestMissing)?;
                Ok(Self::FinishUpload { name, id, state, digest: digest(&text)? })
            }
            _ => Ok(Self::CancelUpload { name, id, state }),
        }
    }

    /// What the client must be allowed to do.
    #[must_use]
    pub fn access(&self) -> Access<'_> {
        match self {
            Self::Base => Access::Ping,
            Self::Catalog { .. } => Access::Catalog,
            Self::Tags { name, .. }
            | Self::Referrers { name, .. }
            | Self::PullManifest { name, .. }
            | Self::PullBlob { name, .. } => Access::Repository { name, action: Action::Pull },
            Self::PushManifest { name, .. }
            | Self::BeginUpload { name, .. }
            | Self::PushBlob { name, .. }
            | Self::UploadStatus { name, .. }
            | Self::AppendUpload { name, .. }
            | Self::FinishUpload { name, .. }
            | Self::CancelUpload { name, .. } => Access::Repository { name, action: Action::Push },
            Self::DeleteManifest { name, .. } | Self::DeleteBlob { name, .. } => {
                Access::Repository { name, action: Action::Delete }
            }
            Self::MountBlob { name, source, .. } => Access::Mount { target: name, source: source.as_ref() },
        }
    }

    /// Whether a read-only registry refuses it.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Base
            | Self::Catalog { .. }
            | Self::Tags { .. }
            | Self::Referrers { .. }
            | Self::PullManifest { .. }
            | Self::PullBlob { .. }
            | Self::UploadStatus { .. } => Effect::Reads,
            Self::PushManifest { .. }
            | Self::DeleteManifest { .. }
            | Self::DeleteBlob { .. }
            | Self::BeginUpload { .. }
            | Self::PushBlob { .. }
            | Self::MountBlob { .. }
            | Self::AppendUpload { .. }
            | Self::FinishUpload { .. }
            | Self::CancelUpload { .. } => Effect::Writes,
        }
    }

    /// The repository it is about, if it is about one.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self.access() {
            Access::Ping | Access::Catalog => None,
            Access::Repository { name, .. } | Access::Mount { target: name, .. } => Some(name),
        }
    }
}

impl Shape<'_> {
    /// The label that metrics of distribution have for it.
    pub(super) fn handler(&self) -> Handler {
        match self {
            Self::Base => Handler::Base,
            Self::Catalog => Handler::Catalog,
            Self::Tags { .. } => Handler::Tags,
            Self::Manifest { .. } => Handler::Manifest,
            Self::Blob { .. } => Handler::Blob,
            Self::Uploads { .. } => Handler::BlobUpload,
            Self::Upload { .. } => Handler::BlobUploadChunk,
            Self::Referrers { .. } => Handler::Referrers,
        }
    }
}

fn repository(text: &str) -> Result<RepositoryName, Error> {
    text.parse().map_err(Error::Name)
}

fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(Error::Digest)
}

fn reference(text: &str) -> Result<Reference, Error> {
    // A tag has no colon, so whoever writes one means a digest.
    text.parse().map_err(if text.contains(':') { Error::Digest } else { Error::Tag })
}

fn further_tags(query: Query<'_>) -> Result<Vec<Tag>, Error> {
    let tags: Vec<Tag> =
        query.values("tag").take(MOST_TAGS + 1).map(|tag| tag.parse().map_err(Error::Tag)).collect::<Result<_, _>>()?;
    if tags.len() > MOST_TAGS { Err(Error::TooManyTags { most: MOST_TAGS }) } else { Ok(tags) }
}

fn artifact_types(query: Query<'_>) -> Vec<String> {
    query.values("artifactType").filter(|value| !value.is_empty()).map(std::borrow::Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::path::decode;
    use proptest::prelude::*;

    fn parsed(method: &Method, below: &str, query: Option<&str>) -> Option<Endpoint> {
        let decoded = decode(below);
        Endpoint::parse(Shape::of(&decoded)?, method, Query::new(query)).ok()
    }

    #[test]
    fn what_a_post_asks_for_is_told_by_its_query() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let post = |query: &str| parsed(&Method::POST, "a/blobs/uploads/", Some(query)).unwrap();
        assert!(matches!(post(""), Endpoint::BeginUpload { algorithm: None, .. }));
        assert!(matches!(
            post("digest-algorithm=sha512"),
            Endpoint::BeginUpload { algorithm: Some(Algorithm::Sha512), .. }
        ));
        assert!(matches!(post(&format!("digest={digest}")), Endpoint::PushBlob { .. }));
        assert!(matches!(post(&format!("mount={digest}")), Endpoint::MountBlob { source: None, .. }));
        assert!(matches!(post(&format!("mount={digest}&from=b/c")), Endpoint::MountBlob { source: Some(_), .. }));
        assert!(matches!(post(&format!("from=b&digest={digest}")), Endpoint::PushBlob { .. }));
    }

    fn methods() -> impl Strategy<Value = Method> {
        let known =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE];
        proptest::sample::select(known.to_vec())
    }

    proptest! {
        #[test]
        fn no_path_and_no_query_panics(method in methods(), path in ".{0,80}", query in proptest::option::of(".{0,80}")) {
            let _ = parsed(&method, &path, query.as_deref());
        }

        #[test]
        fn a_repository_is_named_as_the_path_spells_it(
            method in methods(),
            name in "(a|b|blobs|tags|/a|/b|/uploads|/manifests|/|\\.|/\\.\\.|%2[eEfF]|%61){1,4}",
            rest in "/(tags/list|manifests/latest|blobs/uploads/)",
        ) {
            let path = name + &rest;
            if let Some(name) = parsed(&method, &path, None).as_ref().and_then(Endpoint::repository) {
                let spelled = path.replace("%61", "a").replace("%2e", ".").replace("%2E", ".");
                prop_assert!(spelled.starts_with(&format!("{name}/")), "{path} was read as {name}");
            }
        }
    }
}
