//! Frees what nothing needs any more. Uses storage, registry and oci, never routes.

mod config;
mod error;
mod purge;

pub use config::*;
pub use error::Error;
pub use purge::{PurgeReport, UploadPurger};
