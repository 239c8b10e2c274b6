//! OSS.

use std::sync::Arc;

use super::Driver;
use crate::storage::error::{Error, Result, Retry};

/// `storage.oss`.
#[derive(Debug, Clone, Default)]
pub struct Config {}

/// Connects to the bucket.
pub(super) async fn open(_config: &Config) -> Result<Arc<dyn Driver>> {
    Err(Error::Backend { operation: "open", path: String::new(), retry: Retry::Pointless, source: "not yet".into() })
}
