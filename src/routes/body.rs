//! The body of a request: given to the registry as a stream, read whole within a limit for a manifest, and drained when the
//! request is refused, so that a client that is still sending gets to read why.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http::Version;
use http::header::EXPECT;
use http::request::Parts;

use crate::registry;

use super::Error;

/// Most bytes of a refused request that are read and thrown away before it is answered.
const DRAINED_BYTES: usize = 64 * 1024 * 1024;

/// Longest time spent on that.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// A request body and how far it was read.
pub(super) struct RequestBody {
    stream: BodyDataStream,
    length: Option<u64>,
    unread: Unread,
}

/// What to do about bytes that nobody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// Read them: the client may not look for an answer before it has sent them.
    Drain,
    /// Leave them: the client waits for `100 Continue`, which the first poll would send.
    Awaited,
    /// Leave them: HTTP/2 can stop a client that is sending.
    Leave,
}

/// Whether the connection can take another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// The body was read to its end, or need not be.
    Complete,
    /// There is more of it than is worth reading: the connection must be closed.
    GivenUp,
}

impl RequestBody {
    pub(super) fn new(parts: &Parts, body: Body) -> Self {
        let unread = if parts.version == Version::HTTP_2 {
            Unread::Leave
        } else if parts.headers.contains_key(EXPECT) {
            Unread::Awaited
        } else {
            Unread::Drain
        };
        Self { length: body.size_hint().exact(), stream: body.into_data_stream(), unread }
    }

    /// Bytes in all, when the client said so beforehand.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The body as the registry takes it. Until this is polled, a client that sent `Expect: 100-continue` waits.
    pub(super) fn stream(&mut self) -> registry::Body<'_> {
        let unread = &mut self.unread;
        let stream = self.stream.by_ref().map_err(|error| registry::BodyError(error.to_string()));
        Box::pin(stream.inspect(move |_| {
            if *unread == Unread::Awaited {
                *unread = Unread::Drain;
            }
        }))
    }

    /// [`RequestBody::stream`] with the length that was announced.
    pub(super) fn announced(&mut self) -> registry::AnnouncedBody<'_> {
        let length = self.length;
        registry::AnnouncedBody { bytes: self.stream(), length }
    }

    /// The whole body.
    ///
    /// # Errors
    /// `ManifestTooLarge` as soon as more than `limit` bytes are announced or received.
    pub(super) async fn read(&mut self, limit: usize) -> Result<Bytes, Error> {
        self.read_up_to(limit, || Error::by_registry(registry::Error::ManifestTooLarge { limit })).await
    }

    /// The whole body, which is a form.
    ///
    /// # Errors
    /// `FormTooLarge` as soon as more than `limit` bytes are announced or received.
    pub(super) async fn read_form(&mut self, limit: usize) -> Result<Bytes, Error> {
        self.read_up_to(limit, || Error::FormTooLarge { limit }).await
    }

    async fn read_up_to(&mut self, limit: usize, too_large: impl Fn() -> Error) -> Result<Bytes, Error> {
        if self.length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
            return Err(too_large());
        }
        let interrupted =
            |error: registry::BodyError| Error::by_registry(registry::Error::BodyInterrupted(error.to_string()));
        let mut stream = self.stream();
        let Some(first) = stream.try_next().await.map_err(interrupted)? else { return Ok(Bytes::new()) };
        let Some(second) = stream.try_next().await.map_err(interrupted)? else {
            return if first.len() > limit { Err(too_large()) } else { Ok(first) };
        };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while whole.len() <= limit {
            match stream.try_next().await.map_err(interrupted)? {
                Some(chunk) => whole.extend_from_slice(&chunk),
                None => return Ok(whole.freeze()),
            }
        }
        Err(too_large())
    }

    /// Reads on and throws away, within bounds.
    pub(super) async fn drain(&mut self) -> Drained {
        if self.unread != Unread::Drain || self.stream.is_end_stream() {
            return Drained::Complete;
        }
        let mut left = DRAINED_BYTES;
        let reading = async {
            // An error means that nobody is left to be answered.
            while let Some(Ok(chunk)) = self.stream.next().await {
                left = left.checked_sub(chunk.len())?;
            }
            Some(())
        };
        match tokio::time::timeout(DRAIN_TIME, reading).await {
            Ok(Some(())) => Drained::Complete,
            Ok(None) | Err(_) => Drained::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(chunks: &[&'static str]) -> RequestBody {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))).collect();
        let (parts, ()) = http::Request::new(()).into_parts();
        RequestBody::new(&parts, Body::from_stream(futures_util::stream::iter(chunks)))
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_read_up_to_the_limit() {
        assert_eq!(chunked(&[]).read(3).await.unwrap(), "");
        assert_eq!(chunked(&["abc"]).read(3).await.unwrap(), "abc");
        assert_eq!(chunked(&["a", "b", "c"]).read(3).await.unwrap(), "abc");
        assert!(chunked(&["abcd"]).read(3).await.is_err());
        assert!(chunked(&["a", "b", "c", "d"]).read(3).await.is_err());
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_unread() {
        let (parts, ()) = http::Request::new(()).into_parts();
        let mut body = RequestBody::new(&parts, Body::from("abcd"));
        assert!(body.read(3).await.is_err());
        assert_eq!(body.drain().await, Drained::Complete);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_leave_is_not_asked_to_send() {
        let request = http::Request::builder().header(EXPECT, "100-continue").body(()).unwrap();
        let polled = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = polled.clone();
        let stream = futures_util::stream::once(async move {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        let mut body = RequestBody::new(&request.into_parts().0, Body::from_stream(stream));
        assert_eq!(body.drain().await, Drained::Complete);
        assert!(!polled.load(std::sync::atomic::Ordering::Relaxed));
    }
}
