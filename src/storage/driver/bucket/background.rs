//! Work that nobody waits for: removing what is of no use any more. Should it fail, collection finds the rest.

use std::sync::Arc;

use super::{Store, keys};

/// Runs `work` after the caller has gone on. Without a runtime, at the end of the process, nothing is done.
pub(super) fn run(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Removes the objects at `keys`.
pub(super) fn delete(store: &Arc<Store>, keys: Vec<String>) {
    if keys.is_empty() {
        return;
    }
    let store = Arc::clone(store);
    run(async move {
        if let Err(error) = keys::delete(&*store.service, keys).await {
            tracing::warn!(%error, "parts of an upload that are not needed any more stay until upload purging");
        }
    });
}
