//! Removing many keys: batches as large as a request takes, several at once.

use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Depth, ListQuery, MOST_KEYS, Sending, Service, list};
use crate::storage::driver::More;
use crate::storage::error::Result;

/// Requests that remove keys at once.
const DELETES_AT_ONCE: usize = 4;

/// Removes the objects at `keys`.
pub(super) async fn delete(service: &dyn Service, keys: Vec<String>) -> Result<()> {
    send(service, keys, Sending::AsOftenAsNeeded).await
}

/// Removes the objects at `keys`; after `Ok` no request is left that could take effect later.
pub(super) async fn delete_once(service: &dyn Service, keys: Vec<String>, issued: SystemTime) -> Result<()> {
    send(service, keys, Sending::Once { issued }).await
}

async fn send(service: &dyn Service, keys: Vec<String>, sending: Sending) -> Result<()> {
    let batches = keys.chunks(MOST_KEYS).map(|batch| service.delete(batch, sending));
    stream::iter(batches.collect::<Vec<_>>()).buffer_unordered(DELETES_AT_ONCE).try_collect().await
}

/// Removes every object whose key begins with `prefix`, page by page: the next is listed while one is removed.
pub(super) async fn delete_below(service: &dyn Service, prefix: &str) -> Result<()> {
    let pages = stream::try_unfold(Some(None::<String>), |step| async move {
        let Some(after) = step else { return Ok(None) };
        let query = ListQuery { prefix, depth: Depth::Tree, after: after.as_deref(), limit: MOST_KEYS };
        let (page, last) = list::page(service, &query).await?;
        let keys: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
        let next = if page.more == More::Yes { last.map(Some) } else { None };
        Ok::<_, crate::storage::error::Error>(Some((keys, next)))
    });
    pages
        .try_for_each_concurrent(DELETES_AT_ONCE, |keys| async move {
            if keys.is_empty() { Ok(()) } else { service.delete(&keys, Sending::AsOftenAsNeeded).await }
        })
        .await
}
