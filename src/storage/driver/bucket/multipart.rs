//! Multipart uploads that are aborted unless they are completed, and those that somebody else left open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Multipart, MultipartMarker, PartTag, Store, background, refused};
use crate::storage::driver::Unfinished;
use crate::storage::error::{Result, Retry};

/// Abandoned uploads aborted at once.
const ABORTS_AT_ONCE: usize = 8;

/// An upload under way. Whoever sends a part shares it; when the last one lets go, it is aborted unless it was completed.
#[derive(Debug)]
pub(super) struct OpenMultipart {
    store: Arc<Store>,
    upload: Multipart,
    completed: AtomicBool,
}

impl OpenMultipart {
    /// Begins an upload that will become the object at `key`.
    pub(super) async fn begin(store: &Arc<Store>, key: &str) -> Result<Arc<Self>> {
        let (store, owned) = (Arc::clone(store), key.to_owned());
        // In a task of its own: when the caller goes away meanwhile, its result is dropped, and with it the upload.
        let beginning = tokio::spawn(async move {
            let upload = store.service.begin_multipart(&owned).await?;
            Ok(Arc::new(Self { store, upload, completed: AtomicBool::new(false) }))
        });
        beginning.await.map_err(|error| refused("begin", key, Retry::Later, error.to_string()))?
    }

    /// What the store calls it.
    pub(super) fn upload(&self) -> &Multipart {
        &self.upload
    }

    /// Makes the object, of `length` bytes, of its parts.
    ///
    /// An error may stand for a success whose answer was lost, so what counts is whether the object lies there. If the store
    /// cannot be asked that either, that is the error: `NotFound` would say that the upload came to nothing.
    pub(super) async fn complete(&self, parts: &[PartTag], length: u64) -> Result<()> {
        if let Err(error) = self.store.service.complete_multipart(&self.upload, parts).await
            && self.store.size(&self.upload.key).await? != Some(length)
        {
            return Err(error);
        }
        self.completed.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for OpenMultipart {
    fn drop(&mut self) {
        if self.completed.load(Ordering::Acquire) {
            return;
        }
        let (store, upload) = (Arc::clone(&self.store), self.upload.clone());
        background::run(async move {
            if let Err(error) = store.service.abort_multipart(&upload).await {
                tracing::warn!(%error, "a multipart upload stays open until upload purging");
            }
        });
    }
}

/// Aborts, or only counts, what was begun before `before` and never ended. See [`super::Driver::unfinished_writes`].
pub(super) async fn unfinished(store: &Store, before: SystemTime, what: Unfinished) -> Result<u64> {
    let prefix = if store.root.is_empty() {
        "docker/registry/v2/".to_owned()
    } else {
        format!("{}/docker/registry/v2/", store.root)
    };
    let mut count = 0;
    let mut after: Option<MultipartMarker> = None;
    loop {
        let page = store.service.list_multiparts(&prefix, after.as_ref()).await?;
        let old = page.uploads.into_iter().filter(|(_, begun)| *begun < before).map(|(upload, _)| upload);
        let old: Vec<Multipart> = old.filter(|upload| upload.key.starts_with(&prefix)).collect();
        count += old.len() as u64;
        if what == Unfinished::Remove {
            let aborts = old.iter().map(|upload| store.service.abort_multipart(upload)).collect::<Vec<_>>();
            stream::iter(aborts).buffer_unordered(ABORTS_AT_ONCE).try_collect::<()>().await?;
        }
        let Some(next) = page.next else { return Ok(count) };
        if after.is_some_and(|after| (&after.key, &after.id) >= (&next.key, &next.id)) {
            return Err(refused("list", &prefix, Retry::Later, "the store promised more uploads and gave none"));
        }
        after = Some(next);
    }
}
