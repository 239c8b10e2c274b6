//! All content of the store, by fingerprint and size: 24 bytes each, so that a manifest's parts need not be asked for one by
//! one. What is not in it is asked of the store, so it may be out of date without harm.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::oci::Digest;
use crate::storage::collection::{Fingerprint, fingerprint};
use crate::storage::{Result, Store};

/// Lists, so that none of them has to be copied as a whole while it grows.
const LISTS: usize = 256;

/// Two halves of a fingerprint, and bytes.
type Entry = (u64, u64, u64);

/// What is known of all content.
#[derive(Debug)]
pub(super) struct Contents {
    lists: Vec<Vec<Entry>>,
    /// Contents that were read and hashed because something was odd about them, and whether they are whole.
    judged: Mutex<HashMap<Fingerprint, Wholeness>>,
}

/// Whether content is what its digest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wholeness {
    Whole,
    Damaged,
    /// It went away.
    Gone,
}

impl Contents {
    pub(super) fn new() -> Self {
        Self { lists: vec![Vec::new(); LISTS], judged: Mutex::default() }
    }

    /// Notes content. [`Contents::sort`] comes after the last.
    pub(super) fn insert(&mut self, digest: &Digest, size: u64) {
        let (key, list) = key_of(digest);
        if let Some(list) = self.lists.get_mut(list) {
            list.push((key.0, key.1, size));
        }
    }

    pub(super) fn sort(&mut self) {
        self.lists.iter_mut().for_each(|list| list.sort_unstable());
    }

    /// Bytes of the content; `None` when it was not there when the content was listed.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        let (key, list) = key_of(digest);
        let list = self.lists.get(list)?;
        let at = list.binary_search_by_key(&key, |(one, two, _)| (*one, *two)).ok()?;
        list.get(at).map(|(.., size)| *size)
    }

    /// What was found out about the content, if anything was.
    pub(super) fn judgement(&self, digest: &Digest) -> Option<Wholeness> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(&fingerprint(digest)).copied()
    }

    /// Notes what was found out about the content.
    pub(super) fn judge(&self, digest: &Digest, wholeness: Wholeness) {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint(digest), wholeness);
    }

    /// Forgets what was found out, so that it is looked at again.
    pub(super) fn forget_judgements(&self) {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the content is whole, by reading it unless that is known.
    pub(super) async fn wholeness(&self, store: &Store, digest: &Digest) -> Result<Wholeness> {
        if let Some(known) = self.judgement(digest) {
            return Ok(known);
        }
        let wholeness = match store.digest_of_content(digest).await? {
            Some(hashed) if hashed == *digest => Wholeness::Whole,
            Some(_) => Wholeness::Damaged,
            None => Wholeness::Gone,
        };
        self.judge(digest, wholeness);
        Ok(wholeness)
    }
}

fn key_of(digest: &Digest) -> ((u64, u64), usize) {
    let bytes = fingerprint(digest).to_be_bytes();
    let (first, second) = bytes.split_at(8);
    let half = |half: &[u8]| half.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let list = bytes.first().copied().map_or(0, usize::from);
    ((half(first), half(second)), list)
}
