//! What is to be condemned: the garbage of the first mark, cut into lists that writers can hold, and what the second mark
//! and the writers' objections leave of a list.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::mark::Marked;
use super::needed::Needed;
use super::references::{self, Known};
use super::{Error, Tally};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::storage::Store;
use crate::storage::collection::{Fingerprint, Fingerprints, Found, Key, Shelf, fingerprint};

/// Keys in one list, as many as writers hold for each epoch.
const LONGEST_LIST: usize = 50_000;

/// Lists remembered of one run; with more garbage than they hold it says that it has to be run again.
const MOST_LISTS: usize = 4;

/// The garbage that the first mark left over.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Lists of at most [`LONGEST_LIST`]. Manifests before links before content: what refers goes no later than what it refers
    /// to.
    pub(super) lists: Vec<Vec<(Key, u64)>>,
    /// All of it, also what is not in `lists`.
    pub(super) tally: Tally,
    /// What is stored.
    pub(super) stored: Tally,
}

impl Garbage {
    fn add(&mut self, key: Key, bytes: u64) {
        self.tally.count(&key, bytes);
        let lists = self.lists.len();
        match self.lists.last_mut() {
            Some(list) if list.len() < LONGEST_LIST => list.push((key, bytes)),
            _ if lists < MOST_LISTS => self.lists.push(vec![(key, bytes)]),
            _ => {}
        }
    }

    /// Whether some of it is not in `lists`.
    pub(super) fn is_cut(&self) -> bool {
        let listed: usize = self.lists.iter().map(Vec::len).sum();
        self.tally.manifests + self.tally.layer_links + self.tally.blobs > listed as u64
    }

    /// The garbage that `marked` leaves over: what it says of manifests and links, and content that is old enough.
    pub(super) async fn of(store: &Store, marked: &mut Marked, older_than: SystemTime) -> Result<Self, Error> {
        let mut garbage = Self::of_repositories(marked);
        let shelves = store.shelves().await?;
        let looks = shelves.iter().map(|shelf| unneeded(store, shelf, &marked.needed, older_than)).collect::<Vec<_>>();
        let mut looks = stream::iter(looks).buffered(store.surveys_at_once());
        while let Some((stored, found)) = looks.try_next().await? {
            garbage.stored.blobs += stored.blobs;
            garbage.stored.bytes += stored.bytes;
            for found in found {
                garbage.add(Key::Blob(found.digest), found.size);
            }
        }
        Ok(garbage)
    }

    /// The same without content. Takes what it says out of `marked`, so that nothing is held twice.
    pub(super) fn of_repositories(marked: &mut Marked) -> Self {
        let mut garbage = Self::default();
        for (name, found) in std::mem::take(&mut marked.revisions) {
            for found in found {
                garbage.add(Key::Revision(name.clone(), found.digest), 0);
            }
        }
        for (name, found) in std::mem::take(&mut marked.links) {
            for found in found {
                garbage.add(Key::Link(name.clone(), found.digest), 0);
            }
        }
        garbage
    }
}

/// How much content is on the shelf, and which of it is old and not needed.
async fn unneeded(
    store: &Store,
    shelf: &Shelf,
    needed: &Needed,
    older_than: SystemTime,
) -> Result<(Tally, Vec<Found>), Error> {
    let mut stored = Tally::default();
    let mut unneeded = Vec::new();
    let mut from = None;
    loop {
        let page = store.survey_shelf(shelf, from).await?;
        for found in page.found {
            stored.blobs += 1;
            stored.bytes += found.size;
            if !needed.contains(fingerprint(&found.digest)) && found.modified <= older_than {
                unneeded.push(found);
            }
        }
        from = page.next;
        if from.is_none() {
            return Ok((stored, unneeded));
        }
    }
}

/// What of `list` is doomed: what the second mark found dead as well and no writer asked to spare, directly or through
/// something that needs it.
pub(super) async fn doomed<'a>(
    store: &Store,
    known: &Known,
    limit: u64,
    list: &'a [(Key, u64)],
    again: &Marked,
    revived: &Fingerprints,
) -> Result<Vec<&'a (Key, u64)>, Error> {
    let mut dead_revisions = HashSet::new();
    let mut dead_links = HashSet::new();
    for (dead, by) in [(&mut dead_revisions, &again.revisions), (&mut dead_links, &again.links)] {
        dead.extend(by.iter().flat_map(|(name, found)| found.iter().map(move |found| (name, found.digest))));
    }
    let mut spared = Spared::default();
    spared.take_in(store, known, limit, list, revived).await?;
    let is_doomed = |key: &Key| match key {
        Key::Revision(name, digest) => {
            dead_revisions.contains(&(name, *digest))
                && !spared.things.contains(&(Some(name.clone()), fingerprint(digest)))
        }
        Key::Link(name, digest) => {
            dead_links.contains(&(name, *digest)) && !spared.things.contains(&(Some(name.clone()), fingerprint(digest)))
        }
        Key::Blob(digest) => {
            !again.needed.contains(fingerprint(digest)) && !spared.things.contains(&(None, fingerprint(digest)))
        }
    };
    Ok(list.iter().filter(|(key, _)| is_doomed(key)).collect())
}

/// What writers asked to spare, and what that needs.
#[derive(Debug, Default)]
struct Spared {
    /// A manifest or link of the repository, or content without one.
    things: HashSet<(Option<RepositoryName>, Fingerprint)>,
}

impl Spared {
    async fn take_in(
        &mut self,
        store: &Store,
        known: &Known,
        limit: u64,
        list: &[(Key, u64)],
        revived: &Fingerprints,
    ) -> Result<(), Error> {
        if revived.is_empty() {
            return Ok(());
        }
        let mut revisions: HashMap<RepositoryName, Vec<Digest>> = HashMap::new();
        for (key, _) in list {
            let spared = revived.contains(&key.fingerprint());
            match key {
                Key::Revision(name, digest) => {
                    revisions.entry(name.clone()).or_default().push(*digest);
                    if spared {
                        self.things.insert((Some(name.clone()), fingerprint(digest)));
                    }
                }
                Key::Link(name, digest) if spared => {
                    self.things.insert((Some(name.clone()), fingerprint(digest)));
                    self.things.insert((None, fingerprint(digest)));
                }
                Key::Blob(digest) if spared => {
                    self.things.insert((None, fingerprint(digest)));
                }
                Key::Link(..) | Key::Blob(_) => {}
            }
        }
        for (name, digests) in &revisions {
            self.close_over(store, known, limit, name, digests).await?;
        }
        for (key, _) in list {
            if let Key::Link(name, digest) = key
                && digest.algorithm() != Algorithm::Sha256
                && self.things.contains(&(Some(name.clone()), fingerprint(digest)))
                && let Some(target) = store.survey_link(name, digest).await?
            {
                self.things.insert((None, fingerprint(&target)));
            }
        }
        Ok(())
    }

    /// Spares what the spared ones of the repository's condemned manifests need, and their referrers.
    async fn close_over(
        &mut self,
        store: &Store,
        known: &Known,
        limit: u64,
        name: &RepositoryName,
        digests: &[Digest],
    ) -> Result<(), Error> {
        let mut manifests = Vec::with_capacity(digests.len());
        for digest in digests {
            let content = store.survey_revision(name, digest).await?.unwrap_or(*digest);
            for references in references::read_all(store, name, &[(*digest, content)], known, limit).await? {
                manifests.extend(references.map(|references| (fingerprint(digest), fingerprint(&content), references)));
            }
        }
        let mut done = HashSet::new();
        loop {
            let before = self.things.len();
            for (digest, content, references) in &manifests {
                let of_this = |thing: Fingerprint| (Some(name.clone()), thing);
                let subject = references.subject.as_ref().map(fingerprint);
                let refers_to_spared = subject.is_some_and(|subject| self.things.contains(&of_this(subject)));
                if !(self.things.contains(&of_this(*digest)) || refers_to_spared) || !done.insert(*digest) {
                    continue;
                }
                self.things.insert(of_this(*digest));
                for thing in references.named.iter().chain([digest, content]) {
                    self.things.insert(of_this(*thing));
                    self.things.insert((None, *thing));
                }
            }
            if self.things.len() == before {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Hasher;

    #[test]
    fn garbage_is_cut_into_lists_that_writers_can_hold() {
        let digest = Hasher::digest(Algorithm::Sha256, b"x");
        let mut garbage = Garbage::default();
        for _ in 0..MOST_LISTS * LONGEST_LIST {
            garbage.add(Key::Blob(digest), 1);
        }
        assert_eq!(garbage.lists.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST_LIST; MOST_LISTS]);
        assert!(!garbage.is_cut());
        garbage.add(Key::Blob(digest), 1);
        assert_eq!(garbage.lists.len(), MOST_LISTS);
        assert!(garbage.is_cut());
        assert_eq!(garbage.tally.blobs, 200_001);
    }
}
