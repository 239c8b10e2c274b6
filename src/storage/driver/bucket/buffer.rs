//! The bytes of one part, gathered until they can be sent.
//!
//! Everything is copied into blocks of our own: a piece as it comes from the network keeps all of the buffer alive that it
//! was read into, of which it may be a small part.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Payload;

/// Bytes of the first block; later ones are larger, so that a slow client holds little and a fast one few blocks.
const FIRST_BLOCK: u64 = 16 * 1024;
const LARGEST_BLOCK: u64 = 256 * 1024;

/// Bytes on their way into a part.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    full: Vec<Bytes>,
    filling: BytesMut,
    length: u64,
}

impl Buffer {
    /// Bytes gathered.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes as much of `bytes` as makes `size` bytes in all, and returns the rest.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8], size: u64) -> &'a [u8] {
        let room = usize::try_from(size.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let (mut taken, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        while !taken.is_empty() {
            let room = self.filling.capacity() - self.filling.len();
            let (now, later) = taken.split_at_checked(room).unwrap_or((taken, &[]));
            self.filling.extend_from_slice(now);
            self.length += now.len() as u64;
            taken = later;
            if !taken.is_empty() {
                self.next_block(size);
            }
        }
        rest
    }

    /// All bytes, leaving none.
    pub(super) fn take(&mut self) -> Payload {
        let mut buffer = std::mem::take(self);
        buffer.close_block(BytesMut::new());
        Payload::from(buffer.full)
    }

    /// A copy of the bytes in `range`, counted from the beginning of the buffer; fewer if it holds fewer.
    pub(super) fn copy(&self, range: Range<u64>) -> Vec<u8> {
        let mut copied = Vec::new();
        let mut start = 0;
        for block in self.full.iter().map(|block| &**block).chain([&*self.filling]) {
            let end = start + block.len() as u64;
            let within = |offset: u64| usize::try_from(offset.clamp(start, end) - start).unwrap_or(block.len());
            copied.extend_from_slice(block.get(within(range.start)..within(range.end)).unwrap_or_default());
            start = end;
        }
        copied
    }

    fn next_block(&mut self, size: u64) {
        let grown = self.length.next_power_of_two().clamp(FIRST_BLOCK, LARGEST_BLOCK);
        let capacity = grown.min(size.saturating_sub(self.length)).max(1);
        self.close_block(BytesMut::with_capacity(usize::try_from(capacity).unwrap_or_default()));
    }

    fn close_block(&mut self, next: BytesMut) {
        let block = std::mem::replace(&mut self.filling, next);
        if !block.is_empty() {
            self.full.push(block.freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        let content: Vec<u8> = (0..700_000_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
        for piece in [1000, 16_384, 700_000] {
            let mut buffer = Buffer::default();
            for bytes in content.chunks(piece) {
                assert!(buffer.fill(bytes, 1 << 20).is_empty());
            }
            assert_eq!(buffer.copy(16_380..16_390), content[16_380..16_390]);
            assert_eq!(buffer.copy(699_999..800_000), content[699_999..]);
            assert_eq!(buffer.copy(800_000..900_000), [0; 0]);
            let payload = buffer.take();
            assert!(payload.pieces().concat() == content);
            assert_eq!((payload.length(), buffer.length()), (700_000, 0));
        }
    }

    #[test]
    fn takes_no_more_than_fits() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.fill(b"abcdef", 4), b"ef");
        assert_eq!(buffer.fill(b"ef", 4), b"ef");
        assert_eq!(buffer.take().pieces().concat(), b"abcd");
    }

    #[test]
    fn a_little_holds_a_little() {
        let mut buffer = Buffer::default();
        for _ in 0..1000 {
            buffer.fill(b"x", 1 << 22);
        }
        assert!(buffer.filling.capacity() <= 16 * 1024);
        assert!(buffer.full.is_empty());
    }
}
