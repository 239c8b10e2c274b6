//! Hashing of an upload alongside its arrival.
//!
//! Bytes are hashed where they arrive, while the processor's cache still holds them: handing them to another thread doubles
//! the changes of thread (11 a MiB instead of 6, measured with 64 MiB blobs). A chunk is at most a few hundred KiB, which keeps
//! its thread from other requests for a fifth of a millisecond.

use bytes::Bytes;

use super::{Error, Result};
use crate::oci::{Algorithm, Hasher};
use crate::storage::StagedUpload;

/// Bytes read back at once when an upload has to be hashed again.
const READ_BACK: u64 = 256 * 1024;

/// A hash of the first `position` bytes of an upload.
#[derive(Debug, Clone)]
pub(super) struct Hashing {
    /// Bytes hashed so far.
    pub(super) position: u64,
    /// Their hash.
    pub(super) hasher: Hasher,
}

impl Hashing {
    /// A hash of nothing yet.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { position: 0, hasher: Hasher::new(algorithm) }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, chunk: &Bytes) {
        self.hasher.update(chunk);
        self.position += chunk.len() as u64;
    }

    /// Makes this a hash by `algorithm` of all that `upload` holds, reading back what it has not seen.
    ///
    /// A client that names sha512 only when it closes the upload pays for a second look at the bytes; one that goes on after
    /// a broken connection for a look at what the connection brought.
    pub(super) async fn catch_up(&mut self, algorithm: Algorithm, upload: &mut StagedUpload) -> Result<()> {
        if self.hasher.algorithm() != algorithm {
            *self = Self::new(algorithm);
        }
        while self.position < upload.length() {
            let end = upload.length().min(self.position.saturating_add(READ_BACK));
            let chunk = upload.read_back(self.position..end).await?;
            if chunk.len() as u64 != end - self.position {
                return Err(Error::UploadUnknown);
            }
            self.update(&chunk);
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
