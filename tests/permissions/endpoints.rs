//! What each endpoint needs and answers. The matches are exhaustive: a new endpoint does not compile without its row.

use berth::routes::Endpoint;
use http::{Method, StatusCode};

use crate::house::World;
use crate::support::{digest, with};

/// The right that an endpoint needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    ToBeKnown,
    Catalog,
    Pull,
    Push,
    Delete,
}

/// How a client asks for an endpoint, and what those who have the right are answered.
pub(crate) struct Row {
    pub(crate) methods: &'static [Method],
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) needs: Needs,
    /// The repository that is read from besides; without the right to, the answer is 202.
    pub(crate) source: Option<&'static str>,
    /// In a repository that exists.
    pub(crate) here: StatusCode,
    /// In one that does not.
    pub(crate) missing: StatusCode,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const DELETE: &[Method] = &[Method::DELETE];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::PUT];
const PATCH: &[Method] = &[Method::PATCH];

/// The row of `endpoint` in `repository`; `session` is the location of an upload session there.
pub(crate) fn row(endpoint: &Endpoint, world: &World, repository: &str, session: &str) -> Row {
    let image = &world.image;
    let at = |below: &str| format!("/v2/{repository}/{below}");
    let row = |methods, target: String, needs, here: u16, missing: u16| {
        let status = |code| StatusCode::from_u16(code).unwrap();
        Row { methods, target, body: Vec::new(), needs, source: None, here: status(here), missing: status(missing) }
    };
    let uploads = at("blobs/uploads/");
    match endpoint {
        Endpoint::Base => row(READ, "/v2/".into(), Needs::ToBeKnown, 200, 200),
        Endpoint::Catalog { .. } => row(READ, "/v2/_catalog".into(), Needs::Catalog, 200, 200),
        Endpoint::Tags { .. } => row(READ, at("tags/list"), Needs::Pull, 200, 404),
        Endpoint::Referrers { .. } => row(READ, at(&format!("referrers/{}", image.digest)), Needs::Pull, 200, 200),
        Endpoint::PullManifest { .. } => row(READ, at("manifests/latest"), Needs::Pull, 200, 404),
        Endpoint::PushManifest { .. } => Row {
            body: image.manifest.clone(),
            // Overwriting a tag, the latest above all, needs no more and no less than any push.
            ..row(PUT, at("manifests/latest"), Needs::Push, 201, 400)
        },
        Endpoint::DeleteManifest { .. } => row(DELETE, at("manifests/latest"), Needs::Delete, 202, 404),
        Endpoint::PullBlob { .. } => row(READ, at(&format!("blobs/{}", image.layer)), Needs::Pull, 200, 404),
        Endpoint::DeleteBlob { .. } => row(DELETE, at(&format!("blobs/{}", image.layer)), Needs::Delete, 202, 404),
        Endpoint::BeginUpload { .. } => row(POST, uploads, Needs::Push, 202, 202),
        Endpoint::PushBlob { .. } => Row {
            body: b"x".to_vec(),
            ..row(POST, format!("{uploads}?digest={}", digest(b"x")), Needs::Push, 201, 201)
        },
        Endpoint::MountBlob { .. } => {
            let source = if repository.starts_with("bob/") { "alice/app" } else { "bob/app" };
            let target = format!("{uploads}?mount={}&from={source}", image.layer);
            Row { source: Some(source), ..row(POST, target, Needs::Push, 201, 201) }
        }
        Endpoint::UploadStatus { .. } => row(READ, session.to_owned(), Needs::Push, 204, 204),
        Endpoint::AppendUpload { .. } => {
            Row { body: b"x".to_vec(), ..row(PATCH, session.to_owned(), Needs::Push, 202, 202) }
        }
        Endpoint::FinishUpload { .. } => {
            let target = with(session, &format!("digest={}", digest(b"x")));
            Row { body: b"x".to_vec(), ..row(PUT, target, Needs::Push, 201, 201) }
        }
        Endpoint::CancelUpload { .. } => row(DELETE, session.to_owned(), Needs::Push, 204, 204),
    }
}

/// Whether it is about an upload session that must have begun.
pub(crate) fn is_session(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::UploadStatus { .. }
            | Endpoint::AppendUpload { .. }
            | Endpoint::FinishUpload { .. }
            | Endpoint::CancelUpload { .. }
    )
}
