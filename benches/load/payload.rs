//! Content that no two pushes share and whose digest costs almost nothing: a fixed beginning, hashed once, and a short
//! ending of its own. The bytes do not compress.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Bytes of the part that differs.
const ENDING: usize = 32;

/// The fixed beginning and the hash's state behind it.
pub(crate) struct Payload {
    beginning: Vec<u8>,
    state: Sha256,
    run: u64,
    next: AtomicU64,
}

/// One blob: `Payload::beginning` followed by `ending`.
pub(crate) struct Unique {
    /// The bytes that make it differ from every other blob.
    pub(crate) ending: [u8; ENDING],
    /// Its digest, `sha256:hex`.
    pub(crate) digest: String,
}

impl Payload {
    /// Content of `size` bytes, at least the ending's 32, different from every run before.
    pub(crate) fn new(size: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let run = u64::try_from(now & u128::from(u64::MAX)).unwrap_or(0) ^ (u64::from(process::id()) << 32);
        Self::with_run(size, run)
    }

    /// Content that is the same in every run.
    pub(crate) fn fixed(size: usize) -> Self {
        Self::with_run(size, 0)
    }

    /// Content that shares no stretch with any other: for stores that keep equal stretches once. Making it costs the client
    /// as much as hashing it.
    pub(crate) fn apart(size: usize, number: u64) -> Self {
        let fresh = Self::new(0);
        Self::made_of(noise(size.saturating_sub(ENDING), fresh.run ^ number.rotate_left(32)), fresh.run)
    }

    fn with_run(size: usize, run: u64) -> Self {
        Self::made_of(noise(size.saturating_sub(ENDING), 0), run)
    }

    fn made_of(beginning: Vec<u8>, run: u64) -> Self {
        let state = Sha256::new_with_prefix(&beginning);
        Self { beginning, state, run, next: AtomicU64::new(0) }
    }

    /// The part that all blobs of this payload share.
    pub(crate) fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// The next blob.
    pub(crate) fn unique(&self) -> Unique {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut ending = [b'.'; ENDING];
        let text = format!("{:016x}{number:016x}", self.run);
        for (place, byte) in ending.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        let digest = name(self.state.clone().chain_update(ending));
        Unique { ending, digest }
    }

    /// The number of bytes of each blob.
    pub(crate) fn size(&self) -> usize {
        self.beginning.len() + ENDING
    }
}

/// The digest of `bytes`, `sha256:hex`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    name(Sha256::new_with_prefix(bytes))
}

fn name(hash: Sha256) -> String {
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// Bytes of a xorshift generator: fast to make and without any pattern that a compressor would find.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    // The generator stands still at zero.
    let mut state = (0x9e37_79b9_7f4a_7c15_u64 ^ seed).max(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
