//! Sharing of requests by those who ask for the same at the same time, without anybody being told something old.
//!
//! Whoever comes while a request for a key is under way waits for the next one, which begins after he came, and shares it with
//! all others who wait. So each key has at most one request under way, however many ask.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::storage::error::{Error, Result, Retry};

/// Requests by key.
pub(super) struct Coalesced<K, T> {
    lanes: Mutex<HashMap<K, Arc<Lane<T>>>>,
}

/// Those who ask for one key.
struct Lane<T> {
    /// Held by the one whose request is under way; given in the order of coming.
    turn: tokio::sync::Mutex<()>,
    /// The request that has not begun, for those who come now.
    next: Mutex<Option<Arc<Round<T>>>>,
}

/// What one request brought, once it has. If the one who made it went away, the next of those who wait makes it anew.
type Round<T> = OnceLock<Result<T, Arc<Error>>>;

impl<K, T> Default for Coalesced<K, T> {
    fn default() -> Self {
        Self { lanes: Mutex::default() }
    }
}

impl<K, T> fmt::Debug for Coalesced<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesced").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Coalesced<K, T> {
    /// The answer to a request for `key` that began after this call: `request` itself, or that of somebody else.
    pub(super) async fn run(&self, key: K, request: impl Future<Output = Result<T>>) -> Result<T> {
        let seat = Seat { lane: Some(self.lane(&key)), key, coalesced: self };
        let Some(lane) = &seat.lane else { return request.await };
        let round = Arc::clone(unpoisoned(&lane.next).get_or_insert_default());
        let _turn = lane.turn.lock().await;
        if let Some(answer) = round.get() {
            return answer.clone().map_err(|error| again(&error));
        }
        // From here on whoever comes waits for another round.
        unpoisoned(&lane.next).take_if(|next| Arc::ptr_eq(next, &round));
        let answer = request.await.map_err(Arc::new);
        let answer = round.get_or_init(|| answer);
        answer.clone().map_err(|error| again(&error))
    }

    fn lane(&self, key: &K) -> Arc<Lane<T>> {
        let new = || Arc::new(Lane { turn: tokio::sync::Mutex::default(), next: Mutex::default() });
        Arc::clone(self.lanes().entry(key.clone()).or_insert_with(new))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Arc<Lane<T>>>> {
        unpoisoned(&self.lanes)
    }
}

/// Keeps the lane of a key, until the last one leaves.
struct Seat<'a, K: Hash + Eq, T> {
    coalesced: &'a Coalesced<K, T>,
    key: K,
    lane: Option<Arc<Lane<T>>>,
}

impl<K: Hash + Eq, T> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let mut lanes = unpoisoned(&self.coalesced.lanes);
        self.lane = None;
        if lanes.get(&self.key).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.key);
        }
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same error for one more who asked.
fn again(error: &Error) -> Error {
    match error {
        Error::NotFound { path } => Error::NotFound { path: path.clone() },
        Error::TooLarge { path, size, limit } => Error::TooLarge { path: path.clone(), size: *size, limit: *limit },
        Error::Backend { operation, path, retry, source } => {
            Error::Backend { operation, path: path.clone(), retry: *retry, source: source.to_string().into() }
        }
        other => Error::Backend {
            operation: "read",
            path: String::new(),
            retry: Retry::Later,
            source: other.to_string().into(),
        },
    }
}
