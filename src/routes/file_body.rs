//! A response body that is a stretch of a local file, left to the server to move in the cheapest way the connection allows.
//!
//! A handler that answers with a file puts a [`FileBody`] into the extensions of a response whose own body is empty, and
//! sets `Content-Length` to its length. What becomes of it (sendfile, or reads into memory under TLS) is not known here.

use std::fs::File;
use std::sync::Arc;

/// A stretch of an open file that stands in for the body of a response.
///
/// The file must not shrink while it is sent: a connection whose file ends early is aborted, so that the client sees a
/// short body and never wrong bytes. `length` must equal the response's `Content-Length`. A response to HEAD may carry
/// one too; nothing is read for it.
#[derive(Debug, Clone)]
pub struct FileBody {
    /// The file, opened for reading. Its cursor is neither used nor moved.
    pub file: Arc<File>,
    /// First byte to send.
    pub offset: u64,
    /// Number of bytes to send.
    pub length: u64,
}
