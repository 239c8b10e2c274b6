//! The judgement of one repository's links, tags and entries. What the listings showed saves questions; whatever they do not
//! show is asked of the store, so that only what is missing now is called missing.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::contents::{Contents, Wholeness};
use super::finding::Mend;
use super::{Finding, Problem, Scrub, ScrubReading, soft};
use crate::gc::Error;
use crate::oci::{Algorithm, Digest, RepositoryName, Tag};
use crate::storage::collection::{Fingerprint, fingerprint};
use crate::storage::driver::Latency;
use crate::storage::inspection::{LinkState, Lying, Section, Thing};
use crate::storage::{Result as StorageResult, Store};

/// Judges the things of one repository.
pub(super) struct Judge<'a> {
    pub(super) store: &'a Store,
    pub(super) config: &'a Scrub,
    pub(super) name: &'a RepositoryName,
    pub(super) contents: &'a Contents,
    /// Blobs whose links are right and whose content is there.
    pub(super) links: HashSet<Fingerprint>,
    /// Manifests that have a link.
    pub(super) revisions: HashSet<Fingerprint>,
    /// Tags that point to something, and entries of their histories, by their hashes. Two that share one would hide that a
    /// history lacks an entry, or a tag its link, which is no more than untidy.
    tags: HashSet<u64>,
    entries: HashSet<u64>,
    hashes: RandomState,
}

impl<'a> Judge<'a> {
    pub(super) fn new(store: &'a Store, config: &'a Scrub, name: &'a RepositoryName, contents: &'a Contents) -> Self {
        Self {
            store,
            config,
            name,
            contents,
            links: HashSet::new(),
            revisions: HashSet::new(),
            tags: HashSet::new(),
            entries: HashSet::new(),
            hashes: RandomState::new(),
        }
    }

    /// Takes in which manifests and tags there are.
    pub(super) async fn note_manifests(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.inspect_repository(self.name, Section::Manifests, after).await?;
            for object in page.objects {
                match object {
                    Lying::Known(Thing::Revision(digest), _) => {
                        self.revisions.insert(fingerprint(&digest));
                    }
                    Lying::Known(Thing::Tag(tag), _) => {
                        self.tags.insert(self.hashes.hash_one(&tag));
                    }
                    Lying::Known(Thing::TagEntry(tag, digest), _) => {
                        self.entries.insert(self.hashes.hash_one((&tag, &digest)));
                    }
                    _ => {}
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// What is suspect because of `thing`, which a listing showed with a size of `size` bytes.
    pub(super) async fn first_look(&self, thing: &Thing, size: u64) -> Result<Option<Thing>, Error> {
        if let Thing::TagEntry(tag, _) = thing
            && !self.tags.contains(&self.hashes.hash_one(tag))
        {
            return Ok(Some(Thing::Tag(tag.clone())));
        }
        if self.is_believed(thing, size) {
            return Ok(None);
        }
        Ok((!self.judge(thing).await?.is_empty()).then(|| thing.clone()))
    }

    /// Whether the listing says enough: a bucket writes objects as a whole, so a link of the right size holds its digest.
    fn is_believed(&self, thing: &Thing, size: u64) -> bool {
        let remote = self.store.latency() == Latency::Remote && self.config.reading == ScrubReading::Sizes;
        let right_size = |digest: &Digest| {
            digest.algorithm() == Algorithm::Sha256 && size == (Algorithm::Sha256.length() * 2 + "sha256:".len()) as u64
        };
        match thing {
            Thing::Layer(digest) => remote && right_size(digest) && self.contents.size(digest).is_some(),
            Thing::TagEntry(_, digest) => remote && right_size(digest) && self.revisions.contains(&fingerprint(digest)),
            Thing::Revision(_) | Thing::Tag(_) | Thing::Referrer { .. } => false,
        }
    }

    /// Notes that nothing is wrong with `thing`.
    pub(super) fn is_right(&mut self, thing: &Thing) {
        if let Thing::Layer(digest) = thing {
            self.links.insert(fingerprint(digest));
        }
    }

    /// What is wrong with `thing`; nothing when it has gone.
    pub(super) async fn judge(&self, thing: &Thing) -> Result<Vec<Finding>, Error> {
        match thing {
            Thing::Layer(digest) => self.layer(thing, digest).await,
            Thing::Revision(digest) => self.revision(thing, digest).await,
            Thing::Tag(tag) => self.tag(thing, tag).await,
            Thing::TagEntry(_, digest) => self.tag_entry(thing, digest).await,
            Thing::Referrer { subject, referrer } => self.referrer(thing, subject, referrer).await,
        }
    }

    pub(super) fn finding(&self, problem: Problem, thing: &Thing, found: impl Into<String>) -> Finding {
        Finding::of(problem, self.name, thing, found)
    }

    /// The value, or the finding that it cannot be read.
    pub(super) fn readable<T>(
        &self,
        thing: &Thing,
        result: StorageResult<T>,
    ) -> Result<std::result::Result<T, Vec<Finding>>, Error> {
        Ok(soft(result)?.map_err(|reason| vec![self.finding(Problem::Unreadable, thing, reason)]))
    }

    /// Where the link of `thing`, which stands for `digest`, leads; or what is wrong with it. It leads nowhere when it has
    /// gone.
    pub(super) async fn link(
        &self,
        thing: &Thing,
        digest: &Digest,
    ) -> Result<std::result::Result<Option<Digest>, Vec<Finding>>, Error> {
        let state = match self.readable(thing, self.store.link_state(self.name, thing).await)? {
            Ok(state) => state,
            Err(findings) => return Ok(Err(findings)),
        };
        let finding = match state {
            LinkState::Missing => return Ok(Ok(None)),
            LinkState::To(target) if leads_to(digest, &target) => return Ok(Ok(Some(target))),
            LinkState::To(target) => {
                self.finding(Problem::MisleadingLink, thing, format!("the link file holds {target}"))
            }
            LinkState::Empty => self.finding(Problem::EmptyLink, thing, "the link file is empty"),
            LinkState::Torn => self.finding(Problem::TornLink, thing, "the link file does not hold a digest"),
        };
        // The path says what the link must hold, if that is here and whole.
        let whole = soft(self.contents.wholeness(self.store, digest).await)? == Ok(Wholeness::Whole);
        let mend = Mend::Link(thing.clone(), *digest);
        Ok(Err(vec![if whole { finding.mended_by(mend) } else { finding }]))
    }

    async fn layer(&self, thing: &Thing, digest: &Digest) -> Result<Vec<Finding>, Error> {
        let target = match self.link(thing, digest).await? {
            Ok(Some(target)) => target,
            Ok(None) => return Ok(Vec::new()),
            Err(findings) => return Ok(findings),
        };
        if self.size(&target).await?.is_some() || !self.store.lies_there(self.name, thing).await? {
            return Ok(Vec::new());
        }
        Ok(vec![self.finding(Problem::DanglingLayerLink, thing, "its content is missing").about(digest)])
    }

    async fn tag(&self, thing: &Thing, tag: &Tag) -> Result<Vec<Finding>, Error> {
        let state = match self.readable(thing, self.store.link_state(self.name, thing).await)? {
            Ok(state) => state,
            Err(findings) => return Ok(findings),
        };
        let digest = match state {
            LinkState::To(digest) => digest,
            LinkState::Missing if self.tag_has_history(tag).await? => {
                return Ok(vec![self.finding(Problem::TagWithoutManifest, thing, "it points to nothing")]);
            }
            LinkState::Missing => return Ok(Vec::new()),
            LinkState::Empty => return Ok(vec![self.finding(Problem::EmptyLink, thing, "the link file is empty")]),
            LinkState::Torn => {
                return Ok(vec![self.finding(Problem::TornLink, thing, "the link file does not hold a digest")]);
            }
        };
        if !self.has_revision(&digest).await? {
            let still = soft(self.store.link_state(self.name, thing).await)? == Ok(state);
            let found = format!("it points to {digest}, which the repository does not have");
            return Ok(if still { vec![self.finding(Problem::DanglingTag, thing, found)] } else { Vec::new() });
        }
        let entry = Thing::TagEntry(tag.clone(), digest);
        if self.entries.contains(&self.hashes.hash_one((tag, &digest)))
            || self.store.lies_there(self.name, &entry).await?
        {
            return Ok(Vec::new());
        }
        let found = format!("{digest}, which the tag points to, has no entry in its history");
        Ok(vec![self.finding(Problem::TagEntryMissing, thing, found).mended_by(Mend::Link(entry, digest))])
    }

    /// Whether anything is left of a tag that has no link.
    async fn tag_has_history(&self, tag: &Tag) -> Result<bool, Error> {
        Ok(self.store.tag_leaves_something(self.name, tag).await?)
    }

    async fn tag_entry(&self, thing: &Thing, digest: &Digest) -> Result<Vec<Finding>, Error> {
        if !self.has_revision(digest).await? {
            if !self.store.lies_there(self.name, thing).await? {
                return Ok(Vec::new());
            }
            let finding = self.finding(Problem::TagEntryStale, thing, "the repository does not have this manifest");
            return Ok(vec![finding.mended_by(Mend::Remove(thing.clone()))]);
        }
        let state = match self.readable(thing, self.store.link_state(self.name, thing).await)? {
            Ok(state) => state,
            Err(findings) => return Ok(findings),
        };
        let is_right = match state {
            LinkState::Missing => true,
            LinkState::To(target) => leads_to(digest, &target),
            LinkState::Empty | LinkState::Torn => false,
        };
        if is_right {
            return Ok(Vec::new());
        }
        let finding = self.finding(Problem::TagEntryDamaged, thing, "it does not hold its digest");
        Ok(vec![finding.mended_by(Mend::Link(thing.clone(), *digest))])
    }

    async fn referrer(&self, thing: &Thing, subject: &Digest, referrer: &Digest) -> Result<Vec<Finding>, Error> {
        let stale = |found: &str| {
            vec![self.finding(Problem::ReferrerStale, thing, found).mended_by(Mend::Remove(thing.clone()))]
        };
        if !self.has_revision(referrer).await? {
            let there = self.store.lies_there(self.name, thing).await?;
            return Ok(if there { stale("the repository does not have this manifest") } else { Vec::new() });
        }
        match self.listed(referrer).await? {
            // What is wrong with the manifest is found there.
            None => Ok(Vec::new()),
            Some(Some((of, _))) if of == *subject => Ok(Vec::new()),
            Some(_) if !self.store.lies_there(self.name, thing).await? => Ok(Vec::new()),
            Some(_) => Ok(stale("the manifest is about something else")),
        }
    }

    /// Bytes of the content, asked of the store unless a listing showed it.
    pub(super) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.contents.size(digest) {
            Some(size) => Ok(Some(size)),
            None => Ok(self.store.content_size(digest).await?),
        }
    }

    /// Whether the repository has a link for the manifest, whatever it holds.
    pub(super) async fn has_revision(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.revisions.contains(&fingerprint(digest))
            || self.store.lies_there(self.name, &Thing::Revision(*digest)).await?)
    }
}

/// Whether a link that stands for `digest` may hold `target`: the same, or where distribution took a sha512 upload, which
/// it keeps under sha256, that.
fn leads_to(digest: &Digest, target: &Digest) -> bool {
    digest == target || (digest.algorithm() != Algorithm::Sha256 && target.algorithm() == Algorithm::Sha256)
}
