//! What a manifest refers to, read conservatively: every `algorithm:hex` in its bytes, whatever field it stands in.
//!
//! A manifest that is not understood keeps what it names; one that cannot be read at all stops collection.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::oci::{Digest, Hasher, RepositoryName, digests_mentioned};
use crate::storage::collection::{Fingerprint, fingerprint};
use crate::storage::{Error as StorageError, Store};

/// References kept in memory between the marks of one run; beyond it manifests are read again. 16 bytes each.
const MOST_REMEMBERED: usize = 1_000_000;

/// What one manifest refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Everything named in its bytes, its subject included.
    pub(super) named: Box<[Fingerprint]>,
    /// What it is about.
    pub(super) subject: Option<Digest>,
}

/// Manifests read so far. They never change, so both marks of a run may share them.
#[derive(Debug, Default)]
pub(super) struct Known {
    manifests: HashMap<Fingerprint, Arc<References>>,
    references: usize,
}

impl Known {
    /// What is remembered of the manifest whose content is `digest`.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<References>> {
        self.manifests.get(&fingerprint(digest)).cloned()
    }

    pub(super) fn insert(&mut self, digest: &Digest, references: &Arc<References>) {
        if self.references + references.named.len() < MOST_REMEMBERED {
            self.references += references.named.len() + 2;
            self.manifests.insert(fingerprint(digest), Arc::clone(references));
        }
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
    let unreadable =
        |reason: String| Error::Unreadable { repository: name.clone(), what: format!("manifest {digest}"), reason };
    let bytes = match store.survey_content(content, limit).await {
        Ok(Some(bytes)) => bytes,
        // Links go before content, so if the link is still there nobody removed the manifest.
        Ok(None) if store.survey_revision(name, digest).await?.is_none() => return Ok(None),
        Ok(None) => return Err(unreadable("its content is missing".to_owned())),
        Err(error @ StorageError::TooLarge { .. }) => return Err(unreadable(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    if Hasher::digest(content.algorithm(), &bytes) != *content {
        return Err(unreadable("its content is not what its digest says".to_owned()));
    }
    of(&bytes).map(Some).ok_or_else(|| unreadable("it is not a JSON object".to_owned()))
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
    Some(References { named: named.into(), subject })
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
