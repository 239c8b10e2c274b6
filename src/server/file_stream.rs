//! A file as the frames of a response body: stretches for a socket that sends files itself, else bytes in memory.
//!
//! A worker thread must not wait for a disk: only what the page cache holds is sent or read in place, and the rest is read
//! on the blocking threads, one piece ahead.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::wire_buf::{FileBuf, Offers, STRETCH, Stretch, WireBuf, read_stretch};
use crate::routes::FileBody;

/// Bytes read into memory at once.
const READ: usize = 256 * 1024;

/// How far ahead of a read from disk the system is asked to load, in bytes.
const AHEAD: u64 = 4 * 1024 * 1024;

/// How the connection moves a file.
#[derive(Debug, Clone)]
pub(super) enum Transfer {
    /// The socket sends stretches itself.
    Stretches(Offers),
    /// The bytes are wanted in memory (TLS, HTTP/2).
    Memory,
}

/// The rest of a file body.
#[derive(Debug)]
pub(super) struct FileStream {
    body: FileBody,
    transfer: Transfer,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileStream {
    pub(super) fn new(body: FileBody, transfer: Transfer) -> Self {
        Self { body, transfer, reading: None }
    }

    /// Bytes not yet handed over.
    pub(super) fn remaining(&self) -> u64 {
        self.body.length
    }

    /// The next frame, or `None` after the last. A file that ends early is an error.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<WireBuf>>> {
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            return Poll::Ready(Some(self.take_read(read.map_err(io::Error::other).flatten())));
        }
        if self.body.length == 0 {
            return Poll::Ready(None);
        }
        match &self.transfer {
            Transfer::Stretches(offers) => {
                let length = self.next_length(STRETCH);
                if self.is_resident(length) {
                    let piece = FileBuf::new(self.stretch(), length, offers.clone());
                    self.advance(length);
                    return Poll::Ready(Some(Ok(WireBuf::File(piece))));
                }
            }
            Transfer::Memory => {
                let length = self.next_length(READ);
                if self.is_resident(length) {
                    let read = read_stretch(&self.stretch(), length);
                    return Poll::Ready(Some(self.take_read(read)));
                }
            }
        }
        self.read_from_disk();
        self.poll_next(cx)
    }

    fn take_read(&mut self, read: io::Result<Bytes>) -> io::Result<WireBuf> {
        let bytes = read?;
        self.advance(bytes.len());
        if let Transfer::Memory = self.transfer
            && self.body.length > 0
            && !self.is_resident(self.next_length(READ))
        {
            self.read_from_disk();
        }
        Ok(WireBuf::Bytes(bytes))
    }

    fn stretch(&self) -> Stretch {
        Stretch { file: Arc::clone(&self.body.file), offset: self.body.offset }
    }

    fn next_length(&self, most: usize) -> usize {
        usize::try_from(self.body.length).map_or(most, |length| length.min(most))
    }

    fn advance(&mut self, count: usize) {
        self.body.offset += count as u64;
        self.body.length = self.body.length.saturating_sub(count as u64);
    }

    fn read_from_disk(&mut self) {
        let (stretch, length) = (self.stretch(), self.next_length(READ));
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let ahead = stretch.offset + length as u64;
            // Advice that is not taken costs time, not correctness.
            let _ = rustix::fs::fadvise(&*stretch.file, ahead, NonZeroU64::new(AHEAD), Advice::WillNeed);
            read_stretch(&stretch, length)
        }));
    }

    /// Whether the next `length` bytes seem to be in the page cache, judged by the last one and, in a long stretch, the
    /// first one. A wrong guess makes one worker wait for a page.
    fn is_resident(&self, length: usize) -> bool {
        let last = self.body.offset + (length as u64).saturating_sub(1);
        self.byte_is_resident(last) && (length <= READ / 2 || self.byte_is_resident(self.body.offset))
    }

    fn byte_is_resident(&self, at: u64) -> bool {
        let mut byte = [0];
        // Filesystems that cannot answer (`EOPNOTSUPP`) and files that end early are left to the blocking read.
        let read = rustix::io::preadv2(&*self.body.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
        read == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Buf;

    use super::*;

    async fn collect(content: &[u8], offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content).expect("written");
        let mut stream = FileStream::new(FileBody { file: Arc::new(file), offset, length }, Transfer::Memory);
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| stream.poll_next(cx)).await {
            let mut frame = frame?;
            all.extend_from_slice(&frame.copy_to_bytes(frame.remaining()));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn memory_frames_add_up_to_the_stretch() {
        let content: Vec<u8> = (0..=250).cycle().take(3 * READ + 17).collect();
        for (offset, length) in [(0, content.len()), (5, READ), (READ - 1, READ + 2), (9, 0), (content.len(), 0)] {
            let all = collect(&content, offset as u64, length as u64).await.expect("read");
            assert_eq!(all, content[offset..offset + length], "{offset} {length}");
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error() {
        let error = collect(b"short", 0, 6).await.expect_err("the sixth byte is missing");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
