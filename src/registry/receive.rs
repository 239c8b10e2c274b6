//! Receiving the body of an upload: the next bytes arrive while the last ones are hashed and written.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::join;

use super::hashing::Hashing;
use super::{Body, BodyError, Error, Result};
use crate::storage::StagedUpload;

/// Bytes gathered before they are handed on. Two such batches are in memory for each upload: one being gathered, one being
/// written.
const BATCH: usize = 512 * 1024;

/// What a body brought.
pub(super) struct Received {
    /// Bytes taken from it.
    pub(super) bytes: u64,
    /// Why it ended before its end, if it did. What came before is appended all the same.
    pub(super) interrupted: Option<BodyError>,
}

/// Appends `body` to `upload` and hashes it on the way, up to `limit` bytes of upload in all (0: no limit).
///
/// # Errors
/// [`Error::BlobTooLarge`] as soon as the limit is passed, and whatever storage says.
pub(super) async fn receive(
    body: &mut Body<'_>,
    upload: &mut StagedUpload,
    hashing: &mut Hashing,
    limit: u64,
) -> Result<Received> {
    let mut received = 0;
    let mut batch = gather(body).await;
    loop {
        let length = batch.bytes as u64;
        if limit != 0 && upload.length().saturating_add(length) > limit {
            return Err(Error::BlobTooLarge { limit });
        }
        let interrupted = batch.interrupted.take();
        let last = batch.is_last || interrupted.is_some();
        let gather_next = async { if last { None } else { Some(gather(body).await) } };
        let chunks = std::mem::take(&mut batch.chunks);
        let keep = async {
            if chunks.is_empty() {
                return Ok(());
            }
            let (hashed, appended) = join!(hashing.update(chunks.clone()), upload.append(chunks));
            hashed?;
            Ok::<(), Error>(appended?)
        };
        let (kept, next) = join!(keep, gather_next);
        kept?;
        received += length;
        match next {
            Some(next) => batch = next,
            None => return Ok(Received { bytes: received, interrupted }),
        }
    }
}

#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    bytes: usize,
    is_last: bool,
    interrupted: Option<BodyError>,
}

async fn gather(body: &mut Body<'_>) -> Batch {
    let mut batch = Batch::default();
    while batch.bytes < BATCH {
        match body.next().await {
            Some(Ok(chunk)) => {
                batch.bytes += chunk.len();
                batch.chunks.push(chunk);
            }
            Some(Err(error)) => {
                batch.interrupted = Some(error);
                break;
            }
            None => {
                batch.is_last = true;
                break;
            }
        }
    }
    batch
}
