//! A driver over a bucket: directories as common prefixes, staged writes as chunk objects and multipart uploads.

mod service;

pub(in crate::storage::driver) use service::*;

use std::sync::Arc;

/// A bucket as a driver.
#[derive(Debug)]
pub(in crate::storage::driver) struct Bucket {
    service: Arc<dyn Service>,
    root: String,
}

impl Bucket {
    /// The driver over `service` with everything below `root_directory`.
    pub(in crate::storage::driver) fn new(service: Arc<dyn Service>, root_directory: &str) -> Self {
        Self { service, root: root_directory.trim_matches('/').to_owned() }
    }
}
