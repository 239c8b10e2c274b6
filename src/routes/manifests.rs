//! Manifests: distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting Manifests".
//!
//! A manifest is answered as it was pushed, whatever `Accept` says: its digest names these bytes.

use axum::body::Body;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::oci::{self, MediaType, Reference, RepositoryName, Tag};

use super::Error;
use super::answer::{self, DigestText, OCI_SUBJECT, OCI_TAG, set};
use super::body::RequestBody;
use super::conditional::{self, Verdict};
use super::door::Call;

/// `GET` or `HEAD` of a manifest.
pub(super) async fn pull(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Error> {
    let stored = call.registry.manifest(name, reference).await.map_err(Error::by_registry)?;
    let digest = DigestText::new(&stored.digest);
    let mut response = match conditional::evaluate(&call.parts.headers, digest.as_bytes()) {
        Verdict::Proceed => answer::with_body(StatusCode::OK, content_type(&stored.media_type), stored.bytes),
        Verdict::NotModified => answer::bare(StatusCode::NOT_MODIFIED),
        Verdict::Failed => return Err(Error::Precondition),
    };
    digest.tag_content(response.headers_mut());
    Ok(response)
}

/// The types that nearly every manifest has cost no copy.
fn content_type(media_type: &MediaType) -> HeaderValue {
    const KNOWN: [&str; 4] = [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    let text = media_type.as_str();
    match KNOWN.into_iter().find(|known| *known == text) {
        Some(known) => HeaderValue::from_static(known),
        // The grammar of media types lies within that of header values.
        None => HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream")),
    }
}

/// `PUT` of a manifest.
pub(super) async fn push(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: &Reference,
    tags: &[Tag],
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    refuse_encoded(&call.parts.headers)?;
    let content_type = declared_type(&call.parts.headers)?;
    let bytes = body.read(call.registry.limits().manifest_bytes).await?;
    let pushed =
        call.registry.put_manifest(name, reference, tags, content_type, bytes).await.map_err(Error::by_registry)?;
    let mut response = answer::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    call.addresses.locate_manifest(call.parts, headers, name, &pushed.digest);
    DigestText::new(&pushed.digest).name_content(headers);
    if let Some(subject) = &pushed.subject {
        set(headers, OCI_SUBJECT, subject.to_string());
    }
    if !tags.is_empty() {
        for tag in &pushed.tags {
            if let Ok(tag) = HeaderValue::from_str(tag.as_str()) {
                headers.append(OCI_TAG, tag);
            }
        }
    }
    Ok(response)
}

/// `DELETE` of a manifest or a tag.
pub(super) async fn delete(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Error> {
    call.registry.delete_manifest(name, reference).await.map_err(Error::by_registry)?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// The media type that the request gives; the document itself may give it instead.
fn declared_type(headers: &HeaderMap) -> Result<Option<MediaType>, Error> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or("\u{fffd}");
    if values.next().is_some() {
        // Two types are two readings of one document.
        return Err(Error::ContentType(oci::Error::MediaType("two Content-Type headers".to_owned())));
    }
    if text.trim().is_empty() {
        return Ok(None);
    }
    MediaType::from_content_type(text).map(Some).map_err(Error::ContentType)
}

/// Content is stored as sent and never decoded, so an encoded body would be another content than the client means.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Error> {
    let identity = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(|value| value.is_empty() || identity(value));
    if plain { Ok(()) } else { Err(Error::ContentEncoding) }
}
