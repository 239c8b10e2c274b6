//! Signatures of requests to OSS: version 4 and, for those who ask for it, version 1.
//!
//! Pure: the time comes with the call. Checked with the vectors of Alibaba's own client libraries. Must not send anything.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::config::Secret;

/// What stays as it is in a query.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What stays as it is in a path.
pub(super) const KEEPING_SLASHES: &AsciiSet = &UNRESERVED.remove(b'/');

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]");
const SECOND: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The parameters that choose what a request is about, and are therefore signed by version 1.
const SUBRESOURCES: [&str; 12] = [
    "acl",
    "continuation-token",
    "delete",
    "objectMeta",
    "partNumber",
    "response-content-disposition",
    "response-content-type",
    "security-token",
    "uploadId",
    "uploads",
    "versionId",
    "x-oss-process",
];

/// Who signs.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Access key id.
    pub(super) id: String,
    /// Access key secret.
    pub(super) secret: Secret,
    /// Of temporary credentials.
    pub(super) token: Option<Secret>,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signable<'a> {
    /// `GET` …
    pub(super) method: &'a str,
    /// The bucket, wherever it stands in the address.
    pub(super) bucket: &'a str,
    /// The key, not encoded; empty for the bucket itself.
    pub(super) key: &'a str,
    /// Parameters, not encoded. One without a value has an empty one.
    pub(super) query: &'a [(&'static str, String)],
    /// Headers, names in lower case.
    pub(super) headers: &'a [(&'static str, String)],
}

impl Signable<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value.trim())
    }
}

/// The headers, `authorization` among them, that sign `request` by version 4 for `region` at `now`.
pub(super) fn v4_headers(
    request: Signable<'_>,
    keys: &Keys,
    region: &str,
    now: OffsetDateTime,
) -> Vec<(&'static str, String)> {
    let mut headers = request.headers.to_vec();
    headers.push(("x-oss-date", format(now, SECOND)));
    headers.push(("x-oss-content-sha256", UNSIGNED_PAYLOAD.to_owned()));
    if let Some(token) = &keys.token {
        headers.push(("x-oss-security-token", token.reveal().to_owned()));
    }
    let canonical = v4_canonical(Signable { headers: &headers, ..request }, &[]);
    let signature = v4_signature(keys, region, now, &canonical);
    let credential = format!("{}/{}", keys.id, v4_scope(region, now));
    headers.push(("authorization", format!("{ALGORITHM} Credential={credential},Signature={signature}")));
    headers
}

/// The encoded query that signs `request` by version 4, good for `lifetime` seconds.
pub(super) fn v4_query(request: Signable<'_>, keys: &Keys, region: &str, now: OffsetDateTime, lifetime: u64) -> String {
    let mut query = request.query.to_vec();
    query.push(("x-oss-signature-version", ALGORITHM.to_owned()));
    query.push(("x-oss-credential", format!("{}/{}", keys.id, v4_scope(region, now))));
    query.push(("x-oss-date", format(now, SECOND)));
    query.push(("x-oss-expires", lifetime.to_string()));
    if let Some(token) = &keys.token {
        query.push(("x-oss-security-token", token.reveal().to_owned()));
    }
    let canonical = v4_canonical(Signable { query: &query, ..request }, &[]);
    query.push(("x-oss-signature", v4_signature(keys, region, now, &canonical)));
    encoded_query(&query)
}

/// The headers, `authorization` among them, that sign `request` by version 1 at `now`.
pub(super) fn v1_headers(request: Signable<'_>, keys: &Keys, now: OffsetDateTime) -> Vec<(&'static str, String)> {
    let mut headers = request.headers.to_vec();
    headers.push(("date", format(now, HTTP_DATE)));
    if let Some(token) = &keys.token {
        headers.push(("x-oss-security-token", token.reveal().to_owned()));
    }
    let signable = Signable { headers: &headers, ..request };
    let signature = v1_signature(keys, &v1_text(signable, signable.header("date")));
    headers.push(("authorization", format!("OSS {}:{signature}", keys.id)));
    headers
}

/// The encoded query that signs `request` by version 1, good until `expires`, in seconds since 1970.
pub(super) fn v1_query(request: Signable<'_>, keys: &Keys, expires: i64) -> String {
    let mut query = request.query.to_vec();
    if let Some(token) = &keys.token {
        query.push(("security-token", token.reveal().to_owned()));
    }
    let text = v1_text(Signable { query: &query, ..request }, &expires.to_string());
    query.push(("OSSAccessKeyId", keys.id.clone()));
    query.push(("Expires", expires.to_string()));
    query.push(("Signature", v1_signature(keys, &text)));
    encoded_query(&query)
}

/// The query as it is sent and as version 4 signs it: encoded, sorted, a parameter without a value as its bare name.
pub(super) fn encoded_query(query: &[(&'static str, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut pairs: Vec<(String, String)> = query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    let pairs = pairs.into_iter().map(|(name, value)| if value.is_empty() { name } else { format!("{name}={value}") });
    pairs.collect::<Vec<_>>().join("&")
}

fn v4_canonical(request: Signable<'_>, additional: &[&str]) -> String {
    let signed = |name: &str| {
        name.starts_with("x-oss-") || matches!(name, "content-type" | "content-md5") || additional.contains(&name)
    };
    let path = format!("/{}/{}", request.bucket, request.key);
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        utf8_percent_encode(&path, KEEPING_SLASHES),
        encoded_query(request.query)
    );
    push_headers(&mut text, request.headers, signed);
    let _ = write!(text, "\n{}\n{UNSIGNED_PAYLOAD}", additional.join(";"));
    text
}

fn v4_scope(region: &str, now: OffsetDateTime) -> String {
    format!("{}/{region}/oss/aliyun_v4_request", format(now, DAY))
}

fn v4_signature(keys: &Keys, region: &str, now: OffsetDateTime, canonical: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("{ALGORITHM}\n{}\n{}\n{hash}", format(now, SECOND), v4_scope(region, now));
    let mut key = format!("aliyun_v4{}", keys.secret.reveal()).into_bytes();
    for word in [format(now, DAY).as_str(), region, "oss", "aliyun_v4_request"] {
        key = hmac_sha256(&key, word);
    }
    hex::encode(hmac_sha256(&key, &text))
}

/// `date` is the value of `Date` or `x-oss-date`, or the second at which an address expires.
fn v1_text(request: Signable<'_>, date: &str) -> String {
    let (md5, kind) = (request.header("content-md5"), request.header("content-type"));
    let mut text = format!("{}\n{md5}\n{kind}\n{date}\n", request.method);
    push_headers(&mut text, request.headers, |name| name.starts_with("x-oss-"));
    let _ = write!(text, "/{}/{}", request.bucket, request.key);
    let mut query: Vec<_> = request.query.iter().filter(|(name, _)| SUBRESOURCES.contains(name)).collect();
    query.sort();
    for (index, (name, value)) in query.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            let _ = write!(text, "={value}");
        }
    }
    text
}

fn v1_signature(keys: &Keys, text: &str) -> String {
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(keys.secret.reveal().as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn push_headers(text: &mut String, headers: &[(&'static str, String)], signed: impl Fn(&str) -> bool) {
    let mut headers: Vec<_> = headers.iter().filter(|(name, _)| signed(name)).collect();
    headers.sort();
    for (name, value) in headers {
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is fine for HMAC; the type only does not know.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn format(time: OffsetDateTime, form: &[BorrowedFormatItem<'_>]) -> String {
    // Writing into a string does not fail, and every part that the forms name is there.
    time.format(form).unwrap_or_default()
}

#[cfg(test)]
mod tests;
