//! Several ranges in one answer: `multipart/byteranges`, RFC 9110 §14.6, with its length known beforehand.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use crate::oci::ByteRange;
use crate::registry::Content;

/// Bytes of a file read at once.
const PIECE: u64 = 256 * 1024;

/// The parts of an answer, headed and bounded.
#[derive(Debug)]
pub(super) struct Multipart {
    boundary: String,
    parts: Vec<(Bytes, ByteRange)>,
    end: Bytes,
}

impl Multipart {
    /// One part for each of `ranges` of a blob of `size` bytes, in their order.
    pub(super) fn new(ranges: &[ByteRange], size: u64) -> Self {
        // A random boundary cannot be planned into a blob.
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let parts = ranges.iter().enumerate().map(|(index, range)| {
            let break_before = if index == 0 { "" } else { "\r\n" };
            let head = format!(
                "{break_before}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
                range.start, range.end
            );
            (Bytes::from(head), *range)
        });
        Self { parts: parts.collect(), end: format!("\r\n--{boundary}--\r\n").into(), boundary }
    }

    /// For `Content-Type`.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Bytes in all.
    pub(super) fn length(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|(head, range)| head.len() as u64 + range.length()).sum();
        parts + self.end.len() as u64
    }

    /// The body, read from `content` while it is sent.
    pub(super) fn body(self, content: &Content) -> Body {
        let content = content.clone();
        let parts = stream::iter(self.parts)
            .flat_map(move |(head, range)| stream::once(async { Ok(head) }).chain(stretch(&content, range)));
        Body::from_stream(parts.chain(stream::once(async { Ok(self.end) })))
    }
}

/// The bytes of `content` in `range`. Dropping the stream stops the reading.
pub(super) fn stretch(content: &Content, range: ByteRange) -> BoxStream<'static, io::Result<Bytes>> {
    match content {
        Content::File(file) => file_stretch(Arc::clone(file), range),
        Content::Memory(bytes) => {
            let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let piece = bounds.filter(|(_, end)| *end < bytes.len()).map(|(start, end)| bytes.slice(start..=end));
            stream::once(async { piece.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()) }).boxed()
        }
        Content::Remote(object) => object.read_range(range.start..range.end + 1).map_err(io::Error::other).boxed(),
    }
}

fn file_stretch(file: Arc<File>, range: ByteRange) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold((file, range.start), move |(file, start)| async move {
        if start > range.end {
            return Ok(None);
        }
        let length = PIECE.min(range.end - start + 1);
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut piece, start)?;
            Ok::<_, io::Error>((Bytes::from(piece), file))
        });
        let (piece, file) = reading.await.map_err(io::Error::other)??;
        Ok(Some((piece, (file, start + length))))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    async fn body_of(content: &Content, ranges: &[ByteRange], size: u64) -> (String, u64) {
        let parts = Multipart::new(ranges, size);
        let (length, boundary) = (parts.length(), parts.boundary.clone());
        let body = axum::body::to_bytes(parts.body(content), usize::MAX).await.unwrap();
        assert_eq!(body.len() as u64, length);
        (String::from_utf8(body.to_vec()).unwrap().replace(&boundary, "B"), length)
    }

    #[tokio::test]
    async fn parts_are_headed_and_bounded_wherever_the_bytes_lie() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let ranges = [ByteRange { start: 8, end: 9 }, ByteRange { start: 0, end: 0 }];
        let expected = "--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
                        \r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-0/10\r\n\r\n0\
                        \r\n--B--\r\n";
        for content in [Content::File(Arc::new(file)), Content::Memory(Bytes::from_static(b"0123456789"))] {
            assert_eq!(body_of(&content, &ranges, 10).await.0, expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error_and_never_zeros() {
        let file = Content::File(Arc::new(tempfile::tempfile().unwrap()));
        let result: io::Result<Vec<Bytes>> = stretch(&file, ByteRange { start: 0, end: 9 }).try_collect().await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
