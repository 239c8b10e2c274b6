//! Multipart uploads.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use time::OffsetDateTime;

use super::answer::{Answer, document_date, element, holding, key_element};
use super::listing::{document, limit};
use super::objects::{Object, Store, Wanted, crc64, range_of, tag};
use super::request::Asked;

/// Every part but the last has at least this many bytes.
const LEAST_PART: usize = 100 * 1024;

/// An upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    begun: OffsetDateTime,
    parts: BTreeMap<u32, Bytes>,
    /// What came with the beginning, and belongs to the object.
    headers: http::HeaderMap,
}

impl Store {
    pub(super) fn begin(&mut self, asked: &Asked) -> Answer {
        self.begun += 1;
        let id = format!("{:032X}", self.begun);
        let upload =
            Upload { begun: OffsetDateTime::now_utc(), parts: BTreeMap::new(), headers: asked.headers.clone() };
        let content = element("Bucket", &asked.bucket)
            + &key_element("Key", &asked.key, asked.parameter("encoding-type"))
            + &element("UploadId", &id);
        self.uploads.insert((asked.key.clone(), id), upload);
        Answer::document("InitiateMultipartUploadResult", &content)
    }

    pub(super) fn upload_part(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let number = asked.parameter("partNumber").and_then(|number| number.parse().ok());
        let number = number.filter(|number| (1..=10_000).contains(number));
        let number: u32 =
            number.ok_or_else(|| Answer::refused(400, "InvalidArgument", "Part number is not from 1 to 10000."))?;
        let copied = asked.header("x-oss-copy-source").is_some();
        let content = if copied { self.range_of_source(asked)? } else { asked.body.clone() };
        let (tag, checksum) = (tag(&content), crc64(&content));
        self.upload_mut(asked)?.parts.insert(number, content);
        let quoted = format!("\"{tag}\"");
        if copied {
            let content =
                element("ETag", &quoted) + &element("LastModified", &document_date(OffsetDateTime::now_utc()));
            return Ok(Answer::document("CopyPartResult", &content).with("etag", quoted));
        }
        Ok(Answer::empty(200).with("etag", quoted).with("x-oss-hash-crc64ecma", checksum.to_string()))
    }

    fn range_of_source(&self, asked: &Asked) -> Result<Bytes, Answer> {
        let content = &self.source(asked)?.content;
        match asked.header("x-oss-copy-source-range").map(|range| range_of(range, content.len())) {
            None => Ok(content.clone()),
            Some(Wanted::Satisfiable(range)) => Ok(content.slice(range)),
            Some(_) => Err(Answer::refused(400, "InvalidArgument", "The copy range is wrong.")),
        }
    }

    pub(super) fn complete(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let upload = self.uploads.get(&name(asked)).ok_or_else(gone)?;
        let chosen = chosen(asked, upload)?;
        let (mut content, mut tags) = (BytesMut::new(), Vec::new());
        for (index, part) in chosen.iter().enumerate() {
            if index + 1 < chosen.len() && part.len() < LEAST_PART {
                let message = "Your proposed upload is smaller than the minimum allowed size.";
                return Err(Answer::refused(400, "EntityTooSmall", message));
            }
            content.extend_from_slice(part);
            tags.extend(Md5::digest(part));
        }
        self.may_write(asked)?;
        let whole_tag = format!("{}-{}", tag(&tags), chosen.len());
        let beginning = Asked {
            method: String::new(),
            bucket: String::new(),
            key: String::new(),
            query: Vec::new(),
            headers: upload.headers.clone(),
            body: Bytes::new(),
        };
        let object = Object::new(&beginning, content.freeze(), whole_tag.clone());
        let checksum = object.checksum.to_string();
        self.uploads.remove(&name(asked));
        self.objects.insert(asked.key.clone(), object);
        let content = element("Location", &format!("http://store.invalid/{}", asked.key))
            + &element("Bucket", &asked.bucket)
            + &key_element("Key", &asked.key, asked.parameter("encoding-type"))
            + &element("ETag", &format!("\"{whole_tag}\""));
        let answer = Answer::document("CompleteMultipartUploadResult", &content);
        Ok(answer.with("etag", format!("\"{whole_tag}\"")).with("x-oss-hash-crc64ecma", checksum))
    }

    pub(super) fn abort(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        self.uploads.remove(&name(asked)).map(|_| Answer::empty(204)).ok_or_else(gone)
    }

    pub(super) fn list_parts(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let (most, after) = (limit(asked, "max-parts", 1000)?, asked.parameter("part-number-marker"));
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let upload = self.upload_mut(asked)?;
        let page: Vec<_> = upload.parts.iter().filter(|(number, _)| **number > after).collect();
        let truncated = page.len() > most;
        let mut content = element("Bucket", &asked.bucket)
            + &key_element("Key", &asked.key, asked.parameter("encoding-type"))
            + &element("UploadId", asked.parameter("uploadId").unwrap_or_default())
            + &element("MaxParts", &most.to_string())
            + &element("IsTruncated", if truncated { "true" } else { "false" });
        let last = page.iter().take(most).next_back().map_or(0, |(number, _)| **number);
        content.push_str(&element("NextPartNumberMarker", &last.to_string()));
        for (number, part) in page.into_iter().take(most) {
            let described = element("PartNumber", &number.to_string())
                + &element("LastModified", &document_date(OffsetDateTime::now_utc()))
                + &element("ETag", &format!("\"{}\"", tag(part)))
                + &element("HashCrc64ecma", &crc64(part).to_string())
                + &element("Size", &part.len().to_string());
            content.push_str(&holding("Part", &described));
        }
        Ok(Answer::document("ListPartsResult", &content))
    }

    pub(super) fn list_uploads(&self, asked: &Asked) -> Result<Answer, Answer> {
        let (most, encoding) = (limit(asked, "max-uploads", 1000)?, asked.parameter("encoding-type"));
        let prefix = asked.parameter("prefix").unwrap_or_default();
        let marker = (
            asked.parameter("key-marker").unwrap_or_default().to_owned(),
            asked.parameter("upload-id-marker").unwrap_or_default().to_owned(),
        );
        // With a key alone, everything of that key is behind; with both, only what comes up to that upload.
        let behind = |(key, id): &(String, String)| match marker.1.as_str() {
            "" => *key <= marker.0,
            _ => (key, id) <= (&marker.0, &marker.1),
        };
        let wanted: Vec<_> =
            self.uploads.iter().filter(|(name, _)| name.0.starts_with(prefix) && !behind(name)).collect();
        let truncated = wanted.len() > most;
        let mut content = element("Bucket", &asked.bucket)
            + &key_element("Prefix", prefix, encoding)
            + &key_element("KeyMarker", &marker.0, encoding)
            + &element("UploadIdMarker", &marker.1)
            + &element("MaxUploads", &most.to_string())
            + &element("IsTruncated", if truncated { "true" } else { "false" });
        if let Some(encoding) = encoding {
            content.push_str(&element("EncodingType", encoding));
        }
        let mut last = ("", "");
        for ((key, id), upload) in wanted.into_iter().take(most) {
            let described = key_element("Key", key, encoding)
                + &element("UploadId", id)
                + &element("StorageClass", "Standard")
                + &element("Initiated", &document_date(upload.begun));
            content.push_str(&holding("Upload", &described));
            last = (key.as_str(), id.as_str());
        }
        let (key, id) = if truncated { last } else { ("", "") };
        content.push_str(&key_element("NextKeyMarker", key, encoding));
        content.push_str(&element("NextUploadIdMarker", id));
        Ok(Answer::document("ListMultipartUploadsResult", &content))
    }

    fn upload_mut(&mut self, asked: &Asked) -> Result<&mut Upload, Answer> {
        self.uploads.get_mut(&name(asked)).ok_or_else(gone)
    }
}

/// The parts that the object is made of, in order.
fn chosen(asked: &Asked, upload: &Upload) -> Result<Vec<Bytes>, Answer> {
    if asked.header("x-oss-complete-all") == Some("yes") {
        return Ok(upload.parts.values().cloned().collect());
    }
    let list: PartList = document(&asked.body)?;
    let invalid = || Answer::refused(400, "InvalidPart", "One or more of the specified parts could not be found.");
    let (mut chosen, mut before) = (Vec::new(), 0);
    for listed in list.part {
        if listed.part_number <= before {
            return Err(Answer::refused(400, "InvalidPartOrder", "The list of parts was not in ascending order."));
        }
        before = listed.part_number;
        let part = upload.parts.get(&listed.part_number).ok_or_else(invalid)?;
        // One of the client libraries quotes what is quoted already.
        if !listed.tag.trim_matches('"').eq_ignore_ascii_case(&tag(part)) {
            return Err(invalid());
        }
        chosen.push(part.clone());
    }
    if chosen.is_empty() { Err(super::listing::malformed()) } else { Ok(chosen) }
}

#[derive(serde::Deserialize)]
struct PartList {
    #[serde(rename = "Part", default)]
    part: Vec<Listed>,
}

#[derive(serde::Deserialize)]
struct Listed {
    #[serde(rename = "PartNumber")]
    part_number: u32,
    #[serde(rename = "ETag")]
    tag: String,
}

fn name(asked: &Asked) -> (String, String) {
    (asked.key.clone(), asked.parameter("uploadId").unwrap_or_default().to_owned())
}

fn gone() -> Answer {
    Answer::refused(404, "NoSuchUpload", "The specified upload does not exist.")
}
