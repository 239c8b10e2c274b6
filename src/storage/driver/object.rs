//! An object that was opened: where its bytes come from, for a caller that sends them on. Knows no path.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::storage::error::Result;

/// An object opened for reading.
#[derive(Debug)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Where its bytes come from.
    pub content: Content,
}

/// Where the bytes of an [`Object`] come from.
#[derive(Clone)]
pub enum Content {
    /// A local file, so that the sender may leave the copying to the kernel.
    File(Arc<File>),
    /// All of it, in memory.
    Memory(Bytes),
    /// A remote object read by ranges.
    Remote(Arc<dyn ReadRange>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Memory(_) => "Memory",
            Self::Remote(_) => "Remote",
        })
    }
}

/// A remote object of which ranges can be read.
pub trait ReadRange: Send + Sync {
    /// The bytes in `range`; dropping the stream stops the transfer.
    fn read_range(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>>;
}

/// What is read first of an object that is opened, so that a bucket need not be asked twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// All of it, from its beginning.
    Whole,
    /// Parts of it, or nothing but its size.
    Parts,
}
