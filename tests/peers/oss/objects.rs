//! The objects of the bucket, and what may be asked of each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use md5::{Digest, Md5};
use time::OffsetDateTime;

use super::OssOptions;
use super::answer::{Answer, document_date, element, holding, http_date};
use super::multipart::Upload;
use super::request::{Asked, decoded};

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) uploads: BTreeMap<(String, String), Upload>,
    pub(super) begun: u64,
}

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) content: Bytes,
    /// Without quotes.
    pub(super) tag: String,
    pub(super) checksum: u64,
    pub(super) modified: OffsetDateTime,
    kind: String,
    encryption: Option<String>,
}

impl Object {
    /// What `asked` makes of `content`.
    pub(super) fn new(asked: &Asked, content: Bytes, tag: String) -> Self {
        Self {
            checksum: crc64(&content),
            content,
            tag,
            modified: OffsetDateTime::now_utc(),
            kind: asked.header("content-type").unwrap_or("application/octet-stream").to_owned(),
            encryption: asked.header("x-oss-server-side-encryption").map(str::to_owned),
        }
    }
}

impl Store {
    /// Does what is asked, which is known to be signed.
    pub(super) fn answer(&mut self, asked: &Asked, options: &OssOptions) -> Answer {
        if asked.bucket != options.bucket {
            return Answer::refused(404, "NoSuchBucket", "The specified bucket does not exist.");
        }
        let has = |name| asked.parameter(name).is_some();
        let done = match (asked.method.as_str(), asked.key.as_str()) {
            ("GET", "") if has("bucketInfo") => Ok(bucket_info(options)),
            ("GET", "") if has("location") => {
                Ok(Answer::document("LocationConstraint", &format!("oss-{}", options.region)))
            }
            ("GET", "") if has("uploads") => self.list_uploads(asked),
            ("GET", "") if asked.parameter("list-type") == Some("2") => self.list_v2(asked),
            ("GET", "") => self.list_v1(asked),
            ("POST", "") if has("delete") => self.delete_many(asked),
            (_, "") => Err(unknown()),
            ("PUT", _) if has("uploadId") => self.upload_part(asked),
            ("PUT", _) if asked.header("x-oss-copy-source").is_some() => self.copy(asked),
            ("PUT", _) => self.put(asked),
            ("GET", _) if has("uploadId") => self.list_parts(asked),
            ("GET" | "HEAD", _) => self.get(asked),
            ("POST", _) if has("uploads") => Ok(self.begin(asked)),
            ("POST", _) if has("uploadId") => self.complete(asked),
            ("DELETE", _) if has("uploadId") => self.abort(asked),
            ("DELETE", key) => {
                self.objects.remove(key);
                Ok(Answer::empty(204))
            }
            _ => Err(unknown()),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    /// Refuses what would overwrite something and was not to.
    pub(super) fn may_write(&self, asked: &Asked) -> Result<(), Answer> {
        let forbidden = asked.header("x-oss-forbid-overwrite").is_some_and(|value| value == "true");
        if forbidden && self.objects.contains_key(&asked.key) {
            return Err(Answer::refused(409, "FileAlreadyExists", "The object you specified already exists."));
        }
        Ok(())
    }

    fn put(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        self.may_write(asked)?;
        let object = Object::new(asked, asked.body.clone(), tag(&asked.body));
        let answer = Answer::empty(200)
            .with("etag", format!("\"{}\"", object.tag))
            .with("x-oss-hash-crc64ecma", object.checksum.to_string());
        self.objects.insert(asked.key.clone(), object);
        Ok(answer)
    }

    fn copy(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        self.may_write(asked)?;
        let source = self.source(asked)?.clone();
        let object = Object { modified: OffsetDateTime::now_utc(), ..source };
        let content =
            element("ETag", &format!("\"{}\"", object.tag)) + &element("LastModified", &document_date(object.modified));
        let answer = Answer::document("CopyObjectResult", &content)
            .with("etag", format!("\"{}\"", object.tag))
            .with("x-oss-hash-crc64ecma", object.checksum.to_string());
        self.objects.insert(asked.key.clone(), object);
        Ok(answer)
    }

    /// The object that is to be copied.
    pub(super) fn source(&self, asked: &Asked) -> Result<&Object, Answer> {
        let source = asked.header("x-oss-copy-source").and_then(decoded).unwrap_or_default();
        let key = source.strip_prefix('/').and_then(|source| source.strip_prefix(&asked.bucket)?.strip_prefix('/'));
        let key = key.ok_or_else(|| Answer::refused(400, "InvalidArgument", "The copy source is wrong."))?;
        self.objects.get(key).ok_or_else(missing)
    }

    fn get(&self, asked: &Asked) -> Result<Answer, Answer> {
        let object = self.objects.get(&asked.key).ok_or_else(missing)?;
        let quoted = format!("\"{}\"", object.tag);
        if asked.header("if-match").is_some_and(|wanted| wanted.trim_matches('"') != object.tag) {
            return Err(Answer::refused(412, "PreconditionFailed", "At least one precondition does not hold."));
        }
        if asked.header("if-none-match").is_some_and(|held| held.trim_matches('"') == object.tag) {
            return Ok(Answer::empty(304).with("etag", quoted));
        }
        let size = object.content.len();
        let range = match asked.header("range").map(|range| range_of(range, size)) {
            None => None,
            Some(Wanted::Satisfiable(range)) => Some(range),
            // Without the header, whatever does not lie within the object means all of it.
            Some(_) if asked.header("x-oss-range-behavior") != Some("standard") => None,
            Some(Wanted::Reaching(range)) => Some(range),
            Some(Wanted::Beyond) => {
                return Err(Answer::refused(416, "InvalidRange", "The requested range cannot be satisfied."));
            }
        };
        let range = range.filter(|_| asked.method == "GET");
        let answer = match &range {
            Some(range) => Answer::bytes(206, object.content.slice(range.clone()))
                .with("content-range", format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            None => Answer::bytes(200, object.content.clone()),
        };
        let answer = if asked.method == "HEAD" { answer.with("content-length", size.to_string()) } else { answer };
        let kind = asked.parameter("response-content-type").unwrap_or(&object.kind);
        let answer = answer
            .with("accept-ranges", "bytes")
            .with("content-type", kind)
            .with("etag", quoted)
            .with("last-modified", http_date(object.modified))
            .with("x-oss-object-type", if object.tag.contains('-') { "Multipart" } else { "Normal" })
            .with("x-oss-storage-class", "Standard")
            .with("x-oss-hash-crc64ecma", object.checksum.to_string());
        Ok(match &object.encryption {
            Some(encryption) => answer.with("x-oss-server-side-encryption", encryption.as_str()),
            None => answer,
        })
    }

    fn delete_many(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        if asked.header("content-md5").is_none() || asked.header("content-length").is_none() {
            return Err(Answer::refused(400, "MissingArgument", "Content-MD5 is missing."));
        }
        let document: Delete = super::listing::document(&asked.body)?;
        if document.object.len() > 1000 {
            return Err(super::listing::malformed());
        }
        let mut content = String::new();
        for Named { key } in document.object {
            self.objects.remove(&key);
            let named = super::answer::key_element("Key", &key, asked.parameter("encoding-type"));
            content.push_str(&holding("Deleted", &named));
        }
        Ok(if document.quiet { Answer::empty(200) } else { Answer::document("DeleteResult", &content) })
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default)]
    quiet: bool,
    #[serde(default)]
    object: Vec<Named>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    key: String,
}

fn bucket_info(options: &OssOptions) -> Answer {
    let host = format!("oss-{}", options.region);
    let content = element("Name", &options.bucket)
        + &element("Location", &host)
        + &element("CreationDate", "2026-01-01T00:00:00.000Z")
        + &element("StorageClass", "Standard")
        + &element("ExtranetEndpoint", &format!("{host}.aliyuncs.com"))
        + &element("IntranetEndpoint", &format!("{host}-internal.aliyuncs.com"))
        + "<Owner><DisplayName>1</DisplayName><ID>1</ID></Owner>"
        + "<AccessControlList><Grant>private</Grant></AccessControlList>";
    Answer::document("BucketInfo", &format!("<Bucket>{content}</Bucket>"))
}

/// How a range lies to an object.
pub(super) enum Wanted {
    /// Within it.
    Satisfiable(Range<usize>),
    /// Beginning within it and ending behind it; cut to what is there.
    Reaching(Range<usize>),
    /// Not touching it, or malformed.
    Beyond,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`.
pub(super) fn range_of(text: &str, size: usize) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Beyond;
    };
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first < size && first <= last && last < size => Wanted::Satisfiable(first..last + 1),
        (Ok(first), Ok(last)) if first < size && first <= last => Wanted::Reaching(first..size),
        (Ok(first), Err(_)) if first < size && last.is_empty() => Wanted::Satisfiable(first..size),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 && size > 0 => {
            Wanted::Satisfiable(size.saturating_sub(count)..size)
        }
        _ => Wanted::Beyond,
    }
}

/// The entity tag of bytes that came in one piece.
pub(super) fn tag(content: &[u8]) -> String {
    hex::encode_upper(Md5::digest(content))
}

/// CRC-64 of ECMA-182, reflected, all ones before and after.
pub(super) fn crc64(content: &[u8]) -> u64 {
    static TABLE: LazyLock<[u64; 256]> = LazyLock::new(|| {
        std::array::from_fn(|index| {
            (0..8).fold(
                index as u64,
                |rest, _| {
                    if rest & 1 == 1 { (rest >> 1) ^ 0xC96C_5795_D787_0F42 } else { rest >> 1 }
                },
            )
        })
    });
    let table = &*TABLE;
    !content.iter().fold(!0, |rest, byte| table[usize::from(rest.to_le_bytes()[0] ^ byte)] ^ (rest >> 8))
}

pub(super) fn missing() -> Answer {
    Answer::refused(404, "NoSuchKey", "The specified key does not exist.")
}

fn unknown() -> Answer {
    Answer::refused(501, "NotImplemented", "This server does not know the request.")
}
