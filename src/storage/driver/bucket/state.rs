//! The few bytes that say where the bytes of a suspended session lie.
//!
//! A session is a row of chunk objects, all of one size (see [`super::chunks`]), and at most one shorter one at its end. Names are
//! made of a random number of the request that wrote the object, so that no request overwrites what a state names.

use super::chunks;
use crate::storage::error::{Error, Result};

/// First byte of a state, so that a later version can tell the states of this one.
const VERSION: u8 = 2;

/// Most runs of chunks that a state names itself; more go into an object.
pub(super) const MOST_SEGMENTS: usize = 24;

/// Where the bytes of a session lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Configured size of a part when the session began, bytes.
    pub(super) part: u64,
    /// The first chunks, if an object says which they are.
    pub(super) folded: Option<Segment>,
    /// The chunks after them.
    pub(super) segments: Vec<Segment>,
    /// The bytes after the last chunk.
    pub(super) tail: Option<Tail>,
    /// Requests whose tail, or list of chunks, this state does without while the state before it needs it.
    pub(super) superseded: Superseded,
}

/// A run of chunks written by one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The request.
    pub(super) nonce: u64,
    /// How many chunks.
    pub(super) chunks: u32,
}

/// A chunk that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// The request that wrote it.
    pub(super) nonce: u64,
    /// How many.
    pub(super) bytes: u64,
}

/// What the last request replaced. It is removed when a state after it is used, because only then the client has one that
/// does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Superseded {
    /// The tail of this request.
    pub(super) tail: Option<u64>,
    /// The list of chunks of this request.
    pub(super) folded: Option<u64>,
}

impl State {
    /// A session without bytes.
    pub(super) fn new(part: u64) -> Self {
        let part = part.max(1);
        Self { part, folded: None, segments: Vec::new(), tail: None, superseded: Superseded::default() }
    }

    /// How many chunks are full.
    pub(super) fn chunks(&self) -> u32 {
        self.folded.iter().chain(&self.segments).fold(0, |sum: u32, segment| sum.saturating_add(segment.chunks))
    }

    /// Bytes in all.
    pub(super) fn length(&self) -> u64 {
        chunks::length(self.chunks(), self.part).saturating_add(self.tail.map_or(0, |tail| tail.bytes))
    }

    /// The state as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut state = vec![VERSION];
        state.extend(self.part.to_be_bytes());
        encode_segments(&mut state, self.folded.as_slice());
        encode_segments(&mut state, &self.segments);
        state.push(u8::from(self.tail.is_some()));
        state.extend(self.tail.into_iter().flat_map(|tail| [tail.nonce, tail.bytes]).flat_map(u64::to_be_bytes));
        for nonce in [self.superseded.tail, self.superseded.folded] {
            state.push(u8::from(nonce.is_some()));
            state.extend(nonce.into_iter().flat_map(u64::to_be_bytes));
        }
        state
    }

    /// The state of the session at `key` that `state` is.
    ///
    /// # Errors
    /// `NotFound` for an empty one, which names nothing; `StaleState` for what was not issued by [`State::encode`].
    pub(super) fn decode(key: &str, state: &[u8]) -> Result<Self> {
        if state.is_empty() {
            return Err(super::not_found(key));
        }
        let mut rest = Rest(state);
        let decoded = rest.state().filter(|state| rest.0.is_empty() && state.is_sound());
        decoded.ok_or_else(|| stale(key, "the state is not one of this driver"))
    }

    fn is_sound(&self) -> bool {
        let chunks = self.chunks();
        let tail_fits = |tail: Tail| tail.bytes > 0 && tail.bytes < chunks::size(chunks, self.part);
        let named = self.folded.iter().chain(&self.segments).all(|segment| segment.chunks > 0);
        self.part > 0 && named && chunks::possible(chunks) && self.tail.is_none_or(tail_fits)
    }
}

/// The error for a session that does not fit its state.
pub(super) fn stale(key: &str, reason: &str) -> Error {
    Error::StaleState { path: key.to_owned(), reason: reason.to_owned() }
}

/// Runs of chunks as bytes: how many, and each.
pub(super) fn encode_segments(encoded: &mut Vec<u8>, segments: &[Segment]) {
    let count = u16::try_from(segments.len()).unwrap_or(u16::MAX);
    encoded.extend(count.to_be_bytes());
    for segment in segments.iter().take(usize::from(count)) {
        encoded.extend(segment.nonce.to_be_bytes());
        encoded.extend(segment.chunks.to_be_bytes());
    }
}

/// What [`encode_segments`] made `encoded` of; `None` for anything else.
pub(super) fn decode_segments(encoded: &[u8]) -> Option<Vec<Segment>> {
    let mut rest = Rest(encoded);
    rest.segments().filter(|_| rest.0.is_empty())
}

/// What is left to decode.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// What follows a byte that says whether it does.
    #[expect(clippy::option_option, reason = "the outer one says whether it can be decoded, as everywhere here")]
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }

    fn segments(&mut self) -> Option<Vec<Segment>> {
        let count = u16::from_be_bytes(self.take()?);
        (0..count)
            .map(|_| Some(Segment { nonce: self.number()?, chunks: self.take().map(u32::from_be_bytes)? }))
            .collect()
    }

    fn state(&mut self) -> Option<State> {
        let [VERSION] = self.take()? else { return None };
        let part = self.number()?;
        let folded = match self.segments()?.as_slice() {
            [] => None,
            [folded] => Some(*folded),
            _ => return None,
        };
        let segments = self.segments()?;
        let tail = self.optional(|rest| Some(Tail { nonce: rest.number()?, bytes: rest.number()? }))?;
        let superseded = Superseded { tail: self.optional(Self::number)?, folded: self.optional(Self::number)? };
        Some(State { part, folded, segments, tail, superseded })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment() -> impl Strategy<Value = Segment> {
        (any::<u64>(), 1_u32..100).prop_map(|(nonce, chunks)| Segment { nonce, chunks })
    }

    prop_compose! {
        fn any_state()(
            part in 1000_u64..1 << 40,
            folded in prop::option::of(segment()),
            segments in prop::collection::vec(segment(), 0..MOST_SEGMENTS),
            tail in prop::option::of((any::<u64>(), 1_u64..1000)),
            old in prop::option::of(any::<u64>()),
            older in prop::option::of(any::<u64>()),
        ) -> State {
            let tail = tail.map(|(nonce, bytes)| Tail { nonce, bytes });
            State { part, folded, segments, tail, superseded: Superseded { tail: old, folded: older } }
        }
    }

    proptest! {
        #[test]
        fn states_survive_and_others_are_refused(state in any_state(), cut in any::<prop::sample::Index>()) {
            let encoded = state.encode();
            prop_assert!(encoded.len() < 512);
            let decoded = State::decode("k", &encoded).unwrap();
            prop_assert_eq!(decoded, state);
            let shorter = &encoded[..cut.index(encoded.len())];
            prop_assert!(State::decode("k", shorter).is_err());
            prop_assert!(State::decode("k", &[&encoded[..], b"\0"].concat()).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_fail_otherwise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = State::decode("k", &bytes) {
                let expected = matches!(error, Error::StaleState { .. } | Error::NotFound { .. });
                prop_assert!(expected);
            }
        }
    }
}
