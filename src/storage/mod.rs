//! Where bytes and links live: the layout, the stores over it, and the drivers below them.

mod config;
pub mod driver;
mod error;
mod layout;

pub use config::{Config, Driver as DriverConfig, Filesystem as FilesystemConfig, Redirect};
pub use error::{Error, Result, Retry, found};
pub use layout::StoragePath;
