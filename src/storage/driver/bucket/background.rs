//! Work that nobody waits for: removing what is of no use any more. Should it fail, upload purging finds the rest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{MOST_KEYS, Store, keys};

/// How long objects wait for others to be removed with them in one request: an image is several uploads.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// Runs `work` after the caller has gone on. Without a runtime, at the end of the process, nothing is done.
pub(super) fn run(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// The keys of objects that are to be removed soon.
#[derive(Debug, Default)]
pub(super) struct Doomed(Mutex<Vec<String>>);

impl Doomed {
    /// Adds `keys`. Returns how many there were before.
    fn add(&self, keys: Vec<String>) -> usize {
        let mut doomed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = doomed.len();
        doomed.extend(keys);
        before
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Removes the objects at `keys`, soon.
pub(super) fn delete(store: &Arc<Store>, keys: Vec<String>) {
    if keys.is_empty() {
        return;
    }
    let added = keys.len();
    let before = store.doomed.add(keys);
    let full = before + added >= MOST_KEYS;
    if before > 0 && !full {
        // Who came first removes these too.
        return;
    }
    let store = Arc::clone(store);
    run(async move {
        if !full {
            tokio::time::sleep(GATHERED_FOR).await;
        }
        if let Err(error) = keys::delete(&*store.service, store.doomed.take()).await {
            tracing::warn!(%error, "parts of an upload that are not needed any more stay until upload purging");
        }
    });
}
