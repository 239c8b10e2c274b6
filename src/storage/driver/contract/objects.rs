//! Clauses about single objects: reading, writing, removing.

use std::sync::Arc;

use super::{PLENTY, all_of, at, get, part_of, pattern, put, top};
use crate::storage::driver::Reading;
use crate::storage::driver::{Driver, WriteMode};
use crate::storage::error::Error;

/// Sizes around every boundary that a driver's buffers may have.
const SIZES: &[usize] = &[0, 1, 71, 135, 4095, 4096, 4097, 8192, 65_536, 100_000, 262_143, 262_144, 262_145, 1_048_577];

pub(in crate::storage) async fn reads_what_was_written(driver: Arc<dyn Driver>) {
    for &size in SIZES {
        let path = at(&format!("sizes/{size}/data"));
        let content = pattern(size);
        driver.write(&path, content.clone(), WriteMode::Overwrite).await.unwrap();
        assert_eq!(driver.stat(&path).await.unwrap().size, size as u64);
        assert!(driver.read(&path, PLENTY).await.unwrap() == content, "read of {size} bytes");
        let object = driver.open(&path, Reading::Whole).await.unwrap();
        assert_eq!(object.size, size as u64);
        assert!(all_of(&object).await == content, "open of {size} bytes");
    }
}

pub(in crate::storage) async fn stat_never_goes_back_in_time(driver: Arc<dyn Driver>) {
    put(&*driver, "a/link", "one").await;
    let before = driver.stat(&at("a/link")).await.unwrap();
    put(&*driver, "a/link", "three").await;
    let after = driver.stat(&at("a/link")).await.unwrap();
    assert!(after.modified >= before.modified);
    assert_eq!((before.size, after.size), (3, 5));
}

pub(in crate::storage) async fn what_is_missing_is_not_found(driver: Arc<dyn Driver>) {
    put(&*driver, "a/link", "one").await;
    for missing in ["a/other", "b/link", "a/link/below"] {
        let path = at(missing);
        let errors = [
            driver.stat(&path).await.unwrap_err(),
            driver.read(&path, PLENTY).await.unwrap_err(),
            driver.open(&path, Reading::Whole).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, Error::NotFound { path } if path.ends_with(missing)), "{missing}: {error}");
        }
    }
}

pub(in crate::storage) async fn a_directory_is_not_an_object(driver: Arc<dyn Driver>) {
    put(&*driver, "a/b/link", "one").await;
    assert!(driver.stat(&at("a/b")).await.unwrap_err().is_not_found());
    assert!(driver.read(&at("a/b"), PLENTY).await.unwrap_err().is_not_found());
    assert!(driver.open(&at("a/b"), Reading::Parts).await.unwrap_err().is_not_found());
    driver.delete(&at("a/b")).await.unwrap();
    assert_eq!(get(&*driver, "a/b/link").await.as_deref(), Some("one"));
}

pub(in crate::storage) async fn read_refuses_more_than_the_limit(driver: Arc<dyn Driver>) {
    for size in [1, 71, 4096, 5000, 300_000] {
        let path = at(&format!("limits/{size}"));
        driver.write(&path, pattern(size), WriteMode::Overwrite).await.unwrap();
        let size = size as u64;
        assert_eq!(driver.read(&path, size).await.unwrap().len() as u64, size);
        let error = driver.read(&path, size - 1).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { size: found, limit, .. } if found == size && limit == size - 1));
    }
}

pub(in crate::storage) async fn overwriting_replaces(driver: Arc<dyn Driver>) {
    put(&*driver, "a/link", "a long content").await;
    put(&*driver, "a/link", "short").await;
    assert_eq!(get(&*driver, "a/link").await.as_deref(), Some("short"));
}

pub(in crate::storage) async fn create_only_spares_what_exists(driver: Arc<dyn Driver>) {
    let path = at("a/link");
    driver.write(&path, "first".into(), WriteMode::CreateOnly).await.unwrap();
    let error = driver.write(&path, "second".into(), WriteMode::CreateOnly).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(get(&*driver, "a/link").await.as_deref(), Some("first"));
    driver.delete(&path).await.unwrap();
    driver.write(&path, "third".into(), WriteMode::CreateOnly).await.unwrap();
    assert_eq!(get(&*driver, "a/link").await.as_deref(), Some("third"));
}

pub(in crate::storage) async fn write_many_writes_all(driver: Arc<dyn Driver>) {
    driver.write_many(Vec::new()).await.unwrap();
    put(&*driver, "a/one", "old").await;
    let objects = ["a/one", "a/two", "b/c/three", "b/c/d/four"].map(|path| (at(path), path.to_owned().into()));
    driver.write_many(objects.to_vec()).await.unwrap();
    for path in ["a/one", "a/two", "b/c/three", "b/c/d/four"] {
        assert_eq!(get(&*driver, path).await.as_deref(), Some(path));
    }
}

pub(in crate::storage) async fn deleting_what_is_missing_succeeds(driver: Arc<dyn Driver>) {
    driver.delete(&at("a/link")).await.unwrap();
    driver.delete_many(&[]).await.unwrap();
    driver.delete_prefix(&at("a")).await.unwrap();
    put(&*driver, "a/link", "one").await;
    driver.delete(&at("a/link/below")).await.unwrap();
    driver.delete(&at("a/link")).await.unwrap();
    driver.delete(&at("a/link")).await.unwrap();
    assert_eq!(get(&*driver, "a/link").await, None);
}

pub(in crate::storage) async fn delete_many_removes_exactly_its_paths(driver: Arc<dyn Driver>) {
    for path in ["a/one", "a/two", "b/c/three", "b/c2/four"] {
        put(&*driver, path, path).await;
    }
    driver.delete_many(&[at("a/one"), at("gone"), at("b/c/three")]).await.unwrap();
    assert_eq!(get(&*driver, "a/one").await, None);
    assert_eq!(get(&*driver, "b/c/three").await, None);
    assert_eq!(get(&*driver, "a/two").await.as_deref(), Some("a/two"));
    assert_eq!(get(&*driver, "b/c2/four").await.as_deref(), Some("b/c2/four"));
}

pub(in crate::storage) async fn moving_moves_or_leaves_everything_as_it_is(driver: Arc<dyn Driver>) {
    for path in ["a/one/data", "a/one/beside", "b/two/data", "c/new/two"] {
        put(&*driver, path, path).await;
    }
    let before = driver.stat(&at("a/one/data")).await.unwrap().modified;
    let moves = [("a/one/data", "c/new/one"), ("b/two/data", "c/new/two"), ("gone/data", "c/new/gone")];
    let moves = moves.map(|(from, to)| (at(from), at(to)));
    let stay = driver.move_many(&moves).await.unwrap();
    let places = ["a/one/data", "a/one/beside", "b/two/data", "c/new/one", "c/new/two", "c/new/gone"];
    let mut found = Vec::new();
    for place in places {
        found.push(get(&*driver, place).await);
    }
    let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
    if stay.is_empty() {
        assert_eq!(found, [None, Some("a/one/beside"), None, Some("a/one/data"), Some("b/two/data"), None]);
        assert!(driver.stat(&at("c/new/one")).await.unwrap().modified >= before);
        let listing = driver.list(&top(), &crate::storage::driver::ListPage::all()).await.unwrap();
        assert!(listing.entries.iter().any(|entry| entry.name == "c"));
    } else {
        assert_eq!(stay, moves.map(|(from, _)| from));
        let [one, beside, two] = ["a/one/data", "a/one/beside", "b/two/data"].map(Some);
        assert_eq!(found, [one, beside, two, None, Some("c/new/two"), None]);
    }
    assert!(driver.move_many(&[]).await.unwrap().is_empty());
}

pub(in crate::storage) async fn putting_aside_moves_or_leaves_everything_as_it_is(driver: Arc<dyn Driver>) {
    let moves = [("a/one/data", "c/e/one/data"), ("b/link", "c/e/b/link"), ("gone/data", "c/e/gone/data")];
    for (path, _) in &moves[..2] {
        put(&*driver, path, path).await;
    }
    let moves = moves.map(|(from, to)| (at(from), at(to)));
    let stay = driver.put_aside(&moves).await.unwrap();
    let mut found = Vec::new();
    for place in ["a/one/data", "b/link", "c/e/one/data", "c/e/b/link", "c/e/gone/data"] {
        found.push(get(&*driver, place).await);
    }
    let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
    let (one, link) = (Some("a/one/data"), Some("b/link"));
    if stay.is_empty() {
        assert_eq!(found, [None, None, one, link, None]);
    } else {
        assert_eq!(stay, moves.map(|(from, _)| from));
        assert_eq!(found, [one, link, None, None, None]);
    }
    assert!(driver.put_aside(&[]).await.unwrap().is_empty());
}

pub(in crate::storage) async fn delete_prefix_spares_names_that_share_the_string(driver: Arc<dyn Driver>) {
    let spared = ["a/bc/link", "a/b-c/link", "a/b0", "ab/link"];
    for path in ["a/b/link", "a/b/c/d/link", "a/b/z"].iter().chain(&spared) {
        put(&*driver, path, "x").await;
    }
    driver.delete_prefix(&at("a/b")).await.unwrap();
    for path in ["a/b/link", "a/b/c/d/link", "a/b/z"] {
        assert_eq!(get(&*driver, path).await, None, "{path}");
    }
    for path in spared {
        assert!(get(&*driver, path).await.is_some(), "{path}");
    }
    driver.delete_prefix(&top()).await.unwrap();
    assert!(get(&*driver, "ab/link").await.is_none());
}

pub(in crate::storage) async fn delete_prefix_removes_no_object_of_that_name(driver: Arc<dyn Driver>) {
    put(&*driver, "a/b", "x").await;
    driver.delete_prefix(&at("a/b")).await.unwrap();
    assert_eq!(get(&*driver, "a/b").await.as_deref(), Some("x"));
}

pub(in crate::storage) async fn an_open_object_outlives_overwriting_and_deleting(driver: Arc<dyn Driver>) {
    let (path, content) = (at("a/data"), pattern(200_000));
    driver.write(&path, content.clone(), WriteMode::Overwrite).await.unwrap();
    let before = driver.open(&path, Reading::Whole).await.unwrap();
    driver.write(&path, "another".into(), WriteMode::Overwrite).await.unwrap();
    let between = driver.open(&path, Reading::Whole).await.unwrap();
    driver.delete(&path).await.unwrap();
    assert!(all_of(&before).await == content);
    assert_eq!(all_of(&between).await, "another");
}

pub(in crate::storage) async fn an_object_opened_for_parts_is_read_in_any_order(driver: Arc<dyn Driver>) {
    let (path, content) = (at("a/data"), pattern(200_000));
    driver.write(&path, content.clone(), WriteMode::Overwrite).await.unwrap();
    for reading in [Reading::Parts, Reading::Whole] {
        let object = driver.open(&path, reading).await.unwrap();
        assert_eq!(object.size, 200_000);
        for range in [150_000..200_000, 0..10, 0..200_000, 199_999..200_000, 70_000..70_000, 5..70_000] {
            let wanted = content.slice(range.clone());
            let range = range.start as u64..range.end as u64;
            assert!(part_of(&object, range.clone()).await == wanted, "{range:?} after {reading:?}");
        }
    }
}
