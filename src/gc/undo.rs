//! Puts back what collections removed from a disk and kept: content, then links, then manifests, what is referred to before
//! what refers to it.
//!
//! To running collectors it is a push like any other, so it needs no rule of its own beside them. It undoes the removal, not
//! what made things garbage: no tag and no deletion by a client is undone.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::{Error, Tally};
use crate::oci::{DeclaredType, Digest, Hasher, Manifest, RepositoryName, Role};
use crate::registry::{Error as Refusal, Registry};
use crate::storage::collection::{BinList, EpochId, Key, Removed};
use crate::storage::driver::Hold;
use crate::storage::{Error as StorageError, Store};

/// Contents moved by one call.
const AT_ONCE: usize = 1000;

/// Puts back what was removed.
#[derive(Debug)]
pub struct Undo {
    store: Store,
    registry: Registry,
    manifest_limit: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UndoReport {
    /// Collections whose removals are kept.
    pub collections: u64,
    /// What was put back, or would be: what is there already does not count.
    pub restored: Tally,
    /// What could not be put back and stays as it is.
    pub not_put_back: Vec<NotPutBack>,
    /// Collections that were left alone because they go on removing.
    pub being_swept: u64,
}

/// Something that could not be put back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotPutBack {
    /// What and where.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What one collection removed.
struct Bin {
    epoch: EpochId,
    removed: Vec<Removed>,
}

/// A manifest of a repository.
type Id = (RepositoryName, Digest);

/// An undoing in progress.
#[derive(Default)]
struct Progress {
    restored: Tally,
    failed: HashMap<Key, String>,
}

impl Progress {
    fn fail(&mut self, key: Key, reason: impl Into<String>) {
        self.failed.insert(key, reason.into());
    }
}

impl Undo {
    /// One that pushes by the rules of `registry`, which is over `store`, and reads manifests of at most `manifest_limit`
    /// bytes.
    #[must_use]
    pub fn new(store: Store, registry: Registry, manifest_limit: u64) -> Self {
        Self { store, registry, manifest_limit }
    }

    /// Tells what would be put back, and changes nothing.
    pub async fn look(&self) -> Result<UndoReport, Error> {
        let (bins, being_swept) = self.bins().await?;
        let mut restored = Tally::default();
        let mut seen = HashSet::new();
        for bin in &bins {
            for (digest, bytes) in self.store.content_in_bin(bin.epoch).await? {
                let key = Key::Blob(digest);
                if !self.store.exists(&key).await? && seen.insert(key.clone()) {
                    restored.count(&key, bytes);
                }
            }
            for Removed { key, .. } in bin.removed.iter().filter(|removed| !matches!(removed.key, Key::Blob(_))) {
                if !self.store.exists(key).await? && seen.insert(key.clone()) {
                    restored.count(key, 0);
                }
            }
        }
        Ok(UndoReport { collections: bins.len() as u64, restored, being_swept, ..UndoReport::default() })
    }

    /// Puts back everything that can be. Interrupted at any point, it can be run again.
    ///
    /// # Errors
    /// [`Error::BinInUse`]; of the store. What was not put back is kept then.
    pub async fn run(&self) -> Result<UndoReport, Error> {
        let hold = self.store.hold_bins().await?;
        if matches!(hold, Hold::Another) {
            return Err(Error::BinInUse);
        }
        let (bins, being_swept) = self.bins().await?;
        self.clear_remains().await?;
        let mut progress = Progress::default();
        self.content(&bins, &mut progress).await?;
        self.links(&bins, &mut progress).await?;
        self.manifests(&bins, &mut progress).await?;
        for bin in &bins {
            self.settle(bin, &progress).await?;
        }
        let mut not_put_back: Vec<_> =
            progress.failed.into_iter().map(|(key, reason)| NotPutBack { what: in_words(&key), reason }).collect();
        not_put_back.sort();
        Ok(UndoReport { collections: bins.len() as u64, restored: progress.restored, not_put_back, being_swept })
    }

    /// What is kept, and how many collections are still at it.
    async fn bins(&self) -> Result<(Vec<Bin>, u64), Error> {
        let epochs = self.store.bins().await?;
        // Asked after the bins: one that was begun belongs to an epoch that was announced before.
        let active = self.store.epochs().await?.active;
        let (mut bins, mut being_swept) = (Vec::new(), 0);
        for epoch in epochs {
            if active.contains_key(&epoch) {
                being_swept += 1;
            } else if let Some(removed) = self.store.bin_list(epoch).await? {
                bins.push(Bin { epoch, removed });
            }
        }
        Ok((bins, being_swept))
    }

    /// Removes what is left of bins whose emptying was interrupted.
    async fn clear_remains(&self) -> Result<(), Error> {
        let epochs = self.store.bins().await?;
        let active = self.store.epochs().await?.active;
        for epoch in epochs.into_iter().filter(|epoch| !active.contains_key(epoch)) {
            if self.store.bin_times(epoch).await?.is_none() {
                self.store.empty_bin(epoch).await?;
            }
        }
        Ok(())
    }

    async fn content(&self, bins: &[Bin], progress: &mut Progress) -> Result<(), Error> {
        let mut there = HashSet::new();
        for bin in bins {
            let mut missing = Vec::new();
            for (digest, bytes) in self.store.content_in_bin(bin.epoch).await? {
                if there.insert(digest) && !self.store.exists(&Key::Blob(digest)).await? {
                    missing.push((digest, bytes));
                }
            }
            for part in missing.chunks(AT_ONCE) {
                let digests: Vec<Digest> = part.iter().map(|(digest, _)| *digest).collect();
                let stay = self.store.take_from_bin(bin.epoch, &digests).await?;
                for (digest, bytes) in part {
                    let key = Key::Blob(*digest);
                    if stay.contains(digest) {
                        progress.fail(key, "its place is on another file system now, or there is no room for it");
                    } else {
                        progress.restored.count(&key, *bytes);
                    }
                }
            }
        }
        for key in bins.iter().flat_map(|bin| &bin.removed).map(|removed| &removed.key) {
            if let Key::Blob(digest) = key
                && there.insert(*digest)
                && !self.store.exists(key).await?
            {
                progress.fail(key.clone(), GONE);
            }
        }
        Ok(())
    }

    async fn links(&self, bins: &[Bin], progress: &mut Progress) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for Removed { key, content, .. } in bins.iter().flat_map(|bin| &bin.removed) {
            let Key::Link(name, digest) = key else { continue };
            if !seen.insert(key) || self.store.exists(key).await? {
                continue;
            }
            match self.registry.restore_blob(name, digest, content.as_ref().unwrap_or(digest)).await {
                Ok(true) => progress.restored.count(key, 0),
                Ok(false) => progress.fail(key.clone(), GONE),
                Err(error) => progress.fail(key.clone(), reason(&error)),
            }
        }
        Ok(())
    }

    async fn manifests(&self, bins: &[Bin], progress: &mut Progress) -> Result<(), Error> {
        let mut wanted: BTreeMap<Id, &Removed> = BTreeMap::new();
        for removed in bins.iter().flat_map(|bin| &bin.removed) {
            if let Key::Revision(name, digest) = &removed.key {
                wanted.insert((name.clone(), *digest), removed);
            }
        }
        let mut needs: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
        for (id, removed) in &wanted {
            match self.read(&id.1, removed).await? {
                // Only what it needs is remembered, and the manifest read again: there may be very many.
                Ok(manifest) => drop(needs.insert(id.clone(), needs_of(&id.0, &manifest))),
                Err(reason) => progress.fail(removed.key.clone(), reason),
            }
        }
        for id in in_order(&needs) {
            let Some(removed) = wanted.get(id) else { continue };
            let there = self.store.exists(&removed.key).await?;
            // One that is there may have been left by an undoing that was interrupted before it could be sure.
            let pushed = match self.read(&id.1, removed).await? {
                Ok(manifest) => self.registry.restore_manifest(&id.0, &manifest).await.map_err(|error| reason(&error)),
                Err(reason) => Err(reason),
            };
            match pushed {
                Ok(()) if there => {}
                Ok(()) => progress.restored.count(&removed.key, 0),
                Err(reason) => progress.fail(removed.key.clone(), reason),
            }
        }
        Ok(())
    }

    /// The manifest as it was pushed, or why there is none any more.
    async fn read(&self, digest: &Digest, removed: &Removed) -> Result<Result<Manifest, String>, Error> {
        let content = removed.content.unwrap_or(*digest);
        let bytes = match self.store.survey_content(&content, self.manifest_limit).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Err(GONE.to_owned())),
            Err(error @ StorageError::TooLarge { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        if Hasher::digest(content.algorithm(), &bytes) != content {
            return Ok(Err("its content is not what its digest says".to_owned()));
        }
        let media_type = match DeclaredType::of(&bytes) {
            DeclaredType::Named(media_type) => Some(media_type),
            DeclaredType::Shaped(shape) => Some(removed.media_type.clone().unwrap_or(shape)),
            DeclaredType::Unknown => removed.media_type.clone(),
        };
        Ok(Manifest::parse(media_type, bytes, digest.algorithm()).map_err(|error| error.to_string()))
    }

    /// Takes out of the bin what was put back.
    async fn settle(&self, bin: &Bin, progress: &Progress) -> Result<(), Error> {
        let mut rest = BinList::default();
        bin.removed.iter().filter(|removed| progress.failed.contains_key(&removed.key)).for_each(|it| rest.push(it));
        if rest.is_empty() {
            return Ok(self.store.empty_bin(bin.epoch).await?);
        }
        self.store.rewrite_bin(bin.epoch, rest).await?;
        let content = self.store.content_in_bin(bin.epoch).await?.into_iter().map(|(digest, _)| digest);
        let done: Vec<Digest> = content.filter(|digest| !progress.failed.contains_key(&Key::Blob(*digest))).collect();
        Ok(self.store.drop_from_bin(bin.epoch, &done).await?)
    }
}

/// Why most of what cannot be put back cannot.
const GONE: &str = "its content is gone";

fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ReferencesUnknown { missing, .. } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            format!("it refers to what is gone: {}", missing.join(", "))
        }
        Refusal::BeingCollected => "a collection is removing what it needs; undo again after its end".to_owned(),
        other => other.to_string(),
    }
}

fn in_words(key: &Key) -> String {
    match key {
        Key::Revision(name, digest) => format!("manifest {digest} of repository {name}"),
        Key::Link(name, digest) => format!("the link of repository {name} to blob {digest}"),
        Key::Blob(digest) => format!("content {digest}"),
    }
}

/// What has to be there before the manifest: what it lists, and what it is about.
fn needs_of(name: &RepositoryName, manifest: &Manifest) -> Vec<Id> {
    let children = manifest.relations().iter().filter(|relation| relation.role == Role::Child);
    let children = children.map(|relation| relation.descriptor.digest);
    children.chain(manifest.subject().map(|subject| subject.digest)).map(|digest| (name.clone(), digest)).collect()
}

/// The keys of `needs`, each after those of them that it needs.
fn in_order(needs: &BTreeMap<Id, Vec<Id>>) -> Vec<&Id> {
    let mut order = Vec::with_capacity(needs.len());
    let mut seen = HashSet::new();
    for start in needs.keys() {
        let mut path = vec![(start, Visit::Before)];
        while let Some((id, visit)) = path.pop() {
            match visit {
                Visit::After => order.push(id),
                Visit::Before if seen.insert(id) => {
                    path.push((id, Visit::After));
                    let needed = needs.get(id).into_iter().flatten();
                    path.extend(needed.filter(|id| needs.contains_key(id)).map(|id| (id, Visit::Before)));
                }
                Visit::Before => {}
            }
        }
    }
    order
}

/// Whether what a manifest needs has been put in order yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Before,
    After,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[test]
    fn what_is_needed_comes_first_however_deep() {
        let id = |number: usize| {
            ("a".parse::<RepositoryName>().unwrap(), Hasher::digest(Algorithm::Sha256, number.to_string().as_bytes()))
        };
        // A chain longer than any stack of calls, in no order of digests, with a shared foot and a need outside.
        let many = 50_000;
        let mut needs: BTreeMap<Id, Vec<Id>> =
            (1..many).map(|number| (id(number), vec![id(number - 1), id(0), id(many + 7)])).collect();
        needs.insert(id(0), Vec::new());
        let order = in_order(&needs);
        assert_eq!(order.len(), many);
        let places: HashMap<&Id, usize> = order.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        for (id, needed) in &needs {
            assert!(needed.iter().filter_map(|needed| places.get(needed)).all(|place| *place < places[id]));
        }
    }
}
