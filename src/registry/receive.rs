//! Receiving the body of an upload: the next bytes arrive and are hashed while the last ones are written.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::join;

use super::hashing::Hashing;
use super::{Body, BodyError, Error, Result};
use crate::storage::StagedUpload;
use crate::storage::driver::Latency;

/// Bytes gathered before they are written to a disk. Two such batches are in memory for each upload: one being gathered,
/// one being written.
const BATCH: usize = 512 * 1024;

/// The same for a store that is far away: what it sends at once it gathers itself, so more would only be memory.
const REMOTE_BATCH: usize = 64 * 1024;

/// Bytes to gather before they are written to a store at that distance.
pub(super) fn batch_for(latency: Latency) -> usize {
    match latency {
        Latency::Local => BATCH,
        Latency::Remote => REMOTE_BATCH,
    }
}

/// What a body brought.
pub(super) struct Received {
    /// Bytes taken from it.
    pub(super) bytes: u64,
    /// Why it ended before its end, if it did. What came before is appended all the same.
    pub(super) interrupted: Option<BodyError>,
}

/// Appends `body` to `upload`, `size` bytes at a time, and hashes it on the way, up to `limit` bytes of upload in all (0: no
/// limit).
///
/// # Errors
/// [`Error::BlobTooLarge`] as soon as the limit is passed, and whatever storage says.
pub(super) async fn receive(
    body: &mut Body<'_>,
    upload: &mut StagedUpload,
    hashing: &mut Hashing,
    size: usize,
    limit: u64,
) -> Result<Received> {
    let mut received = 0;
    let mut batch = gather(body, hashing, size).await;
    loop {
        received += batch.bytes as u64;
        if limit != 0 && hashing.position > limit {
            return Err(Error::BlobTooLarge { limit });
        }
        let chunks = std::mem::take(&mut batch.chunks);
        let write = async { if chunks.is_empty() { Ok(()) } else { upload.append(chunks).await } };
        let Some(end) = batch.end.take() else {
            let (written, next) = join!(write, gather(body, hashing, size));
            written?;
            batch = next;
            continue;
        };
        write.await?;
        let interrupted = match end {
            End::Complete => None,
            End::Interrupted(error) => Some(error),
        };
        return Ok(Received { bytes: received, interrupted });
    }
}

/// Some bytes of a body, and its end if they are the last.
#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    bytes: usize,
    end: Option<End>,
}

enum End {
    Complete,
    Interrupted(BodyError),
}

async fn gather(body: &mut Body<'_>, hashing: &mut Hashing, size: usize) -> Batch {
    let mut batch = Batch::default();
    while batch.end.is_none() && batch.bytes < size {
        match body.next().await {
            Some(Ok(chunk)) => {
                hashing.update(&chunk);
                batch.bytes += chunk.len();
                batch.chunks.push(chunk);
            }
            Some(Err(error)) => batch.end = Some(End::Interrupted(error)),
            None => batch.end = Some(End::Complete),
        }
    }
    batch
}
