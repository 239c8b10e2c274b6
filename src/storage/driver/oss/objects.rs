//! Requests about single objects and listings.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method};
use md5::{Digest, Md5};
use percent_encoding::utf8_percent_encode;
use reqwest::Response;

use super::Oss;
use super::client::{ANSWER_TIMEOUT, Reply, Request, header, header_time};
use super::failure::{Failure, backend};
use super::payload::crc64;
use super::sign::KEEPING_SLASHES;
use super::xml;
use crate::storage::driver::bucket::{Depth, Fetched, Head, KeyEntry, KeyPage, ListQuery, Payload, Sending, Version};
use crate::storage::driver::{More, WriteMode};
use crate::storage::error::{Error, Result, Retry};

/// What every object is to the store.
pub(super) const KIND: (&str, &str) = ("content-type", "application/octet-stream");

impl Oss {
    /// One cheap request that needs all that the configuration says.
    pub(super) async fn check(&self) -> Result<()> {
        let query = ListQuery { prefix: &self.config.root_directory, depth: Depth::Tree, after: None, limit: 1 };
        match self.list_objects(&query).await {
            Err(Error::Backend { retry, source, .. }) => {
                Err(Error::Backend { operation: "open bucket", path: self.config.bucket.clone(), retry, source })
            }
            other => other.map(drop),
        }
    }

    pub(super) async fn head_object(&self, key: &str) -> Result<Head> {
        let request = Request::new("look at", Method::HEAD, key);
        let reply = self.call(&request).await?;
        head(&request, &reply.headers, CONTENT_LENGTH.as_str())
    }

    pub(super) async fn get_object(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Fetched> {
        let mut request = Request::new("read", Method::GET, key);
        match &range {
            Some(range) if range.is_empty() => return self.nothing_of(key, version).await,
            Some(range) => {
                // Without the second header the store answers a range beyond the end with the whole object.
                request = request
                    .header("range", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
                    .header("x-oss-range-behavior", "standard");
            }
            None => {}
        }
        if let Some(Version(tag)) = version {
            request = request.header("if-match", tag.as_str());
        }
        let response = match self.client.fetch(&request).await {
            Ok(response) => response,
            Err(failure) => match failure.refusal().map(|refusal| refusal.status) {
                Some(412 | 304) => return Err(Error::NotFound { path: key.to_owned() }),
                Some(416) => return self.nothing_of(key, version).await,
                _ => return Err(self.error(&request, failure)),
            },
        };
        let whole = if range.is_some() { CONTENT_RANGE } else { CONTENT_LENGTH };
        let head = head(&request, response.headers(), whole.as_str())?;
        Ok(Fetched { head, body: frames(key.to_owned(), response) })
    }

    /// The object without any of its bytes.
    async fn nothing_of(&self, key: &str, version: Option<&Version>) -> Result<Fetched> {
        let head = self.head_object(key).await?;
        if version.is_some() && head.version.as_ref() != version {
            return Err(Error::NotFound { path: key.to_owned() });
        }
        Ok(Fetched { head, body: stream::empty().boxed() })
    }

    pub(super) async fn put_object(&self, key: &str, content: Payload, mode: WriteMode) -> Result<()> {
        let mut request = self.encrypted(Request::new("write", Method::PUT, key).header(KIND.0, KIND.1)).body(content);
        if mode == WriteMode::CreateOnly {
            // What arrives altered must not be created, because it could not be replaced.
            let md5 = md5_of(request.body.pieces().iter());
            request = request.header("x-oss-forbid-overwrite", "true").header("content-md5", md5);
        }
        match self.client.call(&request).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is("FileAlreadyExists") => {
                let repeated = failure.refusal().is_some_and(|refusal| refusal.is_repetition);
                if repeated && self.holds(key, &request.body).await? {
                    return Ok(());
                }
                Err(Error::AlreadyExists { path: key.to_owned() })
            }
            Err(failure) => Err(self.error(&request, failure)),
        }
    }

    /// Whether what lies at `key` is `content`: then a request whose answer was lost did its work.
    async fn holds(&self, key: &str, content: &Payload) -> Result<bool> {
        let request = Request::new("look at", Method::HEAD, key);
        let found = match self.client.call(&request).await {
            Ok(reply) => reply.headers,
            Err(failure) if failure.refusal().is_some_and(super::failure::Refusal::is_missing) => return Ok(false),
            Err(failure) => return Err(self.error(&request, failure)),
        };
        let told = header(&found, "x-oss-hash-crc64ecma").and_then(|told| told.parse().ok());
        let length = header(&found, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        Ok(length == Some(content.length()) && told == Some(crc64(content)))
    }

    pub(super) async fn delete_objects(&self, keys: &[String], sending: Sending) -> Result<()> {
        if let [key] = keys {
            let request = Request::new("delete", Method::DELETE, key).sent(sending);
            return match self.call(&request).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            };
        }
        let Some(first) = keys.first() else { return Ok(()) };
        let document = Bytes::from(xml::deletion(keys));
        let request = Request::new("delete", Method::POST, "")
            .query("delete", "")
            .header("content-type", "application/xml")
            .header("content-md5", md5_of([&document]))
            .body(document)
            .sent(sending);
        let reply = match self.client.call(&request).await {
            Ok(reply) => reply,
            Err(failure) => return Err(self.error(&Request { key: first, ..request.clone() }, failure)),
        };
        if reply.content.is_empty() {
            return Ok(());
        }
        let deletion: xml::Deletion = self.document(&request, &reply)?;
        match deletion.error.into_iter().find(|refused| refused.code != "NoSuchKey") {
            None => Ok(()),
            Some(refused) => {
                let text = format!("{}: {}", refused.code, refused.message);
                Err(backend(&Request { key: &refused.key, ..request }, Retry::Later, text))
            }
        }
    }

    pub(super) async fn list_objects(&self, query: &ListQuery<'_>) -> Result<KeyPage> {
        let mut continuation = None;
        loop {
            let mut request = Request::new("list", Method::GET, "")
                .query("list-type", "2")
                .query("encoding-type", "url")
                .query("max-keys", query.limit.to_string())
                .query("prefix", query.prefix);
            if query.depth == Depth::Directory {
                request = request.query("delimiter", "/");
            }
            request = match (continuation, query.after) {
                (Some(token), _) => request.query("continuation-token", token),
                (None, Some(after)) => request.query("start-after", after),
                (None, None) => request,
            };
            let place = Request { key: query.prefix, ..request.clone() };
            let reply = self.client.call(&request).await.map_err(|failure| self.error(&place, failure))?;
            let keys: xml::Keys = self.document(&place, &reply)?;
            continuation = keys.next_continuation_token.clone().filter(|token| !token.is_empty());
            let truncated = keys.is_truncated;
            let page = key_page(keys).map_err(|text| backend(&place, Retry::Pointless, text))?;
            // The store may cut a page short before its first name, and only its token leads on.
            if truncated && continuation.is_some() && page.objects.is_empty() && page.folded.is_empty() {
                continue;
            }
            return Ok(page);
        }
    }

    pub(super) async fn copy_object(&self, from: &str, to: &str) -> Result<()> {
        let request = Request::new("copy", Method::PUT, to).header("x-oss-copy-source", self.copy_source(from));
        let request = self.encrypted(request).in_store();
        let place = Request { key: from, ..request.clone() };
        let reply = self.client.call(&request).await.map_err(|failure| self.error(&place, failure))?;
        self.document::<xml::Copied>(&place, &reply).map(drop)
    }

    /// The source of a copy, as its header wants it.
    pub(super) fn copy_source(&self, key: &str) -> String {
        format!("/{}/{}", self.config.bucket, utf8_percent_encode(key, KEEPING_SLASHES))
    }

    /// Sends a request whose failures are about its own key.
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Reply> {
        self.client.call(request).await.map_err(|failure| self.error(request, failure))
    }

    /// The document in an answer, which may be a refusal in spite of its status.
    pub(super) fn document<T: serde::de::DeserializeOwned>(&self, request: &Request<'_>, reply: &Reply) -> Result<T> {
        if let Some(told) = xml::error(&reply.content) {
            let text = format!("{}: {}", told.code, told.message);
            return Err(backend(request, Retry::Later, text));
        }
        xml::document(&reply.content).map_err(|text| self.error(request, Failure::Broken(text)))
    }
}

/// `whole` is the header that tells the size of the whole object.
fn head(request: &Request<'_>, headers: &HeaderMap, whole: &str) -> Result<Head> {
    let told = header(headers, whole).map(|text| text.rsplit_once('/').map_or(text, |(_, size)| size));
    let size = told.and_then(|size| size.parse().ok()).ok_or_else(|| {
        let text = format!("the store's answer has no {whole} that tells the object's size");
        backend(request, Retry::Later, text)
    })?;
    let version = header(headers, ETAG.as_str()).map(|tag| Version(tag.to_owned()));
    Ok(Head { size, modified: header_time(headers, LAST_MODIFIED.as_str()), version })
}

/// The frames of a body as they come.
fn frames(key: String, response: Response) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(Some((key, response)), |state| async move {
        let (key, mut response) = state?;
        let failure = match tokio::time::timeout(ANSWER_TIMEOUT, response.chunk()).await {
            Ok(Ok(frame)) => return frame.map(|frame| (Ok(frame), Some((key, response)))),
            Ok(Err(error)) => Failure::of_transport(&error),
            Err(_) => Failure::Slow,
        };
        let request = Request::new("read", Method::GET, &key);
        Some((Err(backend(&request, Retry::Later, format!("of the store: {failure}"))), None))
    })
    .boxed()
}

fn key_page(keys: xml::Keys) -> std::result::Result<KeyPage, String> {
    let object = |object: xml::Object| {
        let modified = xml::time(&object.last_modified);
        Ok(KeyEntry { key: xml::name(&object.key)?, size: object.size, modified })
    };
    Ok(KeyPage {
        objects: keys.contents.into_iter().map(object).collect::<std::result::Result<_, String>>()?,
        folded: keys.common_prefixes.iter().map(|folded| xml::name(&folded.prefix)).collect::<Result<_, _>>()?,
        more: if keys.is_truncated { More::Yes } else { More::No },
    })
}

fn md5_of<'a>(pieces: impl IntoIterator<Item = &'a Bytes>) -> String {
    let mut digest = Md5::new();
    pieces.into_iter().for_each(|piece| digest.update(piece));
    STANDARD.encode(digest.finalize())
}
