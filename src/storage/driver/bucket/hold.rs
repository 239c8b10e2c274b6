//! Who works on which upload session in this process. Other replicas are not asked: what they write goes elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::not_found;
use crate::storage::error::{Error, Result};

/// The sessions that requests to this process work on.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Whether the session was discarded under its holder.
    held: Mutex<HashMap<String, Arc<AtomicBool>>>,
}

impl Holds {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<AtomicBool>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session at `key` until the hold is dropped.
    ///
    /// # Errors
    /// `Busy` while somebody else has it.
    pub(super) fn take(holds: &Arc<Self>, key: String) -> Result<Hold> {
        let discarded = Arc::new(AtomicBool::new(false));
        let mut held = holds.held();
        if held.contains_key(&key) {
            return Err(Error::Busy { path: key });
        }
        held.insert(key.clone(), Arc::clone(&discarded));
        drop(held);
        Ok(Hold { holds: Arc::clone(holds), key, discarded })
    }

    /// Ends the session at `key` for whoever has it.
    pub(super) fn end(&self, key: &str) {
        if let Some(discarded) = self.held().remove(key) {
            discarded.store(true, Ordering::Release);
        }
    }
}

/// A session that is nobody else's in this process.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    key: String,
    discarded: Arc<AtomicBool>,
}

impl Hold {
    /// The session's key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// # Errors
    /// `NotFound` when the session was discarded meanwhile.
    pub(super) fn check(&self) -> Result<()> {
        if self.discarded.load(Ordering::Acquire) { Err(not_found(&self.key)) } else { Ok(()) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.held();
        // After a discarding, somebody else may have it.
        if held.get(&self.key).is_some_and(|discarded| Arc::ptr_eq(discarded, &self.discarded)) {
            held.remove(&self.key);
        }
    }
}
