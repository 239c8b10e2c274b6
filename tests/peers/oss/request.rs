//! A request, taken apart as the store sees it: bucket and key whichever way they came, parameters decoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use md5::{Digest, Md5};

use super::answer::Answer;

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) bucket: String,
    /// Empty when the bucket itself is meant.
    pub(super) key: String,
    /// Names and values, decoded, in the order they came. One without a value has an empty one.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    /// Takes a request apart.
    pub(super) fn new(parts: &Parts, body: Bytes, bucket: &str) -> Result<Self, Answer> {
        let malformed = || Answer::refused(400, "InvalidURI", "The address is not encoded as it should be.");
        let path = decoded(parts.uri.path()).ok_or_else(malformed)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (bucket, key) = if host.starts_with(&format!("{bucket}.")) {
            (bucket.to_owned(), path.to_owned())
        } else {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            (bucket.to_owned(), key.to_owned())
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(&value.replace('+', " "))?))
        };
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(pair).collect::<Option<_>>().ok_or_else(malformed)?;
        let asked = Self { method: parts.method.to_string(), bucket, key, query, headers: parts.headers.clone(), body };
        asked.check_digest()?;
        Ok(asked)
    }

    /// A parameter; `None` when it is absent.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A header; `None` when it is absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn check_digest(&self) -> Result<(), Answer> {
        match self.header("content-md5") {
            Some(given) if given != STANDARD.encode(Md5::digest(&self.body)) => {
                Err(Answer::refused(400, "InvalidDigest", "The Content-MD5 you specified was invalid."))
            }
            _ => Ok(()),
        }
    }
}

/// Text with its `%` escapes undone.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Text with every byte escaped but letters, digits, `-`, `_`, `.`, `~` and those of `kept`.
pub(super) fn encoded(text: &str, kept: &str) -> String {
    use std::fmt::Write;
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte) {
            result.push(char::from(byte));
        } else {
            let _ = write!(result, "%{byte:02X}");
        }
    }
    result
}
