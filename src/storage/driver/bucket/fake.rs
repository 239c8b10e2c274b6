//! A bucket in memory for tests: as strict as the strictest store, with failures on order and a record of all requests.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::service::*;
use super::{Payload, not_found, refused};
use crate::storage::driver::{More, PresignMethod, WriteMode};
use crate::storage::error::{Error, Result, Retry};

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does nothing.
    Before,
    /// It does its work, and the answer is lost.
    After,
    /// The body of the answer ends after some bytes. Does nothing to requests without one.
    Short,
}

/// A bucket in memory. Clones are the same bucket.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    inner: Arc<Mutex<Inner>>,
    limits: Limits,
    conditions: Conditions,
}

/// Whether conditional writes are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conditions {
    Honoured,
    Ignored,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    versions: u64,
    requests: Vec<(&'static str, String)>,
    faults: Vec<(usize, Fault)>,
}

#[derive(Debug, Clone)]
struct Object {
    content: Bytes,
    version: u64,
    modified: SystemTime,
}

#[derive(Debug)]
struct Upload {
    key: String,
    begun: SystemTime,
    parts: BTreeMap<u32, Bytes>,
}

impl Fake {
    /// An empty bucket whose parts have `part` bytes, which is also the least it takes.
    pub(super) fn new(part: u64) -> Self {
        let limits = Limits { part, least_part: part, copy: 1 << 30, copies_at_once: 8 };
        Self { inner: Arc::default(), limits, conditions: Conditions::Honoured }
    }

    pub(super) fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    pub(super) fn with_conditions(&self, conditions: Conditions) -> Self {
        Self { conditions, ..self.clone() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Forgets the requests so far and lets those counted from 0 from now on fail as told.
    pub(super) fn fail(&self, faults: &[(usize, Fault)]) {
        let mut inner = self.inner();
        inner.requests.clear();
        inner.faults = faults.to_vec();
    }

    /// The verbs of the requests since the last [`Fake::fail`].
    pub(super) fn verbs(&self) -> Vec<&'static str> {
        self.inner().requests.iter().map(|(verb, _)| *verb).collect()
    }

    /// Keys of all objects.
    pub(super) fn keys(&self) -> Vec<String> {
        self.inner().objects.keys().cloned().collect()
    }

    /// Uploads neither completed nor aborted.
    pub(super) fn open_uploads(&self) -> usize {
        self.inner().uploads.len()
    }

    /// Records a request and gives the fault it is to meet.
    fn begin(&self, verb: &'static str, key: &str) -> Result<Option<Fault>> {
        let mut inner = self.inner();
        let number = inner.requests.len();
        inner.requests.push((verb, key.to_owned()));
        match inner.faults.iter().find(|(planned, _)| *planned == number) {
            Some((_, Fault::Before)) => Err(lost(verb, key)),
            planned => Ok(planned.map(|(_, fault)| *fault)),
        }
    }

    /// Runs a request that changes something.
    async fn change<T>(&self, verb: &'static str, key: &str, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        tokio::task::yield_now().await;
        let fault = self.begin(verb, key)?;
        let done = work(&mut self.inner());
        if fault == Some(Fault::After) { done.and_then(|_| Err(lost(verb, key))) } else { done }
    }
}

fn lost(verb: &'static str, key: &str) -> Error {
    refused(verb, key, Retry::Later, "planned")
}

impl Inner {
    fn insert(&mut self, key: &str, content: Bytes) {
        self.versions += 1;
        // Seconds, as stores have them.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(self.versions);
        self.objects.insert(key.to_owned(), Object { content, version: self.versions, modified });
    }

    fn object(&self, key: &str) -> Result<&Object> {
        self.objects.get(key).ok_or_else(|| not_found(key))
    }

    fn upload(&mut self, upload: &Multipart) -> Result<&mut Upload> {
        self.uploads.get_mut(&upload.id).filter(|open| open.key == upload.key).ok_or_else(|| not_found(&upload.key))
    }

    fn part(&mut self, upload: &Multipart, number: u32, content: Bytes) -> Result<PartTag> {
        assert!((1..=10_000).contains(&number), "part {number}");
        assert!(!content.is_empty(), "an empty part");
        let tag = PartTag(format!("{number}-{}", content.len()));
        self.upload(upload)?.parts.insert(number, content);
        Ok(tag)
    }
}

impl Object {
    fn head(&self) -> Head {
        Head {
            size: self.content.len() as u64,
            modified: self.modified,
            version: Some(Version(format!("\"{}\"", self.version))),
        }
    }
}

fn joined(content: &Payload) -> Bytes {
    content.pieces().concat().into()
}

#[async_trait]
impl Service for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn head(&self, key: &str) -> Result<Head> {
        self.change("head", key, |inner| Ok(inner.object(key)?.head())).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Fetched> {
        tokio::task::yield_now().await;
        let fault = self.begin("get", key)?;
        if fault == Some(Fault::After) {
            return Err(lost("get", key));
        }
        let inner = self.inner();
        let object = inner.object(key)?;
        let head = object.head();
        if version.is_some() && version != head.version.as_ref() {
            return Err(not_found(key));
        }
        let range = range.unwrap_or(0..head.size);
        assert!(range.start < range.end || head.size == 0, "an empty range");
        assert!(range.start < head.size || head.size == 0, "a range beyond the end");
        let end = range.end.min(head.size);
        let end = if fault == Some(Fault::Short) { range.start.midpoint(end) } else { end };
        let content = object.content.slice(usize::try_from(range.start).unwrap()..usize::try_from(end).unwrap());
        let pieces: Vec<_> = content.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Fetched { head, body: stream::iter(pieces).boxed() })
    }

    async fn put(&self, key: &str, content: Payload, mode: WriteMode) -> Result<()> {
        let honoured = self.conditions == Conditions::Honoured;
        self.change("put", key, |inner| {
            if mode == WriteMode::CreateOnly && honoured && inner.objects.contains_key(key) {
                return Err(Error::AlreadyExists { path: key.to_owned() });
            }
            inner.insert(key, joined(&content));
            Ok(())
        })
        .await
    }

    async fn delete(&self, keys: &[String], sending: Sending) -> Result<()> {
        assert!((1..=MOST_KEYS).contains(&keys.len()), "{} keys at once", keys.len());
        let verb = if matches!(sending, Sending::Once { .. }) { "delete once" } else { "delete" };
        self.change(verb, &keys[0], |inner| {
            for key in keys {
                inner.objects.remove(key);
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, query: &ListQuery<'_>) -> Result<KeyPage> {
        assert!((1..=MOST_KEYS).contains(&query.limit), "limit {}", query.limit);
        assert!(query.after.is_none_or(|after| after.starts_with(query.prefix)), "{query:?}");
        self.change("list", query.prefix, |inner| Ok(list(&inner.objects, query))).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.change("copy", to, |inner| {
            let content = inner.object(from)?.content.clone();
            assert!(content.len() as u64 <= self.limits.copy);
            inner.insert(to, content);
            Ok(())
        })
        .await
    }

    async fn begin_multipart(&self, key: &str) -> Result<Multipart> {
        self.change("begin", key, |inner| {
            inner.versions += 1;
            let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(inner.versions);
            let id = format!("{:06}", inner.versions);
            inner.uploads.insert(id.clone(), Upload { key: key.to_owned(), begun, parts: BTreeMap::new() });
            Ok(Multipart { key: key.to_owned(), id })
        })
        .await
    }

    async fn upload_part(&self, upload: &Multipart, number: u32, content: Payload) -> Result<PartTag> {
        self.change("part", &upload.key, |inner| inner.part(upload, number, joined(&content))).await
    }

    async fn copy_part(&self, upload: &Multipart, number: u32, from: &str) -> Result<PartTag> {
        self.change("copy_part", &upload.key, |inner| {
            let content = inner.object(from)?.content.clone();
            inner.part(upload, number, content)
        })
        .await
    }

    async fn complete_multipart(&self, upload: &Multipart, parts: &[PartTag]) -> Result<()> {
        let least = self.limits.least_part;
        self.change("complete", &upload.key, |inner| {
            let known = &inner.upload(upload)?.parts;
            assert!(!parts.is_empty(), "completed without parts");
            let tags = known.iter().map(|(number, part)| PartTag(format!("{number}-{}", part.len())));
            assert_eq!(tags.collect::<Vec<_>>(), parts);
            assert!(known.keys().copied().eq(1..=u32::try_from(parts.len()).unwrap()), "parts are missing");
            assert!(known.values().rev().skip(1).all(|part| part.len() as u64 >= least), "a part is too small");
            let content: Vec<u8> = known.values().flatten().copied().collect();
            inner.uploads.remove(&upload.id);
            inner.insert(&upload.key, content.into());
            Ok(())
        })
        .await
    }

    async fn abort_multipart(&self, upload: &Multipart) -> Result<()> {
        self.change("abort", &upload.key, |inner| {
            inner.uploads.remove(&upload.id);
            Ok(())
        })
        .await
    }

    async fn list_multiparts(&self, prefix: &str, after: Option<&MultipartMarker>) -> Result<MultipartPage> {
        self.change("list_multiparts", prefix, |inner| {
            let mut open: Vec<_> = inner.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix)).collect();
            open.sort_by_key(|(id, upload)| (upload.key.clone(), (*id).clone()));
            open.retain(|(id, upload)| after.is_none_or(|after| (&after.key, &after.id) < (&upload.key, *id)));
            let of = |(id, upload): &(&String, &Upload)| Multipart { key: upload.key.clone(), id: (*id).clone() };
            let uploads: Vec<_> = open.iter().take(2).map(|open| (of(open), open.1.begun)).collect();
            let last = uploads.last().filter(|_| open.len() > uploads.len());
            let next = last.map(|(last, _)| MultipartMarker { key: last.key.clone(), id: last.id.clone() });
            Ok(MultipartPage { uploads, next })
        })
        .await
    }

    async fn presign(&self, key: &str, method: PresignMethod, lifetime: Duration) -> Result<String> {
        Ok(format!("https://bucket/{key}?{method:?}&{}", lifetime.as_secs()))
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

fn list(objects: &BTreeMap<String, Object>, query: &ListQuery<'_>) -> KeyPage {
    let mut page = KeyPage::default();
    let from = query.after.map_or(Bound::Included(query.prefix), Bound::Excluded);
    for (key, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        let folded = rest.split_once('/').filter(|_| query.depth == Depth::Directory);
        let folded = folded.map(|(name, _)| format!("{}{name}/", query.prefix));
        if folded.is_some() && page.folded.last() == folded.as_ref() {
            continue;
        }
        if page.objects.len() + page.folded.len() == query.limit {
            page.more = More::Yes;
            break;
        }
        match folded {
            Some(folded) => page.folded.push(folded),
            None => page.objects.push(KeyEntry {
                key: key.clone(),
                size: object.content.len() as u64,
                modified: object.modified,
            }),
        }
    }
    page
}
