//! The state that drivers with nothing more to remember lay a staged write down in: how many bytes are safe.

use super::StoragePath;
use crate::storage::error::{Error, Result};

/// First byte of a state, so that a later version can tell the states of this one.
const VERSION: u8 = 1;

/// The state of a staged write of which `length` bytes are durable.
pub(super) fn encode(length: u64) -> Vec<u8> {
    let mut state = vec![VERSION];
    state.extend(length.to_be_bytes());
    state
}

/// How many bytes of the staged write at `path` were durable when `state` was issued; an empty state promises none.
///
/// # Errors
/// `StaleState` for what no driver of ours issued.
pub(super) fn decode(path: &StoragePath, state: &[u8]) -> Result<u64> {
    let length = match state.split_first() {
        None => Some(0),
        Some((&VERSION, length)) => length.try_into().ok().map(u64::from_be_bytes),
        Some(_) => None,
    };
    length.ok_or_else(|| stale(path, "the state is not one of this driver".to_owned()))
}

/// Whether a staged write of `found` bytes can be one that had `promised` when it was suspended: more bytes are what a
/// request wrote that did not end well, fewer are a loss.
///
/// # Errors
/// `StaleState` for a loss.
pub(super) fn check(path: &StoragePath, promised: u64, found: u64) -> Result<()> {
    if found < promised {
        return Err(stale(path, format!("it holds {found} bytes of the {promised} that were written")));
    }
    Ok(())
}

/// The error for a staged write that cannot be used as asked.
pub(super) fn stale(path: &StoragePath, reason: String) -> Error {
    Error::StaleState { path: path.to_string(), reason }
}
