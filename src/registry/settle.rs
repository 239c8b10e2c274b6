//! The writer's side of garbage collection: publish, then look. See docs/garbage-collection.md.
//!
//! A push is acknowledged only when no collector can have missed it: either the collector announced itself later than the
//! push was published, and will see it, or the push asked to be spared in time, or nothing it needs is doomed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::pull::undamaged;
use super::references::Asking;
use super::{Error, Registry, Result};
use crate::oci::{Algorithm, Digest, Manifest, RepositoryName, Role, Tag, digests_mentioned};
use crate::storage::collection::{EpochId, Epochs, Fetched, Fingerprint, Key};
use crate::storage::driver::Latency;
use crate::storage::{self, NewManifest};

/// How long a push waits for a collector that is just deciding about what it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a push starts over however long that took: a process that was stopped meanwhile has not waited.
const LEAST_ATTEMPTS: usize = 3;

/// Between two looks while waiting.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A request that took longer may have outlived every trace of a collection.
const LONGEST_REQUEST: Duration = Duration::from_hours(1);

/// How old the view may be that a push starts from. With the longest request it stays well below the two hours for which
/// every trace of a collection is kept.
const VIEW_HOLDS: Duration = Duration::from_mins(30);

/// How old a view of the epochs may be where nothing is promised yet.
const VIEW_IS_FRESH: Duration = Duration::from_secs(30);

/// What was last seen of collections. What a push is promised rests on a look after it was published, never on this alone.
#[derive(Debug, Default)]
pub(super) struct Collections(Mutex<Option<(Instant, Epochs)>>);

impl Collections {
    fn note(&self, epochs: &Epochs) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), epochs.clone()));
    }

    fn seen(&self) -> Option<(Instant, Epochs)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a look at the collectors ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Nothing that was published is in danger.
    Yes,
    /// Something may have been removed meanwhile: publish again.
    StartOver,
}

impl Registry {
    /// Stores the manifest and points its tags to it, so that no collector can take away what it needs.
    pub(super) async fn publish_manifest(&self, name: &RepositoryName, new: NewManifest<'_>) -> Result<()> {
        let begun = Instant::now();
        let mut former = Vec::new();
        for attempt in 1.. {
            let published = match self.look_and_check(name, new.manifest).await {
                Ok((before, children)) => self.publish_once(name, new, &before, &children, &mut former).await,
                // An attempt before this one may have moved tags.
                Err(error) => Err(error),
            };
            match published {
                Ok(Settled::Yes) if begun.elapsed() < LONGEST_REQUEST => return Ok(()),
                Ok(Settled::StartOver) if attempt < LEAST_ATTEMPTS || begun.elapsed() < PATIENCE => {}
                Ok(_) => break,
                Err(error) => {
                    self.put_back(name, &new.manifest.digest(), &former).await;
                    return Err(error);
                }
            }
        }
        self.put_back(name, &new.manifest.digest(), &former).await;
        Err(Error::BeingCollected)
    }

    /// Looks at the epochs before the first push comes, which then need not.
    ///
    /// # Errors
    /// When the store fails; pushes then look by themselves.
    pub async fn look_at_collections(&self) -> Result<()> {
        self.epochs().await.map(drop)
    }

    /// Lists the epochs, and then looks whether everything that the manifest refers to is there.
    async fn look_and_check(&self, name: &RepositoryName, manifest: &Manifest) -> Result<(Epochs, Vec<Manifest>)> {
        let seen = self.collections.seen();
        if let Some((at, before)) = &seen
            && before.is_empty()
            && at.elapsed() < VIEW_HOLDS
        {
            // An older list serves as well as a new one: whatever collection removed something since then will be seen
            // after publishing, at work or by the mark that it leaves for days, and then the push starts over.
            let children = self.check_references(name, manifest, Asking::Shortly).await?;
            return Ok((before.clone(), children));
        }
        if seen.is_none() && self.store.latency() == Latency::Remote {
            // Both at once. The answers count if there turns out to be no trace of any collection.
            let (before, checked) = tokio::join!(self.epochs(), self.check_references(name, manifest, Asking::Shortly));
            let before = before?;
            if before.is_empty() {
                return Ok((before, checked?));
            }
            let children = self.check_references(name, manifest, Asking::Thoroughly).await?;
            return Ok((before, children));
        }
        let before = self.epochs().await?;
        let asking = if before.is_empty() { Asking::Shortly } else { Asking::Thoroughly };
        let children = self.check_references(name, manifest, asking).await?;
        Ok((before, children))
    }

    async fn epochs(&self) -> Result<Epochs> {
        let epochs = self.store.epochs().await?;
        self.collections.note(&epochs);
        Ok(epochs)
    }

    async fn publish_once(
        &self,
        name: &RepositoryName,
        new: NewManifest<'_>,
        before: &Epochs,
        children: &[Manifest],
        former: &mut Vec<(Tag, Option<Digest>)>,
    ) -> Result<Settled> {
        let digest = new.manifest.digest();
        self.store.put_manifest(name, new).await?;
        if !before.active.is_empty() {
            // A collector is at work: what is tagged should be safe before the tag moves.
            if self.settle(name, new.manifest, children, before).await? == Settled::StartOver {
                return Ok(Settled::StartOver);
            }
        }
        // Across a network the question is a request, and spared where no collector is in sight.
        if former.is_empty() && (!before.active.is_empty() || self.store.latency() == Latency::Local) {
            for tag in new.tags {
                let target = undamaged(self.store.resolve_tag(name, tag).await)?;
                former.push((tag.clone(), target));
            }
        }
        if !new.tags.is_empty() {
            self.store.point_tags(name, new.tags, &digest).await?;
            // A deletion looks for tags once more after it has removed the manifest. Whichever comes second sees the other.
            if self.store.latency() == Latency::Local && !self.store.has_manifest(name, &digest).await? {
                return Ok(Settled::StartOver);
            }
        }
        self.settle(name, new.manifest, children, before).await
    }

    /// Looks at the epochs, after publishing, and asks those that concern the push to spare it.
    async fn settle(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
        children: &[Manifest],
        before: &Epochs,
    ) -> Result<Settled> {
        let now = self.epochs().await?;
        let Some(ended) = now.ended_since(before) else { return Ok(Settled::StartOver) };
        if ended.is_empty() && now.active.is_empty() {
            return Ok(Settled::Yes);
        }
        if before.is_empty() && manifest.relations().iter().any(|relation| relation.role == Role::Child) {
            // The children were not read, and what they need may be condemned.
            return Ok(Settled::StartOver);
        }
        let keys = self.keys(name, manifest, children).await?;
        for epoch in ended {
            if self.store.swept(epoch).await?.is_none_or(|swept| !swept.is_disjoint(&keys)) {
                return Ok(Settled::StartOver);
            }
        }
        let mut concerned = Vec::new();
        for epoch in now.active.keys() {
            let Fetched::List(list) = self.store.condemned(*epoch).await? else { return Ok(Settled::StartOver) };
            let ours: Vec<Fingerprint> = keys.intersection(&list).copied().collect();
            if !ours.is_empty() {
                self.store.revive(*epoch, &ours).await?;
                concerned.push((*epoch, ours));
            }
        }
        for (epoch, ours) in concerned {
            if self.spared(epoch, &ours).await? == Settled::StartOver {
                return Ok(Settled::StartOver);
            }
        }
        Ok(Settled::Yes)
    }

    /// Whether `epoch` spares `ours`, which it was asked to. Waits for its verdict, and for its end if it does not.
    async fn spared(&self, epoch: EpochId, ours: &[Fingerprint]) -> Result<Settled> {
        let begun = Instant::now();
        if !self.store.is_closed(epoch).await? {
            return Ok(Settled::Yes);
        }
        loop {
            if self.store.is_retired(epoch).await? {
                return Ok(Settled::StartOver);
            }
            if let Some(doomed) = self.store.verdict(epoch).await? {
                let doomed: HashSet<Fingerprint> = doomed.iter().map(Key::fingerprint).collect();
                if !ours.iter().any(|key| doomed.contains(key)) {
                    return Ok(Settled::Yes);
                }
            }
            if begun.elapsed() >= PATIENCE {
                return Err(Error::BeingCollected);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Everything whose removal would harm the push: the manifest, what it and its children mention, and its referrers.
    async fn keys(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
        children: &[Manifest],
    ) -> Result<HashSet<Fingerprint>> {
        let mut digests: HashSet<Digest> = HashSet::new();
        for manifest in children.iter().chain([manifest]) {
            digests.insert(manifest.digest());
            digests.extend(digests_mentioned(manifest.bytes()));
            digests.extend(manifest.relations().iter().map(|relation| relation.descriptor.digest));
        }
        digests.extend(self.store.listed_referrers(name, &manifest.digest()).await?);
        for digest in digests.clone().iter().filter(|digest| digest.algorithm() != Algorithm::Sha256) {
            // distribution keeps content under its sha256 digest whatever digest a link is named after.
            digests.extend(undamaged(self.store.survey_link(name, digest).await)?);
            digests.extend(undamaged(self.store.survey_revision(name, digest).await)?);
        }
        let keys = digests.iter().flat_map(|digest| {
            [Key::Revision(name.clone(), *digest), Key::Link(name.clone(), *digest), Key::Blob(*digest)]
        });
        Ok(keys.map(|key| key.fingerprint()).collect())
    }

    /// Puts the tags back to where they pointed before a push that failed half-way, unless they were moved since.
    async fn put_back(&self, name: &RepositoryName, digest: &Digest, former: &[(Tag, Option<Digest>)]) {
        for (tag, target) in former {
            let result = match self.store.resolve_tag(name, tag).await {
                Ok(Some(current)) if current == *digest => match target {
                    Some(target) => self.store.point_tags(name, std::slice::from_ref(tag), target).await,
                    None => self.store.delete_tag(name, tag).await,
                },
                other => other.map(drop),
            };
            if let Err(error) = result {
                warn!(repository = name.as_str(), tag = tag.as_str(), %error, "a failed push has moved a tag");
            }
        }
    }

    /// Asks running collectors to spare a blob that was just uploaded or mounted, so that its manifest finds it. Nothing is
    /// promised yet, so neither a stale view nor a failure does harm.
    pub(super) async fn spare_blob(&self, name: &RepositoryName, digest: &Digest) {
        if let Err(error) = self.try_to_spare(name, digest).await {
            warn!(repository = name.as_str(), %digest, %error, "a collector could not be asked to spare a new blob");
        }
    }

    async fn try_to_spare(&self, name: &RepositoryName, digest: &Digest) -> Result<(), storage::Error> {
        let epochs = match self.collections.seen() {
            // Where nothing was collected lately, nothing is asked.
            None => return Ok(()),
            Some((_, epochs)) if epochs.is_empty() => return Ok(()),
            Some((at, epochs)) if at.elapsed() < VIEW_IS_FRESH => epochs,
            Some(_) => {
                let epochs = self.store.epochs().await?;
                self.collections.note(&epochs);
                epochs
            }
        };
        let keys = [Key::Link(name.clone(), *digest), Key::Blob(*digest)].map(|key| key.fingerprint());
        for epoch in epochs.active.keys() {
            if let Fetched::List(list) = self.store.condemned(*epoch).await? {
                let ours: Vec<Fingerprint> = keys.into_iter().filter(|key| list.contains(key)).collect();
                if !ours.is_empty() {
                    self.store.revive(*epoch, &ours).await?;
                }
            }
        }
        Ok(())
    }
}
