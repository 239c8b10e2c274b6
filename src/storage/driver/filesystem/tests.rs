//! What holds for the filesystem driver beyond the contract of all drivers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::listings::Listings;
use super::{Access, Filesystem};
use crate::storage::config::Filesystem as Config;
use crate::storage::driver::Reading;
use crate::storage::driver::{Driver, ListPage, Listing, WriteMode};
use crate::storage::layout::StoragePath;

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

    use crate::storage::driver::{
        Driver,
        contract::{contract_tests, one_place_tests},
    };

    contract_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open_remembering(root.path()));
        (driver, root)
    });

    one_place_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open_remembering(root.path()));
        (driver, root)
    });
}

mod contract {
    use std::sync::Arc;

    use crate::storage::driver::{
        Driver,
        contract::{contract_tests, one_place_tests},
    };

    contract_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open(root.path()));
        (driver, root)
    });

    one_place_tests!({
        let root = tempfile::tempdir().unwrap();
        let driver: Arc<dyn Driver> = Arc::new(super::open(root.path()));
        (driver, root)
    });
}

fn at(path: &str) -> StoragePath {
    StoragePath::for_test(&format!("docker/registry/v2/disk/{path}"))
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| &*entry.name).collect()
}

fn refusal(root: &Path, access: Access) -> String {
    let config = Config { root_directory: root.to_owned(), max_threads: 8 };
    Filesystem::open(&config, access).unwrap_err().to_string()
}

#[test]
fn a_root_that_cannot_be_used_is_refused_with_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (root, access) in [(file.clone(), Access::ReadWrite), (file.join("below"), Access::ReadWrite)] {
        let message = refusal(&root, access);
        assert!(message.contains("rootdirectory"), "{message}");
        assert!(message.contains(root.to_str().unwrap()), "{message}");
    }
    let missing = directory.path().join("missing");
    assert!(refusal(&missing, Access::Read).contains("that exists"));
    assert!(!missing.exists(), "opening for reading makes nothing");
    open(&missing.join("deep"));
    assert!(missing.join("deep").is_dir());
}

#[tokio::test]
async fn what_is_neither_object_nor_directory_is_not_seen() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    driver.write(&at("d/link"), "x".into(), WriteMode::Overwrite).await.unwrap();
    let directory = root.path().join("docker/registry/v2/disk/d");
    let pipe = directory.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o644), 0)
        .unwrap();
    std::os::unix::fs::symlink("nowhere", directory.join("dangling")).unwrap();
    std::fs::write(directory.join(format!("link.{}.tmp", uuid::Uuid::new_v4())), "half").unwrap();
    assert_eq!(names(&driver.list(&at("d"), &ListPage::all()).await.unwrap()), ["link"]);
    for path in ["d/pipe", "d/dangling"] {
        assert!(driver.stat(&at(path)).await.unwrap_err().is_not_found(), "{path}");
        assert!(driver.read(&at(path), 10).await.unwrap_err().is_not_found(), "{path}");
        assert!(driver.open(&at(path), Reading::Whole).await.unwrap_err().is_not_found(), "{path}");
    }
}

#[tokio::test]
async fn links_that_operators_place_are_followed_but_not_deleted_through() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let driver = open(root.path());
    driver.write(&at("d/own/link"), "own".into(), WriteMode::Overwrite).await.unwrap();
    let elsewhere = root.path().join("docker/registry/v2/disk/d/elsewhere");
    std::os::unix::fs::symlink(other.path(), elsewhere).unwrap();
    driver.write(&at("d/elsewhere/a/link"), "moved".into(), WriteMode::Overwrite).await.unwrap();
    assert_eq!(std::fs::read(other.path().join("a/link")).unwrap(), b"moved");
    assert_eq!(driver.read(&at("d/elsewhere/a/link"), 10).await.unwrap(), "moved");
    assert_eq!(names(&driver.list(&at("d"), &ListPage::all()).await.unwrap()), ["elsewhere", "own"]);
    driver.delete_prefix(&at("d")).await.unwrap();
    assert!(driver.list(&at("d"), &ListPage::all()).await.unwrap().entries.is_empty());
    assert!(other.path().join("a/link").exists(), "what a link points to belongs to somebody else");
}

#[tokio::test]
async fn emptied_directories_go_but_never_the_top_ones() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    for path in ["d/e/f/link", "d/link"] {
        driver.write(&at(path), "x".into(), WriteMode::Overwrite).await.unwrap();
    }
    driver.delete(&at("d/e/f/link")).await.unwrap();
    let top = root.path().join("docker/registry/v2/disk");
    assert!(!top.join("d/e").exists() && top.join("d/link").exists());
    driver.delete(&at("d/link")).await.unwrap();
    assert!(top.exists() && !top.join("d").exists());
}

#[tokio::test]
async fn an_operator_is_told_of_a_file_in_the_way_of_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    driver.write(&at("d/link"), "x".into(), WriteMode::Overwrite).await.unwrap();
    let error = driver.write(&at("d/link/below"), "x".into(), WriteMode::Overwrite).await.unwrap_err();
    assert!(error.to_string().contains("a file lies where a directory has to be"), "{error}");
}

#[tokio::test]
async fn what_is_moved_counts_as_new_and_leaves_no_empty_directory() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    driver.write(&at("blobs/aa/aabb/data"), "x".into(), WriteMode::Overwrite).await.unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_hours(72);
    let file = |path: &str| root.path().join(at(path).as_str());
    std::fs::File::open(file("blobs/aa/aabb/data")).unwrap().set_modified(long_ago).unwrap();
    driver.move_many(&[(at("blobs/aa/aabb/data"), at("bin/aabb"))]).await.unwrap();
    let modified = driver.stat(&at("bin/aabb")).await.unwrap().modified;
    assert!(modified > long_ago + Duration::from_hours(71));
    assert!(!file("blobs").exists() && file("bin/aabb").exists());
}

#[tokio::test]
async fn what_lies_on_another_file_system_stays_there_and_is_named() {
    // Memory that the kernel lends as files is a file system of its own wherever it is.
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    driver.write(&at("blobs/here/data"), "here".into(), WriteMode::Overwrite).await.unwrap();
    let mounted = root.path().join(at("blobs/there").as_str());
    std::os::unix::fs::symlink(elsewhere.path(), mounted).unwrap();
    driver.write(&at("blobs/there/data"), "there".into(), WriteMode::Overwrite).await.unwrap();
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).unwrap());
    if device(elsewhere.path()) == device(root.path()) {
        return;
    }
    let moves = ["here", "there"].map(|name| (at(&format!("blobs/{name}/data")), at(&format!("bin/{name}"))));
    assert_eq!(driver.move_many(&moves).await.unwrap(), [at("blobs/there/data")]);
    assert_eq!(driver.read(&at("blobs/there/data"), 10).await.unwrap(), "there");
    assert_eq!(driver.read(&at("bin/here"), 10).await.unwrap(), "here");
}

#[tokio::test]
async fn what_is_put_aside_goes_with_its_directory_unless_something_else_is_there() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    let file = |path: &str| root.path().join(at(path).as_str());
    let moves = ["alone", "beside", "taken", "linked", "gone"]
        .map(|name| (at(&format!("blobs/{name}/data")), at(&format!("bin/{name}/data"))));
    for (from, _) in &moves[..4] {
        driver.write(from, "x".into(), WriteMode::Overwrite).await.unwrap();
    }
    driver.write(&moves[2].1, "before".into(), WriteMode::Overwrite).await.unwrap();
    std::fs::write(file("blobs/beside/data.half"), b"half").unwrap();
    std::fs::rename(file("blobs/linked"), file("elsewhere")).unwrap();
    std::os::unix::fs::symlink(file("elsewhere"), file("blobs/linked")).unwrap();
    let alone = std::fs::metadata(file("blobs/alone")).unwrap();
    assert_eq!(driver.put_aside(&moves).await.unwrap(), []);
    for (from, to) in &moves[..4] {
        assert!(driver.stat(from).await.unwrap_err().is_not_found(), "{from}");
        assert_eq!(driver.read(to, 10).await.unwrap(), "x", "{to}");
    }
    let inode = |stat: &std::fs::Metadata| std::os::unix::fs::MetadataExt::ino(stat);
    assert_eq!(inode(&std::fs::metadata(file("bin/alone")).unwrap()), inode(&alone));
    assert!(file("blobs/beside/data.half").exists() && !file("blobs/alone").exists() && !file("blobs/taken").exists());
    assert_eq!(driver.put_aside(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn content_whose_directory_was_put_aside_while_it_was_written_is_published_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let driver = open(root.path());
    let content: bytes::Bytes = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut staged = driver.create(&at("blobs/aa/data"), None).await.unwrap();
    staged.append(vec![content.clone()]).await.unwrap();
    let file = |path: &str| root.path().join(at(path).as_str());
    std::fs::create_dir(file("bin")).unwrap();
    std::fs::rename(file("blobs/aa"), file("bin/aa")).unwrap();
    staged.publish(&at("blobs/aa/data")).await.unwrap();
    assert_eq!(driver.read(&at("blobs/aa/data"), 1 << 30).await.unwrap(), content);
    assert_eq!(std::fs::read_dir(file("blobs/aa")).unwrap().count(), 1, "no litter");
}

#[tokio::test]
async fn writers_outlast_those_who_put_their_directory_aside() {
    let root = tempfile::tempdir().unwrap();
    let driver = Arc::new(open(root.path()));
    let (path, aside) = (at("blobs/aa/data"), |number: usize| at(&format!("bin/{number}/data")));
    let writer = tokio::spawn({
        let (driver, path) = (Arc::clone(&driver), path.clone());
        async move {
            for _ in 0..60 {
                driver.write(&path, "x".into(), WriteMode::Overwrite).await.unwrap();
                let mut staged = driver.create(&path, None).await.unwrap();
                staged.append(vec!["y".into()]).await.unwrap();
                staged.publish(&path).await.unwrap();
            }
        }
    });
    let mut number = 0;
    while !writer.is_finished() {
        assert_eq!(driver.put_aside(&[(path.clone(), aside(number))]).await.unwrap(), []);
        number += 1;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    for number in 0..number {
        match driver.read(&aside(number), 10).await {
            Ok(content) => assert!(content == "x" || content == "y", "{content:?}"),
            Err(error) => assert!(error.is_not_found(), "{error}"),
        }
    }
}

#[tokio::test]
async fn room_is_told_for_directories_that_are_not_there_yet() {
    let root = tempfile::tempdir().unwrap();
    let space = open(root.path()).space(&at("not/yet")).await.unwrap().unwrap();
    assert!(space.available <= space.total && space.total > 0);
}
