//! What holds for the filesystem driver beyond the contract of all drivers.

use std::path::Path;

use super::{Access, Filesystem};
use crate::storage::config::Filesystem as Config;

fn open(root: &Path) -> Filesystem {
    let config = Config { root_directory: root.to_owned(), max_threads: 8 };
    Filesystem::open(&config, Access::ReadWrite).unwrap()
}

mod contract {
    use std::sync::Arc;

    use crate::storage::driver::{Driver, contract::contract_tests};

    contract_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open(root.path()));
        (driver, root)
    });
}
