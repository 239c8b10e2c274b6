//! What goes and what stays, when everything can be read.

use super::*;
use crate::gc::Mode;
use crate::storage::driver::WriteMode;

#[tokio::test]
async fn what_nothing_refers_to_goes_and_everything_else_stays() {
    let driver = memory();
    let registry = registry(&driver);
    push_image(&registry, "a", "kept", Some("one"), "").await;
    let gone = push_image(&registry, "a", "gone", Some("two"), "").await;
    registry.delete_manifest(&name("a"), &Reference::Digest(gone)).await.unwrap();
    let before = objects(&driver).await;

    let report = collect(&driver, Untagged::Keep).await.unwrap();
    assert_eq!((report.removed.manifests, report.removed.layer_links, report.removed.blobs), (0, 2, 3));
    assert!(has_blob(&driver, "kept").await && !has_blob(&driver, "gone").await);
    assert_eq!(objects(&driver).await.len(), before.len() - 5);
    let again = collect(&driver, Untagged::Keep).await.unwrap();
    assert_eq!(again.removed, crate::gc::Tally::default());
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let driver = memory();
    push_blob(&registry(&driver), "a", b"garbage").await;
    let before = driver.tree(&StoragePath::for_test("docker"), &ListPage::all()).await.unwrap();
    let config = Collection { mode: Mode::Report, ..no_grace(Untagged::Remove) };
    let report = Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
    assert_eq!((report.eligible.layer_links, report.eligible.blobs, report.eligible.bytes), (1, 1, 7));
    assert_eq!(driver.tree(&StoragePath::for_test("docker"), &ListPage::all()).await.unwrap(), before);
}

#[tokio::test]
async fn what_is_younger_than_the_grace_stays() {
    let driver = memory();
    let registry = registry(&driver);
    let untagged = push_image(&registry, "a", "young", None, "").await;
    push_blob(&registry, "a", b"upload of a push that goes on").await;
    let config = Collection { grace: Duration::from_hours(1), ..no_grace(Untagged::Remove) };
    let report = Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
    assert_eq!(report.eligible, crate::gc::Tally::default());
    assert!(has_manifest(&driver, "a", &untagged).await);
}

#[tokio::test]
async fn untagged_manifests_go_only_when_asked_and_with_their_histories() {
    let driver = memory();
    let registry = registry(&driver);
    let first = push_image(&registry, "a", "first", Some("latest"), "").await;
    let second = push_image(&registry, "a", "second", Some("latest"), "").await;
    collect(&driver, Untagged::Keep).await.unwrap();
    assert!(has_manifest(&driver, "a", &first).await && has_blob(&driver, "first").await);

    let report = collect(&driver, Untagged::Remove).await.unwrap();
    assert_eq!(report.removed.manifests, 1);
    assert!(!has_manifest(&driver, "a", &first).await && !has_blob(&driver, "first").await);
    assert!(has_manifest(&driver, "a", &second).await && has_blob(&driver, "second").await);
    assert!(!objects(&driver).await.iter().any(|path| path.contains(&first.hex())), "nothing names it any more");
}

#[tokio::test]
async fn children_of_a_tagged_index_stay_through_every_level() {
    let driver = memory();
    let registry = registry(&driver);
    let child = push_image(&registry, "a", "amd64", None, "").await;
    let inner = push(&registry, "a", index_of(&[child]), None).await;
    let outer = push(&registry, "a", index_of(&[inner]), Some("latest")).await;
    let lonely = push_image(&registry, "a", "lonely", None, "").await;
    collect(&driver, Untagged::Remove).await.unwrap();
    for digest in [child, inner, outer] {
        assert!(has_manifest(&driver, "a", &digest).await);
    }
    assert!(has_blob(&driver, "amd64").await && !has_manifest(&driver, "a", &lonely).await);
}

#[tokio::test]
async fn referrers_stay_with_their_subject_and_go_with_it() {
    let driver = memory();
    let registry = registry(&driver);
    let image = push_image(&registry, "a", "image", Some("latest"), "").await;
    let about = |subject: &Digest| {
        format!(r#","subject":{{"mediaType":"{}","digest":"{subject}","size":1}}"#, MediaType::OCI_MANIFEST)
    };
    let signature = push_image(&registry, "a", "signature", None, &about(&image)).await;
    let second = push_image(&registry, "a", "of the signature", None, &about(&signature)).await;
    collect(&driver, Untagged::Remove).await.unwrap();
    assert!(has_manifest(&driver, "a", &signature).await && has_manifest(&driver, "a", &second).await);

    registry.delete_manifest(&name("a"), &Reference::Digest(image)).await.unwrap();
    collect(&driver, Untagged::Remove).await.unwrap();
    assert!(!has_manifest(&driver, "a", &signature).await && !has_manifest(&driver, "a", &second).await);
    assert_eq!(objects(&driver).await, [""; 0], "the referrers index has gone too");
}

#[tokio::test]
async fn content_shared_between_repositories_stays_and_the_link_of_one_goes() {
    let driver = memory();
    let registry = registry(&driver);
    push_image(&registry, "a", "shared", Some("latest"), "").await;
    let other = push_image(&registry, "b", "shared", Some("latest"), "").await;
    registry.delete_manifest(&name("b"), &Reference::Digest(other)).await.unwrap();
    collect(&driver, Untagged::Keep).await.unwrap();
    let layer = sha256(b"shared");
    assert!(registry.blob_size(&name("a"), &layer).await.is_ok());
    assert!(registry.blob_size(&name("b"), &layer).await.is_err());
}

#[tokio::test]
async fn blobs_that_an_index_names_directly_and_opaque_artifacts_stay() {
    let driver = memory();
    let registry = registry(&driver);
    let cache = push_blob(&registry, "a", b"cache").await;
    push(&registry, "a", index_of(&[cache]), Some("cache")).await;
    let part = push_blob(&registry, "a", b"part of an artifact").await;
    let artifact = Bytes::from(format!(r#"{{"mediaType":"application/x.thing+json","parts":["{part}"]}}"#));
    push(&registry, "a", artifact, Some("thing")).await;
    collect(&driver, Untagged::Remove).await.unwrap();
    assert!(has_blob(&driver, "cache").await && has_blob(&driver, "part of an artifact").await);
}

#[tokio::test]
async fn content_under_another_name_of_its_link_stays() {
    let driver = memory();
    let registry = registry(&driver);
    // What distribution makes of an upload with a sha512 digest: two links, one content.
    let long = Hasher::digest(Algorithm::Sha512, b"layer");
    let short = push_blob(&registry, "a", b"layer").await;
    let link = format!("docker/registry/v2/repositories/a/_layers/sha512/{}/link", long.hex());
    let content = Bytes::from(short.to_string());
    driver.write(&StoragePath::for_test(&link), content, WriteMode::Overwrite).await.unwrap();
    let config = push_blob(&registry, "a", b"{}").await;
    push(&registry, "a", image_of(&config, &[long], ""), Some("latest")).await;
    collect(&driver, Untagged::Remove).await.unwrap();
    assert!(has_blob(&driver, "layer").await);
}

#[tokio::test]
async fn a_repository_without_tags_is_emptied_and_one_with_only_layers_too() {
    let driver = memory();
    let registry = registry(&driver);
    push_image(&registry, "untagged", "x", None, "").await;
    push_blob(&registry, "only/layers", b"y").await;
    collect(&driver, Untagged::Remove).await.unwrap();
    assert_eq!(objects(&driver).await, [""; 0]);
}
