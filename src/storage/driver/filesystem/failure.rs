//! Turns what the kernel answers into the few kinds of error that callers decide by.

use rustix::io::Errno;

use crate::storage::error::{Error, Retry};

/// The error for `operation` on `path` having failed with `errno`.
pub(super) fn failure(operation: &'static str, path: &str, errno: Errno) -> Error {
    let path = path.to_owned();
    match errno {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound { path },
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Error::NoSpace { path },
        Errno::EXIST => Error::AlreadyExists { path },
        _ => Error::Backend { operation, path, retry: retry(errno), source: std::io::Error::from(errno).into() },
    }
}

/// The error for `operation` on `path` having failed for the reason `explanation`, which stays until somebody acts.
pub(super) fn refusal(operation: &'static str, path: &str, explanation: String) -> Error {
    Error::Backend { operation, path: path.to_owned(), retry: Retry::Pointless, source: explanation.into() }
}

/// Whether `errno` is likely to pass by itself.
fn retry(errno: Errno) -> Retry {
    match errno {
        Errno::MFILE
        | Errno::NFILE
        | Errno::AGAIN
        | Errno::INTR
        | Errno::NOMEM
        | Errno::BUSY
        | Errno::STALE
        | Errno::TIMEDOUT => Retry::Later,
        _ => Retry::Pointless,
    }
}
