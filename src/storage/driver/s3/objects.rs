//! Requests about single objects and listings.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::S3;
use super::client::{timeouts_for, timeouts_for_work};
use super::config::Encryption;
use super::failure::{Answer, NOT_A_STORE, Request, backend, failed, refused};
use super::payload::body;
use crate::storage::driver::bucket::{Depth, Fetched, Head, KeyEntry, KeyPage, ListQuery, Payload, Version};
use crate::storage::driver::{More, PresignMethod, WriteMode};
use crate::storage::error::{Error, Result, Retry};

/// A transfer that delivers nothing for this long has died.
const IDLE: Duration = Duration::from_mins(1);

impl S3 {
    /// One cheap request that needs all that the configuration says.
    pub(super) async fn check(&self) -> Result<()> {
        let prefix = self.config.root_directory.trim_matches('/');
        let request = self.requests().list_objects_v2().bucket(&self.config.bucket).prefix(prefix).max_keys(1);
        let place = Request { operation: "open bucket", key: &self.config.bucket };
        let answered = request.send().await.map_err(|error| failed(place, &error, &self.config));
        match answered {
            Ok(_) => Ok(()),
            // No store says of a listing that it is not there.
            Err(Error::NotFound { .. }) => Err(backend(place, Retry::Pointless, NOT_A_STORE.to_owned())),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn head_object(&self, key: &str) -> Result<Head> {
        let request = Request { operation: "look at", key };
        let found = self.requests().head_object().bucket(&self.config.bucket).key(key).send().await;
        let found = found.map_err(|error| failed(request, &error, &self.config))?;
        Ok(Head {
            size: size(request, found.content_length)?,
            modified: time(found.last_modified.as_ref()),
            version: found.e_tag.map(Version),
        })
    }

    pub(super) async fn get_object(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Fetched> {
        let request = Request { operation: "read", key };
        let range = match range {
            Some(range) if range.is_empty() => return self.nothing_of(key, version).await,
            range => range,
        };
        let answer = self
            .requests()
            .get_object()
            .bucket(&self.config.bucket)
            .key(key)
            .set_range(range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1))))
            .set_if_match(version.map(|version| version.0.clone()))
            .send()
            .await;
        let found = match answer {
            Ok(found) => found,
            Err(error) => match Refused::of(&error) {
                Refused::OtherVersion => return Err(Error::NotFound { path: key.to_owned() }),
                Refused::BeyondTheEnd => return self.nothing_of(key, version).await,
                Refused::Otherwise => return Err(failed(request, &error, &self.config)),
            },
        };
        // A store that does not know the condition answers with whatever lies there.
        let is_other = |version: &Version| found.e_tag.as_ref().is_some_and(|tag| *tag != version.0);
        if version.is_some_and(is_other) {
            return Err(Error::NotFound { path: key.to_owned() });
        }
        let size = match (&range, found.content_range.as_deref().and_then(whole_size)) {
            (Some(_), Some(size)) => size,
            (None, _) => size(request, found.content_length)?,
            (Some(_), None) => {
                let text = "the store sent the whole object where a part was asked for".to_owned();
                return Err(backend(request, Retry::Pointless, text));
            }
        };
        let head = Head { size, modified: time(found.last_modified.as_ref()), version: found.e_tag.map(Version) };
        Ok(Fetched { head, body: frames(key.to_owned(), found.body) })
    }

    /// The object without any of its bytes.
    async fn nothing_of(&self, key: &str, version: Option<&Version>) -> Result<Fetched> {
        let head = self.head_object(key).await?;
        if version.is_some() && head.version.as_ref() != version {
            return Err(Error::NotFound { path: key.to_owned() });
        }
        Ok(Fetched { head, body: stream::empty().boxed() })
    }

    pub(super) async fn put_object(&self, key: &str, content: &Payload, mode: WriteMode) -> Result<()> {
        let request = Request { operation: "write", key };
        let put = self
            .requests()
            .put_object()
            .bucket(&self.config.bucket)
            .key(key)
            .content_length(length(content))
            .body(body(content))
            .set_if_none_match((mode == WriteMode::CreateOnly).then(|| "*".to_owned()))
            .set_storage_class(self.storage_class())
            .set_acl(self.acl())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key());
        let sent = put.customize().disable_payload_signing().config_override(timeouts_for(content.length())).send();
        let Err(error) = sent.await else { return Ok(()) };
        match Answer::of(&error) {
            Some(answer) if mode == WriteMode::CreateOnly && answer.is_unmet_condition() => {
                Err(Error::AlreadyExists { path: key.to_owned() })
            }
            _ => Err(failed(request, &error, &self.config)),
        }
    }

    pub(super) async fn list_objects(&self, query: &ListQuery<'_>) -> Result<KeyPage> {
        let request = Request { operation: "list", key: query.prefix };
        let mut continuation = None;
        loop {
            let mut page = self
                .requests()
                .list_objects_v2()
                .bucket(&self.config.bucket)
                .prefix(query.prefix)
                .set_delimiter((query.depth == Depth::Directory).then(|| "/".to_owned()))
                .set_start_after(query.after.map(str::to_owned))
                .set_continuation_token(continuation)
                .max_keys(i32::try_from(query.limit).unwrap_or(1000))
                .send()
                .await
                .map_err(|error| failed(request, &error, &self.config))?;
            continuation = page.next_continuation_token.take();
            let truncated = page.is_truncated == Some(true);
            let page = key_page(request, page, truncated)?;
            // Some stores cut a page short before its first name, and only their token leads on.
            if truncated && continuation.is_some() && page.objects.is_empty() && page.folded.is_empty() {
                continue;
            }
            return Ok(page);
        }
    }

    pub(super) async fn copy_object(&self, from: &str, to: &str) -> Result<()> {
        let request = Request { operation: "copy", key: from };
        let copy = self
            .requests()
            .copy_object()
            .bucket(&self.config.bucket)
            .key(to)
            .copy_source(self.copy_source(from))
            .set_storage_class(self.storage_class())
            .set_acl(self.acl())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key());
        let copied = copy.customize().config_override(timeouts_for_work()).send().await;
        let copied = copied.map_err(|error| failed(request, &error, &self.config))?;
        match copied.copy_object_result.and_then(|result| result.e_tag) {
            Some(_) => Ok(()),
            None => Err(backend(request, Retry::Later, "the store did not say that it copied".to_owned())),
        }
    }

    pub(super) async fn presigned_address(
        &self,
        key: &str,
        method: PresignMethod,
        lifetime: Duration,
    ) -> Result<String> {
        let request = Request { operation: "sign an address for", key };
        let unfit = |error: &dyn std::fmt::Display| backend(request, Retry::Pointless, error.to_string());
        let config = PresigningConfig::expires_in(lifetime).map_err(|error| unfit(&error))?;
        let (client, bucket) = (&self.clients.addresses, &self.config.bucket);
        let signed = match method {
            PresignMethod::Get => client
                .get_object()
                .bucket(bucket)
                .key(key)
                .presigned(config)
                .await
                .map_err(|error| failed(request, &error, &self.config))?,
            PresignMethod::Head => client
                .head_object()
                .bucket(bucket)
                .key(key)
                .presigned(config)
                .await
                .map_err(|error| failed(request, &error, &self.config))?,
        };
        Ok(signed.uri().to_owned())
    }

    /// The source of a copy, as its header wants it.
    pub(super) fn copy_source(&self, key: &str) -> String {
        const LEFT: &percent_encoding::AsciiSet =
            &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        format!("{}/{}", self.config.bucket, percent_encoding::utf8_percent_encode(key, LEFT))
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.config.storage_class.as_deref().map(StorageClass::from)
    }

    pub(super) fn acl(&self) -> Option<ObjectCannedAcl> {
        self.config.acl.as_deref().map(ObjectCannedAcl::from)
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.config.encryption {
            Encryption::BucketDefault => None,
            Encryption::StoreKey => Some(ServerSideEncryption::Aes256),
            Encryption::ManagedKey(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    pub(super) fn encryption_key(&self) -> Option<String> {
        match &self.config.encryption {
            Encryption::ManagedKey(key) => Some(key.clone()),
            Encryption::BucketDefault | Encryption::StoreKey => None,
        }
    }

    /// The error that the refusal of one key among several is.
    pub(super) fn refused_entry(&self, key: &str, answer: &Answer) -> Error {
        refused(Request { operation: "delete", key }, answer, &self.config)
    }
}

/// Why a GET gave no object.
enum Refused {
    OtherVersion,
    BeyondTheEnd,
    Otherwise,
}

impl Refused {
    fn of(error: &SdkError<GetObjectError>) -> Self {
        match Answer::of(error) {
            Some(answer) if answer.is_unmet_condition() => Self::OtherVersion,
            Some(answer) if answer.status == 416 => Self::BeyondTheEnd,
            _ => Self::Otherwise,
        }
    }
}

/// The length of a payload as the client library wants it.
pub(super) fn length(content: &Payload) -> i64 {
    i64::try_from(content.length()).unwrap_or(i64::MAX)
}

/// The frames of a body as they come.
fn frames(key: String, body: ByteStream) -> BoxStream<'static, Result<Bytes>> {
    let next = |(key, mut body): (String, ByteStream)| async move {
        let text = match tokio::time::timeout(IDLE, body.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(frame))) => return Some((Ok(frame), Some((key, body)))),
            Ok(Some(Err(error))) => format!("the transfer broke off: {error}"),
            Err(_) => format!("nothing came for {} s", IDLE.as_secs()),
        };
        Some((Err(backend(Request { operation: "read", key: &key }, Retry::Later, text)), None))
    };
    stream::unfold(Some((key, body)), move |state| async move {
        match state {
            Some(state) => next(state).await,
            None => None,
        }
    })
    .boxed()
}

fn key_page(request: Request<'_>, page: ListObjectsV2Output, truncated: bool) -> Result<KeyPage> {
    let unnamed = || backend(request, Retry::Pointless, "the store listed an object without its key".to_owned());
    let mut objects = Vec::with_capacity(page.contents().len());
    for object in page.contents.unwrap_or_default() {
        let modified = time(object.last_modified.as_ref());
        objects.push(KeyEntry { key: object.key.ok_or_else(unnamed)?, size: size(request, object.size)?, modified });
    }
    let folded = page.common_prefixes.unwrap_or_default().into_iter();
    let folded = folded.map(|prefix| prefix.prefix.ok_or_else(unnamed)).collect::<Result<_>>()?;
    Ok(KeyPage { objects, folded, more: if truncated { More::Yes } else { More::No } })
}

fn size(request: Request<'_>, length: Option<i64>) -> Result<u64> {
    let known = length.and_then(|length| u64::try_from(length).ok());
    known.ok_or_else(|| backend(request, Retry::Later, "the store did not tell the object's size".to_owned()))
}

/// A store that tells no time is taken to mean the beginning of time, so that nothing looks fresher than it is.
pub(super) fn time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The size of the whole object, from `bytes 0-9/100`.
fn whole_size(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}
