//! The body of a request to OSS, made of the shared pieces of a [`Payload`] without copying them, and its checksum.
//!
//! Its length is known before the first byte, so it is never sent in chunks, and it can be made again for a repetition.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use http_body::{Body, Frame, SizeHint};

use crate::storage::driver::bucket::Payload;

/// A body that sends `payload`.
pub(super) fn body(payload: &Payload) -> reqwest::Body {
    if payload.length() == 0 {
        return reqwest::Body::default();
    }
    reqwest::Body::wrap(Pieces { pieces: Arc::clone(payload.pieces()), next: 0, left: payload.length() })
}

/// The checksum that OSS tells of what it received: CRC-64/XZ.
pub(super) fn crc64(payload: &Payload) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Xz);
    payload.pieces().iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}

struct Pieces {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let Some(piece) = self.pieces.get(self.next).cloned() else { return Poll::Ready(None) };
            self.next += 1;
            if !piece.is_empty() {
                self.left = self.left.saturating_sub(piece.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_documentation_however_the_pieces_lie() {
        let pieces = ["1234", "", "56789"].map(|piece| Bytes::from_static(piece.as_bytes()));
        assert_eq!(crc64(&Payload::from(pieces.to_vec())), 11_051_210_869_376_104_954);
        assert_eq!(crc64(&Payload::default()), 0);
    }

    #[test]
    fn the_length_is_known_before_the_first_byte() {
        let payload = Payload::from(Bytes::from_static(b"abc"));
        assert_eq!(body(&payload).size_hint().exact(), Some(3));
        assert_eq!(body(&Payload::default()).size_hint().exact(), Some(0));
    }
}
