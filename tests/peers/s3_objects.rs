//! The objects and multipart uploads of the S3 server, in memory, in the order of their keys.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "this is a test's")]
#![allow(clippy::unnecessary_wraps, reason = "they give what the fields of answers take")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use md5::{Digest, Md5};
#[allow(clippy::wildcard_imports, reason = "an S3 server needs some forty of its types")]
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::{Habit, lock};

/// The least size of a part that is not the last.
const LEAST_PART: usize = 5 << 20;

#[derive(Debug, Clone)]
struct Object {
    content: Bytes,
    tag: String,
    modified: SystemTime,
}

impl Object {
    fn new(content: Bytes) -> Self {
        Self { tag: hex::encode(Md5::digest(&content)), content, modified: SystemTime::now() }
    }

    fn size(&self) -> i64 {
        i64::try_from(self.content.len()).expect("it is in memory")
    }

    fn e_tag(&self) -> Option<ETag> {
        Some(ETag::Strong(self.tag.clone()))
    }

    fn modified(&self) -> Option<Timestamp> {
        Some(self.modified.into())
    }
}

#[derive(Debug)]
struct Upload {
    begun: SystemTime,
    parts: BTreeMap<i32, Object>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// By key and upload.
    uploads: BTreeMap<(String, String), Upload>,
    uploads_begun: u64,
}

impl State {
    fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        self.uploads.get_mut(&(key.to_owned(), id.to_owned())).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn object(&self, key: &str) -> S3Result<Object> {
        self.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

/// One bucket.
#[derive(Debug)]
pub(super) struct Objects {
    bucket: String,
    habits: Vec<Habit>,
    state: Mutex<State>,
}

impl Objects {
    pub(super) fn new(bucket: String, habits: Vec<Habit>) -> Self {
        Self { bucket, habits, state: Mutex::default() }
    }

    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    fn in_bucket(&self, bucket: &str) -> S3Result<std::sync::MutexGuard<'_, State>> {
        if bucket == self.bucket { Ok(lock(&self.state)) } else { Err(s3_error!(NoSuchBucket, "no such bucket")) }
    }

    fn source(&self, source: &CopySource) -> S3Result<Object> {
        let CopySource::Bucket { bucket, key, .. } = source else { return Err(s3_error!(NotImplemented)) };
        self.in_bucket(bucket)?.object(key)
    }

    /// Whether a write of `key` may go on under `condition`.
    fn allow(&self, state: &State, key: &str, condition: Option<&IfNoneMatch>) -> S3Result<()> {
        let taken = condition == Some(&ETagCondition::Any) && state.objects.contains_key(key);
        if taken && !self.has(Habit::IgnoresConditions) { Err(s3_error!(PreconditionFailed)) } else { Ok(()) }
    }

    /// The parts that completion names, put together.
    fn assemble(&self, upload: &Upload, named: &[CompletedPart]) -> S3Result<Object> {
        if named.is_empty() {
            return Err(s3_error!(MalformedXML, "an upload has at least one part"));
        }
        let mut parts = Vec::with_capacity(named.len());
        let mut last = 0;
        for part in named {
            let number = part.part_number.unwrap_or_default();
            let stored = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().map(ETag::value) != Some(stored.tag.as_str()) {
                return Err(s3_error!(InvalidPart));
            }
            if number <= last {
                return Err(s3_error!(InvalidPartOrder));
            }
            last = number;
            parts.push(stored);
        }
        let inner = parts.split_last().map_or(&[][..], |(_, inner)| inner);
        if inner.iter().any(|part| part.content.len() < LEAST_PART) {
            return Err(s3_error!(EntityTooSmall));
        }
        let size = parts[0].content.len();
        if self.has(Habit::EqualParts) && inner.iter().any(|part| part.content.len() != size) {
            return Err(s3_error!(InvalidPart, "all parts but the last must have one size"));
        }
        let mut content = BytesMut::new();
        let mut tags = Md5::new();
        for part in &parts {
            content.extend_from_slice(&part.content);
            tags.update(hex::decode(&part.tag).expect("tags are hexadecimal"));
        }
        let mut object = Object::new(content.freeze());
        object.tag = format!("{}-{}", hex::encode(tags.finalize()), parts.len());
        Ok(object)
    }
}

async fn content_of(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let pieces: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(pieces.concat().into())
}

fn ok<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let object = Object::new(content_of(input.body).await?);
        let mut state = self.in_bucket(&input.bucket)?;
        self.allow(&state, &input.key, input.if_none_match.as_ref())?;
        let e_tag = object.e_tag();
        state.objects.insert(input.key, object);
        ok(PutObjectOutput { e_tag, ..Default::default() })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.in_bucket(&input.bucket)?.object(&input.key)?;
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && wanted.value() != object.tag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let whole = object.content.len() as u64;
        let range = match input.range {
            Some(range) => Some(range.check(whole).map_err(|_| s3_error!(InvalidRange))?),
            None => None,
        };
        let at = |position: u64| usize::try_from(position).expect("it is in memory");
        let content = match &range {
            Some(range) => object.content.slice(at(range.start)..at(range.end)),
            None => object.content.clone(),
        };
        ok(GetObjectOutput {
            content_length: i64::try_from(content.len()).ok(),
            content_range: range.map(|range| format!("bytes {}-{}/{whole}", range.start, range.end - 1)),
            body: Some(Body::from(content).into()),
            e_tag: object.e_tag(),
            last_modified: object.modified(),
            ..Default::default()
        })
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.in_bucket(&request.input.bucket)?.object(&request.input.key)?;
        ok(HeadObjectOutput {
            content_length: Some(object.size()),
            e_tag: object.e_tag(),
            last_modified: object.modified(),
            ..Default::default()
        })
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.in_bucket(&request.input.bucket)?.objects.remove(&request.input.key);
        ok(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        if self.has(Habit::NoDeleteObjects) {
            return Err(s3_error!(NotImplemented));
        }
        let mut state = self.in_bucket(&request.input.bucket)?;
        for object in request.input.delete.objects {
            state.objects.remove(&object.key);
        }
        ok(DeleteObjectsOutput::default())
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let state = self.in_bucket(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let limit = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or_default().min(1000);
        let outside = input.start_after.as_ref().is_some_and(|after| !after.starts_with(&prefix));
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let mut contents = Vec::new();
        let mut folded: Vec<String> = Vec::new();
        let mut next = None;
        let from = if after < prefix { Bound::Included(prefix.clone()) } else { Bound::Excluded(after) };
        for (key, object) in state.objects.range((from, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            if self.has(Habit::StartAfterWithinPrefix) && outside {
                break;
            }
            let fold = input.delimiter.as_ref().and_then(|delimiter| rest.split_once(delimiter.as_str()));
            let fold = fold.map(|(name, _)| format!("{prefix}{name}/"));
            if fold.is_some() && fold.as_ref() == folded.last() {
                continue;
            }
            if contents.len() + folded.len() == limit {
                next = folded.last().map(|fold| format!("{fold}\u{10ffff}"));
                next = next.max(contents.last().and_then(|object: &s3s::dto::Object| object.key.clone()));
                break;
            }
            match fold {
                Some(fold) => folded.push(fold),
                None => contents.push(s3s::dto::Object {
                    key: Some(key.clone()),
                    size: Some(object.size()),
                    last_modified: object.modified(),
                    e_tag: object.e_tag(),
                    ..Default::default()
                }),
            }
        }
        ok(ListObjectsV2Output {
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(folded.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect()),
            ..Default::default()
        })
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let object = Object { modified: SystemTime::now(), ..self.source(&request.input.copy_source)? };
        let result = CopyObjectResult { e_tag: object.e_tag(), ..Default::default() };
        self.in_bucket(&request.input.bucket)?.objects.insert(request.input.key, object);
        ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut state = self.in_bucket(&request.input.bucket)?;
        state.uploads_begun += 1;
        let id = format!("upload-{}", state.uploads_begun);
        let upload = Upload { begun: SystemTime::now(), parts: BTreeMap::new() };
        state.uploads.insert((request.input.key, id.clone()), upload);
        ok(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let part = Object::new(content_of(input.body).await?);
        let e_tag = part.e_tag();
        self.in_bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?.parts.insert(input.part_number, part);
        ok(UploadPartOutput { e_tag, ..Default::default() })
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        let part = Object::new(self.source(&input.copy_source)?.content);
        let result = CopyPartResult { e_tag: part.e_tag(), ..Default::default() };
        self.in_bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?.parts.insert(input.part_number, part);
        ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut state = self.in_bucket(&input.bucket)?;
        let object = self.assemble(state.upload(&input.key, &input.upload_id)?, &named)?;
        self.allow(&state, &input.key, input.if_none_match.as_ref())?;
        state.uploads.remove(&(input.key.clone(), input.upload_id));
        let e_tag = object.e_tag();
        state.objects.insert(input.key, object);
        ok(CompleteMultipartUploadOutput { e_tag, ..Default::default() })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.in_bucket(&request.input.bucket)?;
        let upload = state.uploads.remove(&(request.input.key, request.input.upload_id));
        upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        ok(AbortMultipartUploadOutput::default())
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let state = self.in_bucket(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let limit = usize::try_from(input.max_uploads.unwrap_or(1000)).unwrap_or_default().min(1000);
        let from = match (input.key_marker, input.upload_id_marker) {
            (Some(key), Some(id)) => Bound::Excluded((key, id)),
            (Some(key), None) => Bound::Excluded((key, "\u{10ffff}".to_owned())),
            (None, _) => Bound::Unbounded,
        };
        let mut below = state.uploads.range((from, Bound::Unbounded)).filter(|((key, _), _)| key.starts_with(&prefix));
        let uploads: Vec<MultipartUpload> = below
            .by_ref()
            .take(limit)
            .map(|((key, id), upload)| MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                initiated: Some(upload.begun.into()),
                ..Default::default()
            })
            .collect();
        let more = below.next().is_some();
        let last = uploads.last().filter(|_| more).cloned();
        ok(ListMultipartUploadsOutput {
            is_truncated: Some(more),
            next_key_marker: last.as_ref().and_then(|last| last.key.clone()),
            next_upload_id_marker: last.and_then(|last| last.upload_id),
            uploads: Some(uploads),
            ..Default::default()
        })
    }
}
