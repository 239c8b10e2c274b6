//! Marking: finds out what is needed, from tags over manifests to content, and what is left over.
//!
//! It fails closed. What cannot be listed or read stops it, because it might need anything; no error is an empty answer.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::contents::{Contents, Reader, Revision};
use super::needed::Needed;
use super::references::{Known, Standing};
use super::{Error, Event, Untagged};
use crate::oci::{Algorithm, Digest, Hasher, RepositoryName};
use crate::storage::collection::{Fingerprint, Fingerprints, Found, Key, fingerprint};
use crate::storage::driver::{Latency, More};
use crate::storage::{Holding, Store};

/// Repositories asked for at once.
const REPOSITORIES_AT_ONCE: usize = 1000;

/// Repositories that are read while one is judged.
const REPOSITORIES_AHEAD: usize = 2;

/// Repositories with tags that are remembered from one collection to the next.
pub(super) const MOST_TAGGED: usize = 100_000;

/// How a mark decides what is kept though nothing reaches it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spare<'a> {
    /// The first mark: what was written after this time.
    YoungerThan(SystemTime),
    /// The second mark: what the epoch did not condemn.
    NotIn(&'a Fingerprints),
}

impl Spare<'_> {
    fn keeps(self, found: &Found, key: impl FnOnce() -> Key) -> bool {
        match self {
            Self::YoungerThan(time) => found.modified > time,
            Self::NotIn(condemned) => !condemned.contains(&key().fingerprint()),
        }
    }
}

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everywhere.
    Everything,
    /// In one repository, which says nothing of content.
    Repository(&'a RepositoryName),
}

/// What nothing needs, of one kind, by repository.
pub(super) type ByRepository = Vec<(RepositoryName, Vec<Found>)>;

/// What a mark found.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Content that something needs.
    pub(super) needed: Needed,
    /// Manifests that nothing needs.
    pub(super) revisions: ByRepository,
    /// Links that nothing needs.
    pub(super) links: ByRepository,
    /// Repositories that have tags, unless they are too many to remember.
    pub(super) tagged: Vec<RepositoryName>,
    /// The names of repositories that hold anything, as fingerprints.
    pub(super) present: HashSet<Fingerprint>,
}

/// A mark in progress.
pub(super) struct Mark<'a> {
    pub(super) store: &'a Store,
    pub(super) scope: Scope<'a>,
    pub(super) untagged: Untagged,
    pub(super) manifest_limit: u64,
    pub(super) spare: Spare<'a>,
    pub(super) known: &'a Known,
    pub(super) tell: &'a (dyn Fn(Event<'_>) + Send + Sync),
}

impl Mark<'_> {
    /// Marks every repository in scope.
    pub(super) async fn run(self) -> Result<Marked, Error> {
        let mut marked = Marked::default();
        let reader = self.reader();
        if let Scope::Repository(name) = self.scope {
            let contents = reader.read(name).await?;
            self.judge(name, contents, &mut marked).await?;
            return Ok(marked);
        }
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Anything, last, REPOSITORIES_AT_ONCE).await?;
            let next = page.names.last().filter(|_| page.more == More::Yes).cloned();
            let reader = reader.clone();
            let reads = page.names.into_iter().map(move |name| reader.begin(name));
            let mut reads = stream::iter(reads).buffered(REPOSITORIES_AHEAD);
            while let Some((name, contents)) = reads.try_next().await? {
                self.judge(&name, contents, &mut marked).await?;
            }
            after = next;
            if after.is_none() {
                return Ok(marked);
            }
        }
    }

    fn reader(&self) -> Reader {
        // Where every manifest is needed anyway, reading tags adds nothing but a look at whether they point to one. Across a
        // network that is a request for each, and once is enough.
        let first = matches!(self.spare, Spare::YoungerThan(_));
        let reads_tags = self.untagged == Untagged::Remove || (first && self.store.latency() == Latency::Local);
        Reader { store: self.store.clone(), known: self.known.clone(), manifest_limit: self.manifest_limit, reads_tags }
    }

    async fn judge(&self, name: &RepositoryName, contents: Contents, marked: &mut Marked) -> Result<(), Error> {
        (self.tell)(Event::Repository(name));
        let Contents { targets, revisions, has_tags } = contents;
        let is_tagged = has_tags && targets.as_ref().map_or(!revisions.is_empty(), |targets| !targets.is_empty());
        let targets = targets.unwrap_or_default();
        if is_tagged && marked.tagged.len() < MOST_TAGGED {
            marked.tagged.push(name.clone());
        }
        if !revisions.is_empty() || has_tags {
            marked.present.insert(fingerprint_of_name(name));
        }
        let live = self.live(name, &targets, &revisions);
        let mut needed = HashSet::new();
        let mut dead = Vec::new();
        for (revision, live) in revisions.iter().zip(live) {
            if !live {
                dead.push(revision.found);
                continue;
            }
            (self.tell)(Event::Manifest(name, &revision.found.digest));
            needed.extend([&revision.content, &revision.found.digest].map(fingerprint));
            needed.extend(revision.references.named.iter().copied());
        }
        if !dead.is_empty() {
            marked.revisions.push((name.clone(), dead));
        }
        for content in &needed {
            marked.needed.insert(*content);
        }
        self.links(name, &needed, marked).await
    }

    /// Which of `revisions` are needed: those that roots reach by references, and referrers of what is needed.
    fn live(&self, name: &RepositoryName, tagged: &[Digest], revisions: &[Revision]) -> Vec<bool> {
        let by_digest: HashMap<Fingerprint, usize> =
            revisions.iter().enumerate().map(|(at, revision)| (fingerprint(&revision.found.digest), at)).collect();
        let mut referrers: HashMap<Fingerprint, Vec<usize>> = HashMap::new();
        for (at, revision) in revisions.iter().enumerate() {
            if let Some(subject) = &revision.references.subject {
                referrers.entry(fingerprint(subject)).or_default().push(at);
            }
        }
        let mut live = vec![false; revisions.len()];
        let mut todo: Vec<usize> = Vec::new();
        for (at, revision) in revisions.iter().enumerate() {
            let key = || Key::Revision(name.clone(), revision.found.digest);
            let stands = revision.references.standing == Standing::Whole;
            if stands && (self.untagged == Untagged::Keep || self.spare.keeps(&revision.found, key)) {
                todo.push(at);
            }
        }
        todo.extend(tagged.iter().filter_map(|digest| by_digest.get(&fingerprint(digest))));
        while let Some(at) = todo.pop() {
            let (Some(live), Some(revision)) = (live.get_mut(at), revisions.get(at)) else { continue };
            if std::mem::replace(live, true) {
                continue;
            }
            todo.extend(revision.references.named.iter().filter_map(|named| by_digest.get(named)));
            todo.extend(referrers.get(&fingerprint(&revision.found.digest)).into_iter().flatten());
        }
        live
    }

    /// Keeps the links that a needed manifest refers to, and those that are to be spared with their content.
    async fn links(
        &self,
        name: &RepositoryName,
        needed: &HashSet<Fingerprint>,
        marked: &mut Marked,
    ) -> Result<(), Error> {
        let mut dead = Vec::new();
        let (mut from, mut any) = (None, false);
        loop {
            let page = self.store.survey_links(name, needed, from).await?;
            any |= !(page.needed.is_empty() && page.found.is_empty());
            for digest in &page.needed {
                (self.tell)(Event::Blob(name, digest));
            }
            for link in page.found {
                let key = || Key::Link(name.clone(), link.digest);
                if !needed.contains(&fingerprint(&link.digest)) && !self.spare.keeps(&link, key) {
                    dead.push(link);
                    continue;
                }
                (self.tell)(Event::Blob(name, &link.digest));
                marked.needed.insert(fingerprint(&link.digest));
                if link.may_lead_elsewhere()
                    && let Some(target) = self.store.survey_link(name, &link.digest).await?
                {
                    marked.needed.insert(fingerprint(&target));
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        if any {
            marked.present.insert(fingerprint_of_name(name));
        }
        if !dead.is_empty() {
            marked.links.push((name.clone(), dead));
        }
        Ok(())
    }
}

/// What the name of a repository is remembered by.
pub(super) fn fingerprint_of_name(name: &RepositoryName) -> Fingerprint {
    fingerprint(&Hasher::digest(Algorithm::Sha256, name.as_str().as_bytes()))
}
