//! The objects of a session by name.

use bytes::Bytes;

use super::state::{self, Segment, State, stale};
use super::{Store, chunks, not_found, read};
use crate::storage::error::Result;

/// Largest list of chunks: one of 10,000, each by another request.
const LARGEST_LIST: u64 = 256 * 1024;

/// The object that holds chunk `index` of the session at `session`, written by the request `nonce`.
pub(super) fn chunk(session: &str, nonce: u64, index: u32) -> String {
    format!("{session}/{nonce:016x}-{index}")
}

/// The object that holds what the request `nonce` had left when it was suspended.
pub(super) fn tail(session: &str, nonce: u64) -> String {
    format!("{session}/{nonce:016x}-tail")
}

/// The object in which the request `nonce` listed chunks.
pub(super) fn list(session: &str, nonce: u64) -> String {
    format!("{session}/{nonce:016x}-segments")
}

/// All runs of chunks of `state`, those also that an object names.
///
/// # Errors
/// `NotFound` when that object is gone.
pub(super) async fn all(store: &Store, session: &str, state: &State) -> Result<Vec<Segment>> {
    let Some(folded) = state.folded else { return Ok(state.segments.clone()) };
    let encoded = read::whole(&*store.service, &list(session, folded.nonce), LARGEST_LIST).await?;
    let mut segments = state::decode_segments(&encoded).unwrap_or_default();
    if segments.iter().map(|segment| u64::from(segment.chunks)).sum::<u64>() != u64::from(folded.chunks) {
        return Err(stale(session, "its list of chunks is not the one that was written"));
    }
    segments.extend(&state.segments);
    Ok(segments)
}

/// The content of an object that lists `segments`.
pub(super) fn listed(segments: &[Segment]) -> Bytes {
    let mut encoded = Vec::new();
    state::encode_segments(&mut encoded, segments);
    encoded.into()
}

/// The keys of the chunks that `segments` name, in order.
pub(super) fn chunk_keys(session: &str, segments: &[Segment]) -> Vec<String> {
    let nonces = segments.iter().flat_map(|segment| (0..segment.chunks).map(|_| segment.nonce));
    nonces.zip(0..).map(|(nonce, index)| chunk(session, nonce, index)).collect()
}

/// Everything that `state` names. Chunks whose list is gone are left for upload purging.
pub(super) async fn objects(store: &Store, session: &str, state: &State) -> Result<Vec<String>> {
    let segments = crate::storage::error::found(all(store, session, state).await)?.unwrap_or_default();
    let mut keys = chunk_keys(session, &segments);
    let tails = state.tail.map(|tail| tail.nonce).into_iter().chain(state.superseded.tail);
    keys.extend(tails.map(|nonce| tail(session, nonce)));
    let lists = state.folded.map(|folded| folded.nonce).into_iter().chain(state.superseded.folded);
    keys.extend(lists.map(|nonce| list(session, nonce)));
    Ok(keys)
}

/// Whether the last object that `state` names is still there: one request, or none for a session without bytes.
///
/// # Errors
/// `NotFound`; `StaleState` when it has another size.
pub(super) async fn still_there(store: &Store, session: &str, state: &State) -> Result<()> {
    let last = state.chunks().saturating_sub(1);
    let (key, bytes) = if let Some(tail) = state.tail {
        (self::tail(session, tail.nonce), Some(tail.bytes))
    } else if let Some(segment) = state.segments.last() {
        (chunk(session, segment.nonce, last), Some(chunks::size(last, state.part)))
    } else if let Some(folded) = state.folded {
        (list(session, folded.nonce), None)
    } else {
        return Ok(());
    };
    let found = store.size(&key).await?.ok_or_else(|| not_found(session))?;
    if bytes.is_some_and(|bytes| bytes != found) {
        return Err(stale(session, "a chunk has another size than was written"));
    }
    Ok(())
}
