//! The bytes of a request to a bucket, in pieces that are shared by every attempt to send them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a request, in pieces, that can be sent again.
#[derive(Debug, Clone, Default)]
pub(in crate::storage::driver) struct Payload {
    pieces: Arc<[Bytes]>,
    length: u64,
}

impl Payload {
    /// Bytes.
    pub(in crate::storage::driver) fn length(&self) -> u64 {
        self.length
    }

    /// A body that sends the pieces without copying them; one for each time that it is sent.
    pub(in crate::storage::driver) fn sending(&self) -> Sending {
        Sending { pieces: Arc::clone(&self.pieces), next: 0, left: self.length }
    }

    /// The pieces in order.
    pub(in crate::storage::driver) fn pieces(&self) -> &Arc<[Bytes]> {
        &self.pieces
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self { length: pieces.iter().map(|piece| piece.len() as u64).sum(), pieces: pieces.into() }
    }
}

impl From<Bytes> for Payload {
    fn from(content: Bytes) -> Self {
        Self::from(vec![content])
    }
}

/// A [`Payload`] on its way. Its length is known before the first byte, so it is never sent in chunks.
#[derive(Debug)]
pub(in crate::storage::driver) struct Sending {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

impl Body for Sending {
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
