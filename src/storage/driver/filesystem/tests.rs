//! What holds for the filesystem driver beyond the contract of all drivers.

use std::path::Path;

use super::{Access, Filesystem};
use crate::storage::config::Filesystem as Config;
use crate::storage::driver::{Driver, ListPage, WriteMode};
use crate::storage::layout::StoragePath;

fn open(root: &Path) -> Filesystem {
    let config = Config { root_directory: root.to_owned(), max_threads: 8 };
    Filesystem::open(&config, Access::ReadWrite).unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_listed_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    let path = StoragePath::for_test("docker/registry/v2/blobs/a/link");
    driver.write(&path, "content".into(), WriteMode::Overwrite).await.unwrap();
    assert_eq!(driver.read(&path, 100).await.unwrap(), "content");
    assert_eq!(driver.read(&path, 100).await.unwrap(), "content");
    assert_eq!(driver.stat(&path).await.unwrap().size, 7);
    let above = StoragePath::for_test("docker/registry/v2/blobs");
    assert_eq!(driver.list(&above, &ListPage::all()).await.unwrap().entries[0].name, "a");
    let mut staged = driver.stage(&StoragePath::for_test("docker/registry/v2/blobs/up/x/data")).await.unwrap();
    staged.append(vec!["one".into(), "two".into()]).await.unwrap();
    staged.publish(&path).await.unwrap();
    assert_eq!(driver.read(&path, 100).await.unwrap(), "onetwo");
    driver.delete(&path).await.unwrap();
    assert!(driver.read(&path, 100).await.unwrap_err().is_not_found());
    assert!(!root.path().join("docker/registry/v2/blobs/a").exists());
}
