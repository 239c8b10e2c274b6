//! Whole repositories: their removal, and their vanishing.

use super::*;
use crate::gc::{Error, LargeRemoval, Mode};

fn remover(driver: &Arc<dyn Driver>) -> Collector {
    Collector::new(store(driver), no_grace(Untagged::Remove))
}

#[tokio::test]
async fn a_removed_repository_leaves_nothing_and_its_neighbours_alone() {
    let driver = memory();
    let registry = registry(&driver);
    let child = push_image(&registry, "a", "shared", Some("v1"), "").await;
    push(&registry, "a", index_of(&[child]), Some("multi")).await;
    push_image(&registry, "a", "only here", Some("v2"), "").await;
    let kept = push_image(&registry, "a/b", "shared", Some("v1"), "").await;
    let report = remover(&driver).remove_repository(&name("a"), &|_| {}).await.unwrap();
    assert_eq!((report.removed.manifests, report.removed.layer_links), (3, 4));
    let of_it = |path: &String| path.contains("/repositories/a/_") && !path.contains("/_uploads/");
    assert!(!objects(&driver).await.iter().any(of_it));
    assert!(has_manifest(&driver, "a/b", &kept).await && has_blob(&driver, "only here").await);
    collect(&driver, Untagged::Keep).await.unwrap();
    assert!(has_blob(&driver, "shared").await && !has_blob(&driver, "only here").await);
    let error = remover(&driver).remove_repository(&name("a"), &|_| {}).await.unwrap_err();
    assert!(matches!(error, Error::NoRepository(_)), "{error}");
}

#[tokio::test]
async fn a_dry_run_of_a_removal_writes_nothing() {
    let driver = memory();
    push_image(&registry(&driver), "a", "x", None, "").await;
    let before = objects(&driver).await;
    let config = Collection { mode: Mode::Report, ..no_grace(Untagged::Remove) };
    let report = Collector::new(store(&driver), config).remove_repository(&name("a"), &|_| {}).await.unwrap();
    assert_eq!((report.eligible.manifests, report.removed.manifests), (1, 0));
    assert_eq!(objects(&driver).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_push_beside_a_removal_keeps_what_it_needs() {
    let driver = memory();
    let registry = registry(&driver);
    let image = push_image(&registry, "a", "layer", Some("old"), "").await;
    push_image(&registry, "a", "other", Some("other"), "").await;
    let config = Collection { settle: Duration::from_secs(5), ..no_grace(Untagged::Remove) };
    let collector = Collector::new(store(&driver), config);
    let repository = name("a");
    let removal = collector.remove_repository(&repository, &|_| {});
    let push = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        push_image(&registry, "a", "layer", Some("new"), "").await
    };
    let (report, pushed) = tokio::join!(removal, push);
    assert_eq!((pushed, report.unwrap().removed.manifests), (image, 1));
    assert!(registry.blob_size(&name("a"), &sha256(b"layer")).await.is_ok());
    assert!(registry.blob_size(&name("a"), &sha256(b"other")).await.is_err());
}

#[tokio::test]
async fn a_repository_that_cannot_be_seen_any_more_stops_everything() {
    let driver = memory();
    let registry = registry(&driver);
    push_image(&registry, "a", "x", Some("v1"), "").await;
    let image = push_image(&registry, "elsewhere/b", "y", Some("v1"), "").await;
    collect(&driver, Untagged::Keep).await.unwrap();
    // As when its disk is not mounted.
    driver.delete_prefix(&StoragePath::for_test("docker/registry/v2/repositories/elsewhere")).await.unwrap();
    let error = collect(&driver, Untagged::Keep).await.unwrap_err();
    assert!(matches!(&error, Error::Vanished { others: 0, .. }), "{error}");
    assert!(has_blob(&driver, "y").await && error.to_string().contains("elsewhere/b"));
    let config = Collection { large: LargeRemoval::Accepted, ..no_grace(Untagged::Keep) };
    Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
    assert!(store(&driver).content_size(&image).await.unwrap().is_none());
    collect(&driver, Untagged::Keep).await.unwrap();
}

#[tokio::test]
async fn one_that_users_emptied_or_that_was_removed_does_not() {
    let driver = memory();
    let registry = registry(&driver);
    let image = push_image(&registry, "a", "x", Some("v1"), "").await;
    push_image(&registry, "b", "x", Some("v1"), "").await;
    collect(&driver, Untagged::Keep).await.unwrap();
    registry.delete_manifest(&name("a"), &Reference::Digest(image)).await.unwrap();
    remover(&driver).remove_repository(&name("b"), &|_| {}).await.unwrap();
    collect(&driver, Untagged::Keep).await.unwrap();
    assert_eq!(objects(&driver).await, [""; 0]);
}
