//! Trying out what a store keeps of what we hope for. Nothing relies on it: it tells the operator what to expect.

use uuid::Uuid;

use super::{Depth, ListQuery, Store, keys, list};
use crate::storage::driver::{Capabilities, Kept, WriteMode};
use crate::storage::error::{Error, Result, found};

/// Times each promise is tried: a store that breaks one does not always do so.
const ATTEMPTS: usize = 3;

/// What the store was seen to keep. See [`super::Driver::capabilities`].
pub(super) async fn capabilities(store: &Store) -> Result<Capabilities> {
    let mut root = store.root.clone();
    if !root.is_empty() {
        root.push('/');
    }
    let directory = format!("{root}docker/registry/v2/gc/probe/{}/", Uuid::new_v4());
    let seen = look(store, &directory).await;
    // Also after an error: the probe leaves nothing.
    let removed = keys::delete_below(&*store.service, &directory).await;
    let seen = seen?;
    removed?;
    Ok(seen)
}

async fn look(store: &Store, directory: &str) -> Result<Capabilities> {
    let mut seen = Capabilities { create_only: Kept::Yes, read_after_write: Kept::Yes, list_after_write: Kept::Yes };
    for attempt in 0..ATTEMPTS {
        let key = format!("{directory}{attempt}");
        if !creates_once(store, &key).await? {
            seen.create_only = Kept::No;
        }
        if found(store.service.head(&key).await)?.is_none() {
            seen.read_after_write = Kept::No;
        }
        let written = is_listed(store, directory, &key).await?;
        keys::delete(&*store.service, vec![key.clone()]).await?;
        if found(store.service.head(&key).await)?.is_some() {
            seen.read_after_write = Kept::No;
        }
        if !written || is_listed(store, directory, &key).await? {
            seen.list_after_write = Kept::No;
        }
    }
    Ok(seen)
}

/// Whether of two conditional writes only the first succeeds.
async fn creates_once(store: &Store, key: &str) -> Result<bool> {
    store.service.put(key, bytes::Bytes::from_static(b"first").into(), WriteMode::CreateOnly).await?;
    match store.service.put(key, bytes::Bytes::from_static(b"second").into(), WriteMode::CreateOnly).await {
        Ok(()) => Ok(false),
        Err(Error::AlreadyExists { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

async fn is_listed(store: &Store, directory: &str, key: &str) -> Result<bool> {
    let query = ListQuery { prefix: directory, depth: Depth::Tree, after: None, limit: ATTEMPTS };
    let (page, _) = list::page(&*store.service, &query).await?;
    Ok(page.objects.iter().any(|object| object.key == key))
}
