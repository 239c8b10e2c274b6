//! Upload sessions: distribution-spec, "Pushing blobs", "Mounting a blob from another repository", "Cancelling".
//!
//! A session lives in its `Location`, which every answer gives anew; `Content-Type` of a chunk is not looked at.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION};
use http::{HeaderMap, Response, StatusCode};

use crate::oci::{Algorithm, ContentRange, Digest, RepositoryName};
use crate::registry::{Mount, UploadId, UploadSession};
use crate::{oci, registry};

use super::Error;
use super::answer::{self, DigestText};
use super::body::RequestBody;
use super::door::Call;
use super::manifests::refuse_encoded;

/// A session under way, as the request names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) name: &'a RepositoryName,
    pub(super) id: UploadId,
    pub(super) state: &'a str,
}

/// `POST`: begins a session. A body is not looked at.
pub(super) fn begin(
    call: &Call<'_>,
    name: &RepositoryName,
    algorithm: Option<Algorithm>,
) -> Result<Response<Body>, Error> {
    let session = call.registry.start_upload(name, algorithm).map_err(Error::by_registry)?;
    Ok(standing(call, StatusCode::ACCEPTED, name, &session))
}

/// `POST ?digest=`: the whole blob in one request.
pub(super) async fn push(
    call: &Call<'_>,
    name: &RepositoryName,
    digest: &Digest,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    refuse_encoded(&call.parts.headers)?;
    call.registry.upload_blob(name, digest, body.announced()).await.map_err(Error::by_registry)?;
    Ok(created(call, name, digest))
}

/// `POST ?mount=`: takes the blob from another repository, or begins a session when that cannot be done. Clients take a
/// refusal for the end of their push, so a source that may not be read is like one that does not exist.
pub(super) async fn mount(
    call: &Call<'_>,
    name: &RepositoryName,
    digest: &Digest,
    source: Option<&RepositoryName>,
) -> Result<Response<Body>, Error> {
    let readable = match source {
        Some(source) => call.grant.may_pull(source),
        None => call.grant.may_pull_everything(),
    };
    if readable {
        let mount = call.registry.mount(name, digest, source).await.map_err(Error::by_registry)?;
        match mount {
            Mount::Done => return Ok(created(call, name, digest)),
            Mount::Declined => {}
        }
    }
    begin(call, name, Some(digest.algorithm()))
}

/// `GET` or `HEAD`: where the session stands.
pub(super) async fn status(call: &Call<'_>, session: Session<'_>) -> Result<Response<Body>, Error> {
    let Session { name, id, state } = session;
    let session = call.registry.upload_status(name, id, state).await.map_err(Error::by_registry)?;
    Ok(standing(call, StatusCode::NO_CONTENT, name, &session))
}

/// `PATCH`: a chunk, or a stream of any length.
pub(super) async fn append(
    call: &Call<'_>,
    session: Session<'_>,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    refuse_encoded(&call.parts.headers)?;
    let range = content_range(call, session, body.length()).await?;
    let Session { name, id, state } = session;
    let session = call.registry.append(name, id, state, range, body.stream()).await.map_err(Error::by_registry)?;
    Ok(standing(call, StatusCode::ACCEPTED, name, &session))
}

/// `PUT`: the last chunk, if any, and the digest of everything.
pub(super) async fn finish(
    call: &Call<'_>,
    session: Session<'_>,
    digest: &Digest,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    refuse_encoded(&call.parts.headers)?;
    let range = content_range(call, session, body.length()).await?;
    let Session { name, id, state } = session;
    call.registry.finish_upload(name, id, state, range, body.announced(), digest).await.map_err(Error::by_registry)?;
    Ok(created(call, name, digest))
}

/// `DELETE`: gives the session up.
pub(super) async fn cancel(call: &Call<'_>, session: Session<'_>) -> Result<Response<Body>, Error> {
    let Session { name, id, state } = session;
    call.registry.cancel_upload(name, id, state).await.map_err(Error::by_registry)?;
    Ok(answer::bare(StatusCode::NO_CONTENT))
}

/// `Content-Range`, held against the announced length of the body before a byte of it is read.
async fn content_range(
    call: &Call<'_>,
    session: Session<'_>,
    length: Option<u64>,
) -> Result<Option<ContentRange>, Error> {
    let range = match parse_content_range(&call.parts.headers) {
        Ok(None) => return Ok(None),
        Ok(Some(range)) => range,
        Err(error) => {
            // The answer tells where the session stands, as for a chunk in the wrong place, when there is one.
            let Session { name, id, state } = session;
            let session = call.registry.upload_status(name, id, state).await.map_err(Error::by_registry)?;
            return Err(Error::ContentRange { error, session: Box::new(session) });
        }
    };
    // A range over all offsets there are has a length that fits no number, and no body has it.
    let fits = range.length().is_some_and(|expected| length.is_none_or(|received| received == expected));
    if fits {
        return Ok(Some(range));
    }
    let expected = range.length().unwrap_or(u64::MAX);
    Err(Error::by_registry(registry::Error::ChunkLength { expected, received: length.unwrap_or_default() }))
}

fn parse_content_range(headers: &HeaderMap) -> Result<Option<ContentRange>, oci::Error> {
    let mut values = headers.get_all(CONTENT_RANGE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(oci::Error::ContentRange("two Content-Range headers".to_owned()));
    }
    value.to_str().unwrap_or("\u{fffd}").parse().map(Some)
}

/// An answer that tells where the session stands. 204 has no `Content-Length`.
fn standing(call: &Call<'_>, status: StatusCode, name: &RepositoryName, session: &UploadSession) -> Response<Body> {
    let mut response = answer::empty(status);
    let headers = response.headers_mut();
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    call.addresses.locate_upload(call.parts, headers, name, session);
    debug_assert!(headers.contains_key(LOCATION), "an upload cannot go on without its location");
    response
}

/// 201 for a blob that is now in the repository.
fn created(call: &Call<'_>, name: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = answer::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    call.addresses.locate_blob(call.parts, headers, name, digest);
    DigestText::new(digest).name_content(headers);
    response
}
