//! Clauses about listings: order, pages, boundaries.

use std::sync::Arc;

use super::{at, put, top};
use crate::storage::Error;
use crate::storage::driver::{Driver, EntryKind, ListPage, More, ReadLimits};
use crate::storage::layout::StoragePath;

/// The names of one page, directories with a slash behind, and whether more follow.
async fn page(driver: &dyn Driver, prefix: &StoragePath, after: Option<&str>, limit: usize) -> (Vec<String>, More) {
    let page = ListPage { after: after.map(str::to_owned), limit };
    let listing = driver.list(prefix, &page).await.unwrap();
    let names = listing.entries.iter().map(|entry| match entry.kind {
        EntryKind::Object => entry.name.clone(),
        EntryKind::Directory => format!("{}/", entry.name),
    });
    (names.collect(), listing.more)
}

async fn all(driver: &dyn Driver, prefix: &StoragePath) -> Vec<String> {
    let (names, more) = page(driver, prefix, None, usize::MAX).await;
    assert_eq!(more, More::No);
    names
}

pub(in crate::storage) async fn lists_objects_and_directories_in_byte_order(driver: Arc<dyn Driver>) {
    for path in ["d/a", "d/a.b", "d/a-b/link", "d/B", "d/a0/x/y", "d/a0/z", "d/é", "d/_x", "d/10", "d/9"] {
        put(&*driver, path, "x").await;
    }
    let expected = ["10", "9", "B", "_x", "a", "a-b/", "a.b", "a0/", "é"];
    assert_eq!(all(&*driver, &at("d")).await, expected);
    assert_eq!(all(&*driver, &at("d/a0")).await, ["x/", "z"]);
    assert_eq!(all(&*driver, &top()).await, ["d/"]);
}

pub(in crate::storage) async fn a_missing_directory_lists_empty(driver: Arc<dyn Driver>) {
    assert!(all(&*driver, &top()).await.is_empty());
    put(&*driver, "d/a", "x").await;
    assert!(all(&*driver, &at("e")).await.is_empty());
    assert!(all(&*driver, &at("d/a")).await.is_empty(), "an object is no directory");
}

pub(in crate::storage) async fn pages_are_the_whole_listing_cut(driver: Arc<dyn Driver>) {
    for number in 0..23 {
        put(&*driver, &format!("d/tag-{number}/link"), "x").await;
    }
    put(&*driver, "d/object", "x").await;
    let whole = all(&*driver, &at("d")).await;
    assert_eq!(whole.len(), 24);
    for limit in [1, 2, 7, 23, 24, 25] {
        let mut joined: Vec<String> = Vec::new();
        loop {
            let after = joined.last().map(|name| name.trim_end_matches('/').to_owned());
            let (names, more) = page(&*driver, &at("d"), after.as_deref(), limit).await;
            assert!(names.len() <= limit);
            joined.extend(names);
            if more == More::No {
                break;
            }
            assert!(joined.len() < whole.len(), "there is no more after the last name");
        }
        assert_eq!(joined, whole, "limit {limit}");
    }
    assert_eq!(page(&*driver, &at("d"), None, 0).await, (Vec::new(), More::Yes));
}

pub(in crate::storage) async fn a_page_starts_after_a_name_that_is_gone(driver: Arc<dyn Driver>) {
    for path in ["d/a/link", "d/c/link", "d/e/link"] {
        put(&*driver, path, "x").await;
    }
    for (after, expected) in [("", &["a/", "c/", "e/"][..]), ("b", &["c/", "e/"]), ("c", &["e/"]), ("c ", &["e/"])] {
        let (names, _) = page(&*driver, &at("d"), Some(after), 10).await;
        assert_eq!(names, expected, "after {after:?}");
    }
    assert_eq!(page(&*driver, &at("d"), Some("zz"), 10).await, (Vec::new(), More::No));
}

pub(in crate::storage) async fn listings_follow_writes_and_deletions(driver: Arc<dyn Driver>) {
    // Repeated, because a driver that remembers listings must notice every change, however soon it follows.
    for round in 0..20 {
        put(&*driver, "d/stays/link", "x").await;
        put(&*driver, &format!("d/{round}/link"), "x").await;
        assert_eq!(all(&*driver, &at("d")).await, [format!("{round}/"), "stays/".to_owned()]);
        driver.delete(&at(&format!("d/{round}/link"))).await.unwrap();
        assert_eq!(all(&*driver, &at("d")).await, ["stays/"]);
    }
    driver.delete_prefix(&at("d")).await.unwrap();
    assert!(all(&*driver, &at("d")).await.is_empty());
}

pub(in crate::storage) async fn listings_do_not_mix_directories_that_share_the_string(driver: Arc<dyn Driver>) {
    for path in ["a/b/one", "a/bc/two", "a/b-c/three", "ab/four"] {
        put(&*driver, path, "x").await;
    }
    assert_eq!(all(&*driver, &at("a/b")).await, ["one"]);
    assert_eq!(all(&*driver, &at("a")).await, ["b/", "b-c/", "bc/"]);
}

pub(in crate::storage) async fn a_tree_is_every_object_below(driver: Arc<dyn Driver>) {
    let below = ["d/a", "d/a-b/link", "d/a.b", "d/b/c/d/e/f", "d/b/c/g", "d/b-c/h", "d/z"];
    for path in below.iter().chain(&["d-e/x", "da", "e/y"]) {
        put(&*driver, path, path).await;
    }
    for limit in [1, 2, 3, 7, 8, usize::MAX] {
        let mut found = Vec::new();
        let mut page = ListPage { after: None, limit };
        loop {
            let tree = driver.tree(&at("d"), &page).await.unwrap();
            assert!(tree.objects.len() <= limit);
            found.extend(tree.objects.into_iter().map(|object| (object.path.to_string(), object.stat.size)));
            page.after = tree.next;
            if page.after.is_none() {
                break;
            }
            assert!(found.len() < below.len(), "there is no more after the last object");
        }
        found.sort();
        let mut expected: Vec<_> = below.iter().map(|path| (at(path).to_string(), path.len() as u64)).collect();
        expected.sort();
        assert_eq!(found, expected, "limit {limit}");
    }
    assert!(driver.tree(&at("missing"), &ListPage::all()).await.unwrap().objects.is_empty());
}

pub(in crate::storage) async fn leaves_are_the_objects_of_that_name(driver: Arc<dyn Driver>) {
    for path in ["d/one/link", "d/one/other", "d/two/other", "d/three/link/deeper", "d/four"] {
        put(&*driver, path, path).await;
    }
    let names = ["one", "two", "three", "four", "missing", "one"];
    let leaves = driver.leaves(&at("d"), "link", names.map(str::to_owned).to_vec()).await.unwrap();
    let sizes: Vec<_> = leaves.into_iter().map(|(name, stat)| (name, stat.size)).collect();
    assert_eq!(sizes, [("one".to_owned(), 10), ("one".to_owned(), 10)]);
    assert_eq!(driver.leaves(&at("missing"), "link", vec!["one".to_owned()]).await.unwrap(), []);
    assert_eq!(driver.leaves(&at("d"), "link", Vec::new()).await.unwrap(), []);
}

pub(in crate::storage) async fn directories_come_page_by_page(driver: Arc<dyn Driver>) {
    for path in ["d/b/x", "d/c", "d/a/y", "d/e/z/z", "d/d"] {
        put(&*driver, path, path).await;
    }
    for limit in [1, 2, 3, 5, 6] {
        let mut names = Vec::new();
        let mut page = Some(ListPage { after: None, limit });
        while let Some(wanted) = page {
            let (more, next) = driver.directories(&at("d"), &wanted).await.unwrap();
            assert!(more.len() <= limit);
            names.extend(more);
            page = next;
        }
        assert_eq!(names, ["a", "b", "e"], "limit {limit}");
    }
    assert_eq!(driver.directories(&at("missing"), &ListPage::all()).await.unwrap(), (Vec::new(), None));
}

pub(in crate::storage) async fn many_are_read_as_one_by_one(driver: Arc<dyn Driver>) {
    let large = "x".repeat(5000);
    for (path, content) in [("empty", ""), ("small", "small"), ("large", &large), ("d/below", "")] {
        put(&*driver, path, content).await;
    }
    let read = async |names: &[&str], each, together| {
        let paths = names.iter().map(|name| at(name)).collect();
        let contents = driver.read_many(paths, ReadLimits { each, together }).await.unwrap();
        contents.into_iter().map(|content| content.map(|bytes| bytes.len())).collect::<Vec<_>>()
    };
    let all = read(&["small", "missing", "large", "d", "empty"], 5000, u64::MAX).await;
    assert!(
        matches!(all.as_slice(), [Ok(5), Err(Error::NotFound { .. }), Ok(5000), Err(Error::NotFound { .. }), Ok(0)]),
        "{all:?}"
    );
    let limited = read(&["small", "large"], 4999, u64::MAX).await;
    assert!(matches!(limited.as_slice(), [Ok(5), Err(Error::TooLarge { size: 5000, limit: 4999, .. })]), "{limited:?}");
    for (together, expected) in [(1, 1), (5, 1), (6, 2), (5005, 2), (5006, 3)] {
        assert_eq!(read(&["small", "large", "empty"], 5000, together).await.len(), expected, "{together}");
    }
    assert!(read(&[], 1, 1).await.is_empty());
}
