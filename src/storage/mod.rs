//! Where bytes and links live: the layout, the stores over it, and the drivers below them.

mod config;

pub use config::{Config, Driver as DriverConfig, Filesystem as FilesystemConfig, Redirect};
