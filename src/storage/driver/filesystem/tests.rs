//! What holds for the filesystem driver beyond the contract of all drivers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::listings::Listings;
use super::{Access, Filesystem};
use crate::storage::config::Filesystem as Config;

pub(super) fn open(root: &Path) -> Filesystem {
    let config = Config { root_directory: root.to_owned(), max_threads: 8 };
    Filesystem::open(&config, Access::ReadWrite).unwrap()
}

/// With listings that are remembered almost at once, so that the clauses meet remembered ones.
fn open_remembering(root: &Path) -> Filesystem {
    let mut driver = open(root);
    // Longer than the tick of any kernel's clock for files.
    Arc::get_mut(&mut driver.shared).unwrap().listings = Listings::settling(Duration::from_millis(20));
    driver
}

mod contract_remembering {
    use std::sync::Arc;

    use crate::storage::driver::{Driver, contract::contract_tests};

    contract_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open_remembering(root.path()));
        (driver, root)
    });
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
