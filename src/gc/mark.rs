//! Marking: finds out what is needed, from tags over manifests to content, and what is left over.
//!
//! It fails closed. What cannot be listed or read stops it, because it might need anything; no error is an empty answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::references::{self, Known, References};
use super::{Error, Event, Untagged};
use crate::oci::{Algorithm, Digest, Hasher, RepositoryName, Tag};
use crate::storage::collection::{Fingerprint, Fingerprints, Found, Key, Manifests, fingerprint};
use crate::storage::driver::More;
use crate::storage::{Error as StorageError, Holding, Store};

/// Repositories asked for at once.
const REPOSITORIES_AT_ONCE: usize = 1000;

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
    pub(super) needed: HashSet<Fingerprint>,
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
    pub(super) known: &'a mut Known,
    pub(super) tell: &'a (dyn Fn(Event<'_>) + Send + Sync),
}

/// A manifest of the repository that is being marked.
struct Revision {
    found: Found,
    /// Under which its content lies.
    content: Digest,
    references: Arc<References>,
}

impl Mark<'_> {
    /// Marks every repository in scope.
    pub(super) async fn run(mut self) -> Result<Marked, Error> {
        let mut marked = Marked::default();
        if let Scope::Repository(name) = self.scope {
            self.repository(name, &mut marked).await?;
            return Ok(marked);
        }
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Anything, last, REPOSITORIES_AT_ONCE).await?;
            for name in &page.names {
                self.repository(name, &mut marked).await?;
            }
            match (page.more, page.names.last()) {
                (More::Yes, Some(last)) => after = Some(last.clone()),
                _ => return Ok(marked),
            }
        }
    }

    async fn repository(&mut self, name: &RepositoryName, marked: &mut Marked) -> Result<(), Error> {
        (self.tell)(Event::Repository(name));
        let Manifests { tags, revisions: mut found } = self.store.survey_manifests(name).await?;
        let targets = self.targets(name, &tags, &mut found).await?;
        if !targets.is_empty() && marked.tagged.len() < MOST_TAGGED {
            marked.tagged.push(name.clone());
        }
        if !found.is_empty() || !tags.is_empty() {
            marked.present.insert(fingerprint_of_name(name));
        }
        let revisions = self.revisions(name, found).await?;
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
        marked.needed.extend(needed.iter().copied());
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
            if self.untagged == Untagged::Keep || self.spare.keeps(&revision.found, key) {
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

    /// What the tags point to, all of which is in `found` afterwards. A tag that points to nothing stops everything: either it or the listing is wrong.
    async fn targets(&self, name: &RepositoryName, tags: &[Tag], found: &mut Vec<Found>) -> Result<Vec<Digest>, Error> {
        let reads: Vec<_> = tags.iter().map(|tag| self.target(name, tag)).collect();
        let reads = stream::iter(reads).buffer_unordered(self.store.questions_at_once());
        let targets: Vec<(&Tag, Option<Digest>)> = reads.try_collect().await?;
        let mut known: HashSet<Fingerprint> = found.iter().map(|found| fingerprint(&found.digest)).collect();
        let mut tagged = Vec::with_capacity(targets.len());
        for (tag, target) in targets {
            let Some(digest) = target else { continue };
            if known.insert(fingerprint(&digest)) {
                // Pushed after the manifests were listed, or removed since, or the listing was not whole.
                if self.store.survey_revision(name, &digest).await?.is_none() {
                    if self.target(name, tag).await?.1 != Some(digest) {
                        continue;
                    }
                    let reason = format!("it points to {digest}, which the repository does not have");
                    return Err(unreadable(name, tag, reason));
                }
                found.push(Found { digest, size: 0, modified: SystemTime::now() });
            }
            tagged.push(digest);
        }
        Ok(tagged)
    }

    /// What `tag` points to; `None` when it was removed meanwhile.
    async fn target<'t>(&self, name: &RepositoryName, tag: &'t Tag) -> Result<(&'t Tag, Option<Digest>), Error> {
        match self.store.survey_tag(name, tag).await {
            Err(error @ StorageError::Damaged { .. }) => Err(unreadable(name, tag, error.to_string())),
            other => Ok((tag, other?)),
        }
    }

    /// Reads every manifest of the repository.
    async fn revisions(&mut self, name: &RepositoryName, found: Vec<Found>) -> Result<Vec<Revision>, Error> {
        let (store, limit) = (self.store, self.manifest_limit);
        let known = &*self.known;
        let reads = found.into_iter().map(|found| async move {
            let content = if found.may_lead_elsewhere() {
                match store.survey_revision(name, &found.digest).await? {
                    Some(content) => content,
                    None => return Ok(None),
                }
            } else {
                found.digest
            };
            if let Some(references) = known.get(&content) {
                return Ok(Some(Revision { found, content, references }));
            }
            let references = references::read(store, name, &found.digest, &content, limit).await?;
            Ok::<_, Error>(references.map(|references| Revision { found, content, references: Arc::new(references) }))
        });
        let reads: Vec<_> = reads.collect();
        let revisions: Vec<Option<Revision>> =
            stream::iter(reads).buffered(self.store.questions_at_once()).try_collect().await?;
        let revisions: Vec<Revision> = revisions.into_iter().flatten().collect();
        for revision in &revisions {
            self.known.insert(&revision.content, &revision.references);
        }
        Ok(revisions)
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
            let page = self.store.survey_links(name, from).await?;
            any |= !page.found.is_empty();
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

fn unreadable(name: &RepositoryName, tag: &Tag, reason: String) -> Error {
    Error::Unreadable { repository: name.clone(), what: format!("tag {tag}"), reason }
}
