//! A piece of a response on its way to the socket: bytes in memory, or a stretch of a file that need not pass through it.
//!
//! hyper asks a piece for slices of memory. A stretch of a file shows a slice of a placeholder that nobody reads, and says
//! in [`Offers`] which stretch it stands for; the socket recognises the placeholder by its address and sends the file.

use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, Bytes};

/// Longest stretch handed over at once, in bytes.
pub(super) const STRETCH: usize = 1024 * 1024;

/// Stretches that can be on offer at once, which is more than hyper queues.
const OFFERS: usize = 64;

/// Bytes that are never read: zeroed pages the system has not even given us.
static PLACEHOLDER: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; STRETCH + OFFERS]);

/// A stretch of a file on offer to the socket.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
}

/// The stretches that one connection's pieces offer to its socket, in the moment between hyper's asking for slices and its
/// writing them. Clones share the list.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    stretches: Vec<Stretch>,
    broken: bool,
}

impl Offers {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a stretch and returns the slice that stands for it: its address says which offer it is.
    fn offer(&self, stretch: Stretch, length: usize) -> Option<&'static [u8]> {
        let mut list = self.lock();
        let number = list.stretches.len();
        if number >= OFFERS {
            return None;
        }
        list.stretches.push(stretch);
        PLACEHOLDER.get(number..number + length.min(STRETCH))
    }

    /// Which offer `slice` stands for, or `None` for ordinary memory.
    pub(super) fn number(slice: &[u8]) -> Option<usize> {
        let Range { start, end } = PLACEHOLDER.as_ptr_range();
        let at = slice.as_ptr();
        (start <= at && at < end).then(|| at.addr() - start.addr())
    }

    /// The stretch on offer under `number`.
    pub(super) fn get(&self, number: usize) -> Option<Stretch> {
        self.lock().stretches.get(number).cloned()
    }

    /// Withdraws all offers; they are made anew with each attempt to write.
    pub(super) fn withdraw(&self) {
        self.lock().stretches.clear();
    }

    /// Whether a piece could not be read, so that the connection must not send another byte.
    pub(super) fn is_broken(&self) -> bool {
        self.lock().broken
    }
}

/// A piece of a response.
#[derive(Debug)]
pub(super) enum WireBuf {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A stretch of a file.
    File(FileBuf),
}

/// A stretch of a file as a buffer, not longer than [`STRETCH`].
#[derive(Debug)]
pub(super) struct FileBuf {
    stretch: Stretch,
    length: usize,
    offers: Offers,
    read: OnceLock<Bytes>,
}

impl FileBuf {
    /// `length` bytes of a file, to be sent by the socket that shares `offers`.
    pub(super) fn new(stretch: Stretch, length: usize, offers: Offers) -> Self {
        Self { stretch, length, offers, read: OnceLock::new() }
    }

    /// The bytes themselves, for a caller that does not send by stretches. Slow, but never wrong: when the file cannot be
    /// read the connection is marked as broken, since a buffer has no other way to fail.
    fn bytes(&self) -> &[u8] {
        self.read.get_or_init(|| {
            read_stretch(&self.stretch, self.length).unwrap_or_else(|_| {
                self.offers.lock().broken = true;
                Bytes::new()
            })
        })
    }
}

/// Reads a whole stretch into memory; blocks. A file that ends early is an error.
pub(super) fn read_stretch(stretch: &Stretch, length: usize) -> std::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = stretch.offset + bytes.len() as u64;
        match rustix::io::pread(&*stretch.file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    bytes.truncate(length);
    Ok(bytes.into())
}

impl Buf for WireBuf {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::File(file) => file.length,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::File(file) => file.bytes(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::File(file) => {
                assert!(count <= file.length, "advanced beyond the end of a stretch");
                file.length -= count;
                file.stretch.offset += count as u64;
                if let Some(read) = file.read.get_mut() {
                    read.advance(count.min(read.len()));
                }
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, target: &mut [IoSlice<'a>]) -> usize {
        let Some(first) = target.first_mut() else { return 0 };
        let slice = match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::File(file) if file.length == 0 => return 0,
            Self::File(file) => file.offers.offer(file.stretch.clone(), file.length).unwrap_or_else(|| file.bytes()),
        };
        *first = IoSlice::new(slice);
        usize::from(!slice.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content).expect("written");
        Arc::new(file)
    }

    #[test]
    fn a_flattened_stretch_is_the_files_bytes() {
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let stretch = Stretch { file: file(&content), offset: 10 };
        let mut buf = WireBuf::File(FileBuf::new(stretch, 90_000, Offers::default()));
        buf.advance(7);
        assert_eq!(buf.copy_to_bytes(1_000), content[17..1_017]);
        assert_eq!(buf.copy_to_bytes(88_993), content[1_017..90_010]);
        assert!(!buf.has_remaining());
    }

    #[test]
    fn an_offer_is_found_by_the_address_of_its_slice() {
        let offers = Offers::default();
        let file = file(b"0123456789");
        let pieces: Vec<WireBuf> = (0..3)
            .map(|n| Stretch { file: Arc::clone(&file), offset: n })
            .map(|stretch| WireBuf::File(FileBuf::new(stretch, 5, offers.clone())))
            .collect();
        for (n, piece) in pieces.iter().enumerate() {
            let mut slices = [IoSlice::new(&[])];
            assert_eq!(piece.chunks_vectored(&mut slices), 1);
            assert_eq!(slices[0].len(), 5);
            let number = Offers::number(&slices[0]).expect("a placeholder");
            assert_eq!(offers.get(number).expect("on offer").offset, n as u64);
        }
        assert_eq!(Offers::number(b"ordinary"), None);
        offers.withdraw();
        assert!(offers.get(0).is_none());
    }

    #[test]
    fn a_file_that_ends_early_breaks_the_connection() {
        let offers = Offers::default();
        let buf = WireBuf::File(FileBuf::new(Stretch { file: file(b"short"), offset: 0 }, 6, offers.clone()));
        assert!(buf.chunk().is_empty());
        assert!(offers.is_broken());
    }
}
