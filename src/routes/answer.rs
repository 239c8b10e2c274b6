//! The making of answers: header names and values that never change, digests as header text, JSON bodies.

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::oci::Digest;

use super::Error;

pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VERSION_2: HeaderValue = HeaderValue::from_static("registry/2.0");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const EMPTY_OBJECT: &[u8] = b"{}";

/// Headers that most answers have, and room so that the map grows once.
const HEADERS: usize = 14;

/// An answer without a body and without `Content-Length`, for the statuses that have none.
pub(super) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(API_VERSION, VERSION_2);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// An answer whose body is empty, and says so.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bare(status);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// An answer with `body`. `Content-Length` is set here so that it survives the body being left out for HEAD.
pub(super) fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = bare(status);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// An answer with a JSON document.
pub(super) fn json(body: impl Into<Bytes>) -> Response<Body> {
    with_body(StatusCode::OK, JSON, body.into())
}

/// The answer to the ping.
pub(super) fn ping() -> Response<Body> {
    json(EMPTY_OBJECT)
}

/// The answer at `/`, for load balancers that look there.
pub(super) fn root() -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(CACHE_CONTROL, NO_CACHE);
    response
}

/// The answer to OPTIONS.
pub(super) fn options(allow: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to `error`, as far as the error alone decides it.
pub(super) fn failure(error: &Error) -> Response<Body> {
    let told = error.told();
    let mut response = with_body(told.status, JSON, told.body().into());
    let headers = response.headers_mut();
    if let Some(seconds) = told.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error {
        Error::MethodUnknown { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        // RFC 9110 §15.5.6 wants the methods that do work; reading always does.
        _ if told.status == StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        _ => {}
    }
    response
}

/// Sets `name` to a text made of validated words. One that no header can carry is left out rather than altered.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, text: impl Into<Bytes>) {
    if let Ok(value) = HeaderValue::from_maybe_shared(text.into()) {
        headers.insert(name, value);
    }
}

/// A digest as header text: written once, shared by `Docker-Content-Digest` and `ETag`.
#[derive(Debug, Clone)]
pub(super) struct DigestText {
    /// In double quotes.
    quoted: Bytes,
}

impl DigestText {
    pub(super) fn new(digest: &Digest) -> Self {
        let mut quoted = String::with_capacity(digest.algorithm().as_str().len() + 2 * digest.output().len() + 3);
        quoted.push('"');
        quoted.push_str(digest.algorithm().as_str());
        quoted.push(':');
        for byte in digest.output() {
            quoted.push(hex_digit(byte >> 4));
            quoted.push(hex_digit(byte & 0xf));
        }
        quoted.push('"');
        Self { quoted: quoted.into() }
    }

    /// Without quotes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.quoted.get(1..self.quoted.len() - 1).unwrap_or_default()
    }

    /// Sets `Docker-Content-Digest`.
    pub(super) fn name_content(&self, headers: &mut HeaderMap) {
        set(headers, CONTENT_DIGEST, self.quoted.slice(1..self.quoted.len() - 1));
    }

    /// Sets `Docker-Content-Digest` and `ETag`.
    pub(super) fn tag_content(&self, headers: &mut HeaderMap) {
        self.name_content(headers);
        set(headers, ETAG, self.quoted.clone());
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_the_room_of_words_writes_it() {
        for algorithm in crate::oci::Algorithm::ALL {
            let digest = crate::oci::Hasher::digest(algorithm, b"x");
            let text = DigestText::new(&digest);
            assert_eq!(text.as_bytes(), digest.to_string().as_bytes());
            let mut headers = HeaderMap::new();
            text.tag_content(&mut headers);
            assert_eq!(headers[CONTENT_DIGEST], digest.to_string());
            assert_eq!(headers[ETAG], format!("\"{digest}\""));
        }
    }

    #[test]
    fn a_text_with_a_line_break_reaches_no_header() {
        let mut headers = HeaderMap::new();
        set(&mut headers, OCI_TAG, "a\r\nSet-Cookie: b".to_owned());
        assert!(headers.is_empty());
    }
}
