//! The judgement of one manifest: its link, its bytes, its parts, and its place in the referrers index. OCI image-spec.
//!
//! What must be there is what a push would have to bring: the registry's own rules decide about children of an index.

use super::contents::Wholeness;
use super::finding::Mend;
use super::judge::Judge;
use super::{Finding, Problem, soft};
use crate::gc::{Error, references};
use crate::oci::{Descriptor, Digest, Hasher, Manifest, Relation, Role};
use crate::storage::collection::fingerprint;
use crate::storage::inspection::{EntryState, LinkState, Thing};

/// A manifest as far as it can be read.
enum Reading {
    /// It is one.
    Manifest(Box<Manifest>),
    /// It has gone.
    Gone,
    /// It is wrong.
    Wrong(Vec<Finding>),
}

impl Judge<'_> {
    pub(super) async fn revision(&self, thing: &Thing, digest: &Digest) -> Result<Vec<Finding>, Error> {
        let manifest = match self.read(thing, digest).await? {
            Reading::Manifest(manifest) => manifest,
            Reading::Gone => return Ok(Vec::new()),
            Reading::Wrong(findings) => return Ok(findings),
        };
        let mut findings = Vec::new();
        for relation in manifest.relations() {
            match relation.role {
                Role::Layer if relation.descriptor.media_type.is_non_distributable() => {}
                Role::Config | Role::Layer => findings.extend(self.part(thing, relation).await?),
                Role::Child => findings.extend(self.child(thing, &relation.descriptor).await?),
            }
        }
        if let Some(subject) = manifest.subject() {
            findings.extend(self.entry(digest, &subject.digest, manifest.referrer()).await?);
        }
        if !findings.is_empty() && !self.store.lies_there(self.name, thing).await? {
            // Its parts go after it does.
            findings.clear();
        }
        Ok(findings)
    }

    /// Under which subject the manifest is to be listed, and as what: nothing when it has none, or cannot be read.
    pub(super) async fn listed(&self, digest: &Digest) -> Result<Option<Option<(Digest, Descriptor)>>, Error> {
        match self.read(&Thing::Revision(*digest), digest).await? {
            Reading::Manifest(manifest) => {
                Ok(Some(manifest.subject().map(|subject| (subject.digest, manifest.referrer()))))
            }
            Reading::Gone | Reading::Wrong(_) => Ok(None),
        }
    }

    async fn read(&self, thing: &Thing, digest: &Digest) -> Result<Reading, Error> {
        let wrong = |problem, found: String| Ok(Reading::Wrong(vec![self.finding(problem, thing, found)]));
        let content = match self.link(thing, digest).await? {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Reading::Gone),
            Err(findings) => return Ok(Reading::Wrong(findings)),
        };
        let bytes = self.store.survey_content(&content, self.config.manifest_limit).await;
        let bytes = match self.readable(thing, bytes)? {
            Ok(Some(bytes)) => bytes,
            Ok(None) if !self.store.lies_there(self.name, thing).await? => return Ok(Reading::Gone),
            Ok(None) => return wrong(Problem::ContentMissing, "its content is missing".to_owned()),
            Err(findings) => return Ok(Reading::Wrong(findings)),
        };
        if Hasher::digest(content.algorithm(), &bytes) != content {
            return wrong(Problem::PartDamaged, "its bytes have another digest".to_owned());
        }
        if references::of(&bytes).is_none() {
            return wrong(Problem::NotAManifest, "it is no JSON object".to_owned());
        }
        let media_type = match soft(self.store.media_type_of(self.name, digest, &bytes).await)? {
            Ok(media_type) => media_type,
            Err(reason) => return wrong(Problem::MediaTypeUnknown, reason),
        };
        match Manifest::parse(Some(media_type), bytes, digest.algorithm()) {
            Ok(manifest) => Ok(Reading::Manifest(Box::new(manifest))),
            Err(error) => wrong(Problem::BreaksRules, error.to_string()),
        }
    }

    /// What is wrong with a config or a layer.
    async fn part(&self, thing: &Thing, relation: &Relation) -> Result<Option<Finding>, Error> {
        let descriptor = &relation.descriptor;
        let what = if relation.role == Role::Config { "config" } else { "layer" };
        let missing = |reason: &str| {
            let found = format!("{what} {} is missing: {reason}", descriptor.digest);
            Some(self.finding(Problem::PartMissing, thing, found).about(&descriptor.digest))
        };
        let mut content = descriptor.digest;
        if !self.links.contains(&fingerprint(&descriptor.digest)) || self.contents.size(&content).is_none() {
            let link = Thing::Layer(descriptor.digest);
            content = match soft(self.store.link_state(self.name, &link).await)? {
                Ok(LinkState::To(content)) => content,
                Ok(LinkState::Missing) => return Ok(missing("the repository has no link to it")),
                // The link is a finding of its own.
                Ok(LinkState::Empty | LinkState::Torn) | Err(_) => return Ok(None),
            };
        }
        let Some(size) = self.size(&content).await? else { return Ok(missing("its content is gone")) };
        self.sized(thing, what, descriptor, &content, size).await
    }

    /// What is wrong with content of `size` bytes that the manifest describes.
    async fn sized(
        &self,
        thing: &Thing,
        what: &str,
        descriptor: &Descriptor,
        content: &Digest,
        size: u64,
    ) -> Result<Option<Finding>, Error> {
        let judged = self.contents.judgement(content);
        if size == descriptor.size && judged != Some(Wholeness::Damaged) {
            return Ok(None);
        }
        // Either the content is not whole, or the manifest tells a wrong size. The content decides.
        match soft(self.contents.wholeness(self.store, content).await)? {
            Ok(Wholeness::Damaged) => {
                let found = format!("{what} {} is damaged: its bytes have another digest", descriptor.digest);
                Ok(Some(self.finding(Problem::PartDamaged, thing, found)))
            }
            Ok(Wholeness::Whole) if size != descriptor.size => {
                let found =
                    format!("{what} {} has {size} bytes, and the manifest says {}", descriptor.digest, descriptor.size);
                Ok(Some(self.finding(Problem::PartOfOtherSize, thing, found)))
            }
            Ok(Wholeness::Whole | Wholeness::Gone) => Ok(None),
            Err(reason) => Ok(Some(self.finding(Problem::Unreadable, thing, reason))),
        }
    }

    /// What is wrong with a child of an index, which old builders' caches use for blobs too.
    async fn child(&self, thing: &Thing, child: &Descriptor) -> Result<Option<Finding>, Error> {
        let digest = &child.digest;
        if self.has_revision(digest).await? || self.store.lies_there(self.name, &Thing::Layer(*digest)).await? {
            return match self.size(digest).await? {
                Some(size) => self.sized(thing, "child", child, digest, size).await,
                // Its own link tells.
                None => Ok(None),
            };
        }
        let platform = child
            .platform
            .as_ref()
            .map_or_else(String::new, |platform| format!(" for {}/{}", platform.os, platform.architecture));
        let found = format!("child {digest}{platform} is not in the repository");
        let required = self.config.validation.requires(child);
        Ok(Some(self.finding(if required { Problem::ChildMissing } else { Problem::SparseChild }, thing, found)))
    }

    /// What is wrong with the manifest's entry under its subject.
    async fn entry(&self, digest: &Digest, subject: &Digest, right: Descriptor) -> Result<Option<Finding>, Error> {
        let thing = Thing::Referrer { subject: *subject, referrer: *digest };
        let right = Descriptor { digest: *digest, ..right };
        let mend = |right: Descriptor| Mend::Entry(*subject, Box::new(right));
        let state = match self.readable(&thing, self.store.entry_state(self.name, subject, digest).await)? {
            Ok(state) => state,
            Err(mut findings) => return Ok(findings.pop()),
        };
        let (problem, found) = match state {
            EntryState::Holds(entry) if *entry == right => return Ok(None),
            EntryState::Holds(_) => (Problem::ReferrerDamaged, "the entry does not say what the manifest says"),
            EntryState::Torn => (Problem::ReferrerDamaged, "the entry cannot be read"),
            // The index finds what it has not looked at by itself, when it is asked.
            EntryState::Missing if !self.store.looked_through(self.name).await?.contains(&fingerprint(digest)) => {
                return Ok(None);
            }
            EntryState::Missing => (Problem::ReferrerMissing, "it is not listed under its subject"),
        };
        Ok(Some(self.finding(problem, &thing, found).mended_by(mend(right))))
    }
}
