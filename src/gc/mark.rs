//! Marking: finds out what is needed, from tags over manifests to content, and what is left over.
//!
//! It fails closed. What cannot be listed or read stops it, because it might need anything; no error is an empty answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{StreamExt, TryFutureExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::needed::{Condemned, Needed};
use super::references::{self, Known, Look, References, Standing};
use super::{Error, Event, Untagged};
use crate::oci::{Algorithm, Digest, Hasher, RepositoryName, Tag};
use crate::storage::collection::{Fingerprint, Found, Key, Manifests, fingerprint};
use crate::storage::driver::{Latency, More};
use crate::storage::{Error as StorageError, Holding, Store};

/// Repositories asked for at once.
const REPOSITORIES_AT_ONCE: usize = 1000;

/// Tags read by one call where calls cost more than reads.
const TAGS_AT_ONCE: usize = 4096;

/// Repositories that are read while one is judged.
const REPOSITORIES_AHEAD: usize = 3;

/// Repositories with tags that are remembered from one collection to the next.
pub(super) const MOST_TAGGED: usize = 100_000;

/// How a mark decides what is kept though nothing reaches it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spare<'a> {
    /// The first mark: what was written after this time.
    YoungerThan(SystemTime),
    /// The second mark: what the epoch did not condemn.
    NotIn(&'a Condemned),
}

impl Spare<'_> {
    fn keeps(self, found: &Found, key: impl FnOnce() -> Key) -> bool {
        match self {
            Self::YoungerThan(time) => found.modified > time,
            Self::NotIn(condemned) => !condemned.contains(&key()),
        }
    }

    /// Where the mark remembers content that is needed: of that which was not condemned nobody asks.
    fn needed(self) -> Needed {
        match self {
            Self::YoungerThan(_) => Needed::default(),
            Self::NotIn(condemned) => Needed::among(condemned),
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
    /// Content that something needs; of the second mark, as far as it was condemned.
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

/// What a repository has, as far as it was read.
struct Contents {
    /// What its tags point to, if that is asked.
    targets: Vec<Digest>,
    revisions: Vec<Revision>,
    has_tags: bool,
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
    pub(super) async fn run(self) -> Result<Marked, Error> {
        let mut marked = Marked { needed: self.spare.needed(), ..Marked::default() };
        if let Scope::Repository(name) = self.scope {
            let contents = self.look_at(name).await?;
            self.judge(name, contents, &mut marked).await?;
            return Ok(marked);
        }
        let mut after: Option<RepositoryName> = None;
        loop {
            let last = after.as_ref().map(RepositoryName::as_str);
            let page = self.store.list_repositories(Holding::Anything, last, REPOSITORIES_AT_ONCE).await?;
            let looks = page.names.iter().map(|name| self.look_at(name).map_ok(move |contents| (name, contents)));
            let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffered(REPOSITORIES_AHEAD);
            while let Some((name, contents)) = looks.try_next().await? {
                self.judge(name, contents, &mut marked).await?;
            }
            match (page.more, page.names.last()) {
                (More::Yes, Some(last)) => after = Some(last.clone()),
                _ => return Ok(marked),
            }
        }
    }

    /// Reads what the repository has, and judges nothing.
    async fn look_at(&self, name: &RepositoryName) -> Result<Contents, Error> {
        let Manifests { tags, revisions: mut found } = self.store.survey_manifests(name).await?;
        let targets = if self.reads_tags() { self.targets(name, &tags, &mut found).await? } else { Vec::new() };
        Ok(Contents { targets, revisions: self.revisions(name, found).await?, has_tags: !tags.is_empty() })
    }

    /// Where every manifest is needed anyway, reading tags adds nothing but a look at whether they point to one. Across a
    /// network that is a request for each, and once is enough.
    fn reads_tags(&self) -> bool {
        let first = matches!(self.spare, Spare::YoungerThan(_));
        self.untagged == Untagged::Remove || (first && self.store.latency() == Latency::Local)
    }

    async fn judge(&self, name: &RepositoryName, contents: Contents, marked: &mut Marked) -> Result<(), Error> {
        (self.tell)(Event::Repository(name));
        let Contents { targets, revisions, has_tags } = contents;
        let is_tagged = if self.reads_tags() { !targets.is_empty() } else { has_tags && !revisions.is_empty() };
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

    /// What the tags point to, all of which is in `found` afterwards. A tag that points to nothing stops everything: either it or
    /// the listing is wrong.
    async fn targets(&self, name: &RepositoryName, tags: &[Tag], found: &mut Vec<Found>) -> Result<Vec<Digest>, Error> {
        let targets = self.targets_of(name, tags).await?;
        let mut known: HashSet<Fingerprint> = found.iter().map(|found| fingerprint(&found.digest)).collect();
        let mut tagged = Vec::with_capacity(targets.len());
        for (tag, target) in targets {
            let Some(digest) = target else { continue };
            if !known.contains(&fingerprint(&digest)) {
                // Pushed after the manifests were listed, or removed since, or the listing was not whole.
                if !self.arrives(name, tag, &digest).await? {
                    continue;
                }
                known.insert(fingerprint(&digest));
                found.push(Found { digest, size: 0, modified: SystemTime::now() });
            }
            tagged.push(digest);
        }
        Ok(tagged)
    }

    async fn targets_of<'t>(
        &self,
        name: &RepositoryName,
        tags: &'t [Tag],
    ) -> Result<Vec<(&'t Tag, Option<Digest>)>, Error> {
        if self.store.latency() == Latency::Remote {
            let reads: Vec<_> = tags.iter().map(|tag| self.target(name, tag)).collect();
            return stream::iter(reads).buffer_unordered(self.store.questions_at_once()).try_collect().await;
        }
        let mut targets = Vec::with_capacity(tags.len());
        for tags in tags.chunks(TAGS_AT_ONCE) {
            for (tag, target) in tags.iter().zip(self.store.survey_tags(name, tags).await?) {
                targets.push((tag, readable(name, tag, target)?));
            }
        }
        Ok(targets)
    }

    /// Whether the repository has the manifest `digest` that the tag points to. It may be on its way: a push that a collector
    /// got in the way of puts its manifest again, or its tag back. `false` when the tag has moved or gone, or when a
    /// collection removed the manifest and nobody was told that it was pushed again.
    async fn arrives(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<bool, Error> {
        let begun = Instant::now();
        let mut look = Look::First;
        while self.store.survey_revision(name, digest).await?.is_none() {
            if self.target(name, tag).await?.1 != Some(*digest) {
                return Ok(false);
            }
            if look.asks_records() && self.store.is_tag_remnant(name, tag, digest).await? {
                return Ok(false);
            }
            if look == Look::Last {
                let reason = format!("it points to {digest}, which the repository does not have");
                return Err(unreadable(name, tag, reason));
            }
            look = Look::next(begun).await;
        }
        Ok(true)
    }

    /// What `tag` points to; `None` when it was removed meanwhile.
    async fn target<'t>(&self, name: &RepositoryName, tag: &'t Tag) -> Result<(&'t Tag, Option<Digest>), Error> {
        Ok((tag, readable(name, tag, self.store.survey_tag(name, tag).await)?))
    }

    /// Reads every manifest of the repository.
    async fn revisions(&self, name: &RepositoryName, found: Vec<Found>) -> Result<Vec<Revision>, Error> {
        let mut wanted = Vec::with_capacity(found.len());
        for found in found {
            let content = if found.may_lead_elsewhere() {
                match self.store.survey_revision(name, &found.digest).await? {
                    Some(content) => content,
                    None => continue,
                }
            } else {
                found.digest
            };
            wanted.push((found, content));
        }
        let pairs: Vec<_> = wanted.iter().map(|(found, content)| (found.digest, *content)).collect();
        let read = references::read_all(self.store, name, &pairs, self.known, self.manifest_limit).await?;
        let revisions = wanted.into_iter().zip(read);
        Ok(revisions
            .filter_map(|((found, content), references)| Some(Revision { found, content, references: references? }))
            .collect())
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

/// A tag that holds no digest stops everything: it may have held one that is needed.
fn readable(
    name: &RepositoryName,
    tag: &Tag,
    target: Result<Option<Digest>, StorageError>,
) -> Result<Option<Digest>, Error> {
    match target {
        Err(error @ StorageError::Damaged { .. }) => Err(unreadable(name, tag, error.to_string())),
        other => Ok(other?),
    }
}

fn unreadable(name: &RepositoryName, tag: &Tag, reason: String) -> Error {
    Error::Unreadable { repository: name.clone(), what: format!("tag {tag}"), reason }
}
