//! Blobs: distribution-spec, "Pulling blobs", "Deleting Blobs"; ranges by RFC 9110 §14.
//!
//! Whoever may push chooses a blob's bytes, so a browser is told to run none of them.

use axum::body::Body;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::oci::{ByteRange, Digest, RangeSet, RepositoryName, ResolvedRanges};
use crate::registry::{Blob, Content, Reading};

use super::answer::{self, DigestText, set};
use super::client::Treatment;
use super::conditional::{self, Verdict};
use super::door::Call;
use super::file_body::FileBody;
use super::{Error, multipart};

/// Most ranges answered piecewise; who asks for more gets the whole blob, which RFC 9110 §14.2 allows.
const MOST_PARTS: usize = 1024;

/// `GET` or `HEAD` of a blob.
pub(super) async fn pull(call: &Call<'_>, name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Error> {
    let text = DigestText::new(digest);
    let mut response = match conditional::evaluate(&call.parts.headers, text.as_bytes()) {
        Verdict::Proceed if call.parts.method == Method::GET => {
            if let Some(response) = redirect(call, name, digest, &text).await? {
                return Ok(response);
            }
            content(call, name, digest, &text).await?
        }
        // HEAD is never redirected: its answer must name digest and length, which a store does not.
        verdict => {
            let size = call.registry.blob_size(name, digest).await.map_err(Error::by_registry)?;
            match verdict {
                Verdict::Failed => return Err(Error::Precondition),
                Verdict::NotModified => answer::bare(StatusCode::NOT_MODIFIED),
                // RFC 9110 §14.2: Range means nothing to any method but GET.
                Verdict::Proceed => described(size),
            }
        }
    };
    let headers = response.headers_mut();
    text.tag_content(headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000, immutable"));
    Ok(response)
}

/// 307 to where the store itself gives the blob, if it does and this client may go there. A client sends its `Range` again.
async fn redirect(
    call: &Call<'_>,
    name: &RepositoryName,
    digest: &Digest,
    text: &DigestText,
) -> Result<Option<Response<Body>>, Error> {
    if !call.registry.redirects() {
        return Ok(None);
    }
    let Treatment::MayGo(client) = call.redirects.treatment(call.parts) else { return Ok(None) };
    let address = call.registry.blob_address(name, digest, client).await.map_err(Error::by_registry)?;
    let Some(location) = address.and_then(|address| HeaderValue::try_from(address).ok()) else { return Ok(None) };
    let mut response = answer::empty(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    // The address is good for minutes, and whoever holds it may read the blob.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    text.name_content(headers);
    Ok(Some(response))
}

/// The blob, or the parts of it that are asked for.
async fn content(
    call: &Call<'_>,
    name: &RepositoryName,
    digest: &Digest,
    text: &DigestText,
) -> Result<Response<Body>, Error> {
    let request = &call.parts.headers;
    let reading = if request.contains_key(RANGE) { Reading::Parts } else { Reading::Whole };
    let blob = call.registry.blob(name, digest, reading).await.map_err(Error::by_registry)?;
    Ok(match ranges(request, text, blob.size)? {
        None => whole(blob),
        Some(ranges) => partial(blob, &ranges),
    })
}

/// `DELETE` of a blob.
pub(super) async fn delete(call: &Call<'_>, name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Error> {
    call.registry.delete_blob(name, digest).await.map_err(Error::by_registry)?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// The ranges to send, or `None` for everything.
fn ranges(request: &HeaderMap, digest: &DigestText, size: u64) -> Result<Option<Vec<ByteRange>>, Error> {
    let mut values = request.get_all(RANGE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Two Range headers are no range set, and what is none is ignored.
    if values.next().is_some() || !conditional::range_applies(request, digest.as_bytes()) {
        return Ok(None);
    }
    let Some(set) = value.to_str().ok().and_then(RangeSet::parse) else { return Ok(None) };
    match set.resolve(size) {
        ResolvedRanges::Whole => Ok(None),
        ResolvedRanges::Parts(parts) if parts.len() > MOST_PARTS => Ok(None),
        ResolvedRanges::Parts(parts) => Ok(Some(parts)),
        // Some clients send a range with every request; an empty blob has no answer to any, and 416 would stop them.
        ResolvedRanges::Unsatisfiable if size == 0 => Ok(None),
        ResolvedRanges::Unsatisfiable => Err(Error::RangeUnsatisfiable { size }),
    }
}

/// 200 with the headers of the whole blob and no body.
fn described(size: u64) -> Response<Body> {
    let mut response = answer::bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    guard(headers);
    response
}

fn whole(blob: Blob) -> Response<Body> {
    let mut response = described(blob.size);
    if let Some(last) = blob.size.checked_sub(1) {
        fill(&mut response, blob.content, ByteRange { start: 0, end: last });
    }
    response
}

fn partial(blob: Blob, ranges: &[ByteRange]) -> Response<Body> {
    let mut response = answer::bare(StatusCode::PARTIAL_CONTENT);
    let headers = response.headers_mut();
    guard(headers);
    if let [range] = *ranges {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        set(headers, CONTENT_RANGE, format!("bytes {}-{}/{}", range.start, range.end, blob.size));
        fill(&mut response, blob.content, range);
    } else {
        let parts = multipart::Multipart::new(ranges, blob.size);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(parts.length()));
        set(headers, CONTENT_TYPE, parts.content_type());
        *response.body_mut() = parts.body(&blob.content);
    }
    response
}

/// Headers of every answer with bytes of a blob.
fn guard(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}

/// Makes `range` of `content` the body. A file is left to the server, which knows the cheapest way to send it.
fn fill(response: &mut Response<Body>, content: Content, range: ByteRange) {
    match content {
        Content::File(file) => {
            let body = FileBody { file, offset: range.start, length: range.length() };
            response.extensions_mut().insert(body);
        }
        content @ (Content::Memory(_) | Content::Remote(_)) => {
            *response.body_mut() = Body::from_stream(multipart::stretch(&content, range));
        }
    }
}
