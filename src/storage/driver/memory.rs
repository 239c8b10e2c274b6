//! The driver that keeps everything in memory: `storage.inmemory`, and the oracle the other drivers are compared with.
//!
//! Everything is one ordered map under one lock; nothing waits while holding it.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::suspended::{self, stale};
use super::{
    Content, Driver, Entries, Entry, EntryKind, ListPage, Listing, Object, PresignMethod, Reading, Space, StagedWrite,
    Stat, WriteMode,
};
use crate::storage::error::{Error, Result};
use crate::storage::layout::StoragePath;

/// Objects in memory, gone when the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    stored: Arc<Mutex<BTreeMap<String, Stored>>>,
    space: Option<Space>,
}

#[derive(Debug, Clone)]
struct Stored {
    content: Kept,
    modified: SystemTime,
}

#[derive(Debug, Clone)]
enum Kept {
    Object(Bytes),
    Staged(Arc<Slot>),
}

/// What a staged write holds.
#[derive(Debug, Default)]
struct Slot {
    bytes: Mutex<Vec<u8>>,
    held: AtomicBool,
}

impl Slot {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn object(content: Bytes) -> Self {
        Self { content: Kept::Object(content), modified: SystemTime::now() }
    }

    fn size(&self) -> u64 {
        match &self.content {
            Kept::Object(content) => content.len() as u64,
            Kept::Staged(slot) => slot.bytes().len() as u64,
        }
    }

    fn bytes(&self) -> Bytes {
        match &self.content {
            Kept::Object(content) => content.clone(),
            Kept::Staged(slot) => Bytes::copy_from_slice(&slot.bytes()),
        }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same store, which says that it has so much room, as disks do.
    #[cfg(test)]
    pub(crate) fn with_space(&self, available: u64, total: u64) -> Self {
        Self { space: Some(Space { available, total }), ..self.clone() }
    }

    fn stored(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        // Every change is one insertion or removal, so a panic elsewhere leaves the map whole.
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, path: &StoragePath) -> Result<Stored> {
        self.stored().get(path.as_str()).cloned().ok_or_else(|| not_found(path))
    }

    fn staged(&self, path: &StoragePath) -> Result<Arc<Slot>> {
        if let Kept::Staged(slot) = self.get(path)?.content { Ok(slot) } else { Err(not_found(path)) }
    }
}

#[async_trait]
impl Driver for Memory {
    fn name(&self) -> &'static str {
        "inmemory"
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        let stored = self.get(path)?;
        Ok(Stat { size: stored.size(), modified: stored.modified })
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        let stored = self.get(path)?;
        let size = stored.size();
        if size > limit {
            return Err(Error::TooLarge { path: path.to_string(), size, limit });
        }
        Ok(stored.bytes())
    }

    async fn open(&self, path: &StoragePath, _reading: Reading) -> Result<Object> {
        let content = self.get(path)?.bytes();
        Ok(Object { size: content.len() as u64, content: Content::Memory(content) })
    }

    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        let mut stored = self.stored();
        if mode == WriteMode::CreateOnly && stored.contains_key(path.as_str()) {
            return Err(Error::AlreadyExists { path: path.to_string() });
        }
        stored.insert(path.to_string(), Stored::object(content));
        Ok(())
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        let mut stored = self.stored();
        for path in paths {
            stored.remove(path.as_str());
        }
        Ok(())
    }

    async fn delete_once(&self, paths: &[StoragePath], _issued: SystemTime) -> Result<()> {
        self.delete_many(paths).await
    }

    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let mut stored = self.stored();
        for (from, to) in moves {
            if let Some(moved) = stored.remove(from.as_str()) {
                stored.insert(to.to_string(), Stored { modified: SystemTime::now(), ..moved });
            }
        }
        Ok(Vec::new())
    }

    async fn space(&self, _at: &StoragePath) -> Result<Option<Space>> {
        // Memory that is in use is worth more than what was removed from it.
        Ok(self.space)
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        let below = format!("{prefix}/");
        self.stored().retain(|path, _| !path.starts_with(&below));
        Ok(())
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        let below = format!("{prefix}/");
        let stored = self.stored();
        let mut names = BTreeMap::new();
        let mut from = Bound::Included(below.clone());
        while let Some((path, _)) = stored.range((from, Bound::Unbounded)).next() {
            let Some(rest) = path.strip_prefix(&below) else { break };
            from = if let Some((directory, _)) = rest.split_once('/') {
                names.insert(directory.to_owned(), EntryKind::Directory);
                // What lies below the directory ends before the byte that follows `/`.
                Bound::Included(format!("{below}{directory}0"))
            } else {
                names.insert(rest.to_owned(), EntryKind::Object);
                Bound::Excluded(path.clone())
            };
        }
        let names = names.into_iter().map(|(name, kind)| Entry { name, kind }).collect();
        Ok(Entries::page_of(names, page))
    }

    async fn presigned_url(&self, _path: &StoragePath, _method: PresignMethod) -> Result<Option<String>> {
        Ok(None)
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        let slot = Arc::new(Slot::default());
        let mut stored = self.stored();
        if stored.contains_key(staging.as_str()) {
            return Err(Error::AlreadyExists { path: staging.to_string() });
        }
        let content = Kept::Staged(Arc::clone(&slot));
        stored.insert(staging.to_string(), Stored { content, modified: SystemTime::now() });
        Ok(Box::new(Held::take(self, staging, slot)?))
    }

    async fn create(&self, target: &StoragePath, _length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        let mut held = Held::take(self, target, Arc::default())?;
        held.place = Place::Nowhere;
        Ok(Box::new(held))
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        let promised = suspended::decode(staging, state)?;
        // As on a disk: whether somebody holds it is found out before what it holds is looked at.
        let held = Held::take(self, staging, self.staged(staging)?)?;
        // Whoever held it before may have published it between our finding it and our holding it.
        if !Arc::ptr_eq(&held.slot, &self.staged(staging)?) {
            return Err(not_found(staging));
        }
        suspended::check(staging, promised, held.slot.bytes().len() as u64)?;
        Ok(Box::new(held))
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        let promised = suspended::decode(staging, state)?;
        let length = self.staged(staging)?.bytes().len() as u64;
        suspended::check(staging, promised, length)?;
        Ok(length)
    }

    async fn discard_staged(&self, staging: &StoragePath, _state: &[u8]) -> Result<()> {
        self.stored().remove(staging.as_str());
        Ok(())
    }
}

/// A staged write that one request holds, until it is dropped.
#[derive(Debug)]
struct Held {
    memory: Memory,
    path: StoragePath,
    slot: Arc<Slot>,
    place: Place,
}

/// Where the bytes of a staged write are found by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its path, for whoever resumes it.
    Staging,
    /// Nowhere before they are published.
    Nowhere,
}

impl Held {
    fn take(memory: &Memory, path: &StoragePath, slot: Arc<Slot>) -> Result<Self> {
        if slot.held.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy { path: path.to_string() });
        }
        Ok(Self { memory: memory.clone(), path: path.clone(), slot, place: Place::Staging })
    }

    /// Takes the staged write out of `stored`, if it is still there.
    fn remove(&self, stored: &mut BTreeMap<String, Stored>) -> Result<()> {
        match stored.get(self.path.as_str()).map(|stored| &stored.content) {
            _ if self.place == Place::Nowhere => Ok(()),
            Some(Kept::Staged(slot)) if Arc::ptr_eq(slot, &self.slot) => {
                stored.remove(self.path.as_str());
                Ok(())
            }
            _ => Err(not_found(&self.path)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slot.held.store(false, Ordering::Release);
    }
}

#[async_trait]
impl StagedWrite for Held {
    fn length(&self) -> u64 {
        self.slot.bytes().len() as u64
    }

    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        {
            let mut bytes = self.slot.bytes();
            for chunk in chunks {
                bytes.extend_from_slice(&chunk);
            }
        }
        if self.place == Place::Staging
            && let Some(stored) = self.memory.stored().get_mut(self.path.as_str())
        {
            stored.modified = SystemTime::now();
        }
        Ok(())
    }

    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.slot.bytes();
        let position = |offset: u64| usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        Ok(Bytes::copy_from_slice(bytes.get(position(range.start)..position(range.end)).unwrap_or_default()))
    }

    async fn suspend(self: Box<Self>) -> Result<Vec<u8>> {
        if self.place == Place::Nowhere {
            return Err(stale(&self.path, "it was not opened to be suspended".to_owned()));
        }
        Ok(suspended::encode(self.length()))
    }

    async fn publish(self: Box<Self>, path: &StoragePath) -> Result<()> {
        let mut stored = self.memory.stored();
        self.remove(&mut stored)?;
        let content = std::mem::take(&mut *self.slot.bytes());
        stored.insert(path.to_string(), Stored::object(content.into()));
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        // Somebody else may have discarded it already.
        let _ = self.remove(&mut self.memory.stored());
        Ok(())
    }
}

fn not_found(path: &StoragePath) -> Error {
    Error::NotFound { path: path.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Memory;
    use crate::storage::driver::{
        Driver,
        contract::{contract_tests, one_place_tests},
    };

    contract_tests!({
        let driver: Arc<dyn Driver> = Arc::new(Memory::new());
        (driver, ())
    });

    one_place_tests!({
        let driver: Arc<dyn Driver> = Arc::new(Memory::new());
        (driver, ())
    });
}
