//! The contract of drivers on a bucket in memory.

use std::sync::Arc;

use super::Bucket;
use super::fake::Fake;
use crate::storage::driver::{Driver, contract::contract_tests};

contract_tests!({
    let driver: Arc<dyn Driver> = Arc::new(Bucket::new(Arc::new(Fake::new(64 * 1024)), "/some/root/"));
    (driver, ())
});
