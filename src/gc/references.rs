//! What a manifest refers to, read conservatively: every `algorithm:hex` in its bytes, whatever field it stands in.
//!
//! A manifest that is not understood keeps what it names; one that cannot be read at all stops collection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::Error;
use crate::oci::{Digest, Hasher, RepositoryName, digests_mentioned};
use crate::storage::collection::{Fingerprint, fingerprint};
use crate::storage::driver::Latency;
use crate::storage::{Error as StorageError, Store};

/// References kept in memory between the marks of one run; beyond it manifests are read again. 16 bytes each.
const MOST_REMEMBERED: usize = 1_000_000;

/// Manifests read by one call where calls cost more than reads, and their bytes together.
const MANIFESTS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: u64 = 1 << 20;

/// What may be on its way is waited for: longer than a push waits for a collector before it is refused.
const UNDER_WAY: Duration = Duration::from_secs(25);

/// Between two looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One of several looks at something that is missing and may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    First,
    Again,
    Last,
}

impl Look {
    /// Whether the records of collections are asked too: they say the same for most of the time, and there are many.
    pub(super) fn asks_records(self) -> bool {
        self != Self::Again
    }

    /// Waits for the next one of those that began at `begun`.
    pub(super) async fn next(begun: Instant) -> Self {
        tokio::time::sleep(LOOK_AGAIN).await;
        if begun.elapsed() < UNDER_WAY { Self::Again } else { Self::Last }
    }
}

/// What one manifest refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Everything named in its bytes, its subject included.
    pub(super) named: Box<[Fingerprint]>,
    /// What it is about.
    pub(super) subject: Option<Digest>,
    /// Whether it is there at all.
    pub(super) standing: Standing,
}

/// Whether there is a manifest where a link leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is.
    #[default]
    Whole,
    /// A collection removed it, and then a push that was never acknowledged put the link back.
    Remnant,
}

impl References {
    fn remnant() -> Self {
        Self { standing: Standing::Remnant, ..Self::default() }
    }
}

/// Manifests read so far. They never change, so both marks of a run may share them.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    manifests: HashMap<Fingerprint, Arc<References>>,
    references: usize,
}

impl Known {
    /// What is remembered of the manifest whose content is `digest`.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<References>> {
        self.lock().manifests.get(&fingerprint(digest)).cloned()
    }

    fn insert(&self, digest: &Digest, references: References) -> Arc<References> {
        let references = Arc::new(references);
        let mut remembered = self.lock();
        // Somebody may push again what is missing now.
        if references.standing == Standing::Whole && remembered.references + references.named.len() < MOST_REMEMBERED {
            remembered.references += references.named.len() + 2;
            remembered.manifests.insert(fingerprint(digest), Arc::clone(&references));
        }
        references
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What each of `manifests` refers to, given as the digest in the repository and that of its content, and in their order;
/// `None` where it was removed meanwhile.
///
/// # Errors
/// As for [`read`].
pub(super) async fn read_all(
    store: &Store,
    name: &RepositoryName,
    manifests: &[(Digest, Digest)],
    known: &Known,
    limit: u64,
) -> Result<Vec<Option<Arc<References>>>, Error> {
    let mut read: Vec<_> = manifests.iter().map(|(_, content)| known.get(content)).collect();
    let missing = (0..).zip(manifests).zip(&read).filter(|(_, known)| known.is_none()).map(|(missing, _)| missing);
    let missing: Vec<(usize, &(Digest, Digest))> = missing.collect();
    let one = async |(at, (digest, content)): (usize, &(Digest, Digest))| {
        let references = self::read(store, name, digest, content, limit).await?;
        Ok::<_, Error>((at, references.map(|references| known.insert(content, references))))
    };
    match store.latency() {
        Latency::Remote => {
            let reads: Vec<_> = missing.into_iter().map(one).collect();
            let mut reads = stream::iter(reads).buffer_unordered(store.questions_at_once());
            while let Some((at, references)) = reads.try_next().await? {
                put(&mut read, at, references);
            }
        }
        Latency::Local => {
            let mut rest = missing.as_slice();
            while !rest.is_empty() {
                let batch = rest.get(..MANIFESTS_AT_ONCE).unwrap_or(rest);
                let contents: Vec<Digest> = batch.iter().map(|(_, (_, content))| *content).collect();
                let mut bytes = store.survey_contents(&contents, limit, BYTES_AT_ONCE).await?;
                if bytes.is_empty() {
                    bytes.push(Ok(None));
                }
                rest = rest.get(bytes.len()..).unwrap_or_default();
                for (manifest, bytes) in batch.iter().zip(bytes) {
                    let (at, (digest, content)) = *manifest;
                    let references = match bytes {
                        Ok(Some(bytes)) => Some(known.insert(content, understand(name, digest, content, &bytes)?)),
                        // What is wrong, and whether it stays so, is found out by looking at it alone.
                        _ => one((at, manifest.1)).await?.1,
                    };
                    put(&mut read, at, references);
                }
            }
        }
    }
    Ok(read)
}

fn put(read: &mut [Option<Arc<References>>], at: usize, references: Option<Arc<References>>) {
    if let Some(slot) = read.get_mut(at) {
        *slot = references;
    }
}

/// Reads the manifest `digest` of the repository; `None` when it was removed meanwhile.
///
/// # Errors
/// [`Error::Unreadable`] when it is missing though its link is there, when its bytes are not what its digest says, or when
/// they are no JSON.
pub(super) async fn read(
    store: &Store,
    name: &RepositoryName,
    digest: &Digest,
    content: &Digest,
    limit: u64,
) -> Result<Option<References>, Error> {
    let begun = Instant::now();
    let mut look = Look::First;
    let bytes = loop {
        match store.survey_content(content, limit).await {
            Ok(Some(bytes)) => break bytes,
            // Links go before content, so if the link is still there nobody removed the manifest.
            Ok(None) if store.survey_revision(name, digest).await?.is_none() => return Ok(None),
            Ok(None) if look.asks_records() && store.is_revision_remnant(name, digest, content).await? => {
                return Ok(Some(References::remnant()));
            }
            // A push writes both at once, and writes them again when a collector got in its way.
            Ok(None) if look != Look::Last => look = Look::next(begun).await,
            Ok(None) => return Err(unreadable(name, digest, "its content is missing".to_owned())),
            Err(error @ StorageError::TooLarge { .. }) => return Err(unreadable(name, digest, error.to_string())),
            Err(error) => return Err(error.into()),
        }
    };
    understand(name, digest, content, &bytes).map(Some)
}

/// What the manifest `digest`, whose content is `bytes`, refers to.
fn understand(name: &RepositoryName, digest: &Digest, content: &Digest, bytes: &Bytes) -> Result<References, Error> {
    if Hasher::digest(content.algorithm(), bytes) != *content {
        return Err(unreadable(name, digest, "its content is not what its digest says".to_owned()));
    }
    of(bytes).ok_or_else(|| unreadable(name, digest, "it is not a JSON object".to_owned()))
}

fn unreadable(name: &RepositoryName, digest: &Digest, reason: String) -> Error {
    Error::Unreadable { repository: name.clone(), what: format!("manifest {digest}"), reason }
}

/// What a manifest refers to; `None` for what is no JSON object.
pub(super) fn of(bytes: &Bytes) -> Option<References> {
    #[derive(Deserialize)]
    struct Subject {
        #[serde(default)]
        subject: Value,
    }
    let document: Subject = serde_json::from_slice(bytes).ok()?;
    let subject = document.subject.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
    let mut named = Vec::new();
    digests_in(bytes, &mut named);
    if bytes.contains(&b'\\') {
        // A digest may be spelled with escapes.
        strings_of(&serde_json::from_slice(bytes).ok()?, &mut named);
    }
    named.sort_unstable();
    named.dedup();
    Some(References { named: named.into(), subject, standing: Standing::Whole })
}

fn strings_of(value: &Value, named: &mut Vec<Fingerprint>) {
    match value {
        Value::String(text) => digests_in(text.as_bytes(), named),
        Value::Array(items) => items.iter().for_each(|item| strings_of(item, named)),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| {
            digests_in(key.as_bytes(), named);
            strings_of(field, named);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn digests_in(text: &[u8], named: &mut Vec<Fingerprint>) {
    named.extend(digests_mentioned(text).iter().map(fingerprint));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn digest(content: &str, algorithm: Algorithm) -> Digest {
        Hasher::digest(algorithm, content.as_bytes())
    }

    fn named(text: String) -> Vec<Fingerprint> {
        of(&Bytes::from(text)).unwrap().named.into_vec()
    }

    #[test]
    fn every_digest_counts_wherever_it_stands() {
        let [one, two, three, four] = ["1", "2", "3", "4"].map(|content| digest(content, Algorithm::Sha256));
        let long = digest("5", Algorithm::Sha512);
        let escaped = four.to_string().replace(':', "\\u003a");
        let text = format!(
            r#"{{"{one}":1,"config":{{"digest":"{two}"}},"note":"see x@{three}, or {long}.","odd":["{escaped}"]}}"#
        );
        let mut expected: Vec<_> = [one, two, three, four, long].iter().map(fingerprint).collect();
        expected.sort_unstable();
        assert_eq!(named(text), expected);
    }

    #[test]
    fn what_only_looks_like_a_digest_does_not() {
        assert_eq!(named(format!(r#"{{"a":"sha256:{}"}}"#, "0".repeat(63))), [0; 0]);
        assert_eq!(named(format!(r#"{{"a":"sha384:{}"}}"#, "0".repeat(96))), [0; 0]);
    }

    #[test]
    fn the_subject_is_told_apart() {
        let subject = digest("s", Algorithm::Sha256);
        let text = format!(r#"{{"subject":{{"digest":"{subject}","size":1}}}}"#);
        assert_eq!(of(&Bytes::from(text)).unwrap().subject, Some(subject));
        assert_eq!(of(&Bytes::from_static(b"{\"subject\":7}")).unwrap().subject, None);
        assert_eq!(of(&Bytes::from_static(b"not json")), None);
        assert_eq!(of(&Bytes::from_static(b"")), None);
    }
}
