//! What keeps this room from beginning its work.

use std::path::PathBuf;

/// Why a way of proving who one is cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that the configuration names cannot be read, or made.
    #[error("{key}: {}: {source}; check the path and its permissions", path.display())]
    File {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file's content makes no sense.
    #[error("{key}: {}: {problem}", path.display())]
    Content {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Tokens are to be verified and there is no key to do it with.
    #[error(
        "auth.token: no usable key in auth.token.rootcertbundle and auth.token.jwks; name a file with at least one"
    )]
    NoKeys,
}
