//! The body of a request to S3, made of the shared pieces of a [`Payload`] without copying them.
//!
//! Its length is known before the first byte, so it is never sent in chunks, and it can be made again for a repetition.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::storage::driver::bucket::Payload;

/// A body that sends `payload`, as often as wanted.
pub(super) fn body(payload: &Payload) -> ByteStream {
    if payload.length() == 0 {
        return ByteStream::new(SdkBody::empty());
    }
    let (pieces, length) = (Arc::clone(payload.pieces()), payload.length());
    ByteStream::new(SdkBody::retryable(move || {
        SdkBody::from_body_1_x(Sending { pieces: Arc::clone(&pieces), next: 0, left: length })
    }))
}

struct Sending {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_knows_its_length_and_can_be_sent_again() {
        let pieces = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let body = body(&Payload::from(pieces)).into_inner();
        assert_eq!(body.content_length(), Some(6));
        let again = body.try_clone().expect("it is made of shared pieces");
        for body in [body, again] {
            let content = ByteStream::new(body).collect().await.unwrap().into_bytes();
            assert_eq!(content, "onetwo");
        }
    }

    #[test]
    fn an_empty_body_is_empty() {
        assert_eq!(body(&Payload::default()).into_inner().content_length(), Some(0));
    }
}
