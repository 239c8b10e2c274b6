//! Doubt stops collection before anything goes; what was begun is finished by a successor.

use futures_util::FutureExt;

use super::*;
use crate::gc::{Error, Event, LargeRemoval, Takeover};
use crate::storage::collection::{EpochId, Key};
use crate::storage::driver::faulty::{FAULTS, Faulty};
use crate::storage::driver::{Latency, WriteMode};

/// A store with a tagged image, a tagged index, and garbage of every kind.
async fn furnish(driver: &Arc<dyn Driver>) -> Vec<Digest> {
    let registry = registry(driver);
    let image = push_image(&registry, "a", "kept", Some("latest"), "").await;
    let child = push_image(&registry, "a/b", "child", None, "").await;
    let index = push(&registry, "a/b", index_of(&[child]), Some("latest")).await;
    push_image(&registry, "a", "old", None, "").await;
    push_blob(&registry, "c", b"never finished").await;
    vec![image, child, index]
}

async fn assert_whole(driver: &Arc<dyn Driver>, kept: &[Digest]) {
    for (digest, repository) in kept.iter().zip(["a", "a/b", "a/b"]) {
        assert!(has_manifest(driver, repository, digest).await, "{digest} of {repository}");
    }
    let registry = registry(driver);
    for (repository, layer) in [("a", "kept"), ("a/b", "child")] {
        assert!(registry.blob_size(&name(repository), &sha256(layer.as_bytes())).await.is_ok(), "{layer}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_run_may_fail_and_nothing_needed_goes() {
    for latency in [Latency::Local, Latency::Remote] {
        for fault in FAULTS {
            for number in 0.. {
                let memory = memory();
                let kept = furnish(&memory).await;
                let before = objects(&memory).await;
                let faulty = Faulty::at(latency, Arc::clone(&memory));
                faulty.fail(number, fault);
                let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
                let collector = Collector::new(store(&driver), no_grace(Untagged::Remove));
                let result = collector.collect(&|_| {}).await;
                let decided = faulty.calls().iter().any(|call| call.verb == "write" && call.path.ends_with(".verdict"));
                let calls = faulty.calls().len();
                assert_whole(&memory, &kept).await;
                if !decided || result.is_err() && !faulty.calls().iter().any(|call| call.verb == "delete_once") {
                    assert!(result.is_err(), "call {number} of {latency:?} failed by {fault:?} unnoticed");
                    assert_eq!(objects(&memory).await, before, "call {number} of {latency:?} failed by {fault:?}");
                }
                // Whatever was left unfinished is finished by the next run, and then only the garbage is gone.
                faulty.heal();
                collector.collect(&|_| {}).await.unwrap();
                assert_whole(&memory, &kept).await;
                assert!(!has_blob(&memory, "old").await && !has_blob(&memory, "never finished").await);
                assert_eq!(store(&memory).epochs().await.unwrap().active.len(), 0, "call {number}: {result:?}");
                if calls <= number {
                    assert!(result.is_ok());
                    break;
                }
            }
        }
    }
}

async fn damage(path: &str, content: &'static [u8]) -> Result<Report, Error> {
    let driver = memory();
    let kept = furnish(&driver).await;
    let path = path.replace("{image}", &kept[0].hex()).replace("{shelf}", &kept[0].hex()[..2]);
    let path = StoragePath::for_test(&format!("docker/registry/v2/{path}"));
    driver.write(&path, Bytes::from_static(content), WriteMode::Overwrite).await.unwrap();
    let before = objects(&driver).await;
    let result = collect(&driver, Untagged::Remove).await;
    assert_eq!(objects(&driver).await, before, "nothing may go");
    result
}

#[tokio::test]
async fn what_cannot_be_read_stops_everything_and_is_named() {
    for (path, content, named) in [
        ("repositories/a/_manifests/tags/latest/current/link", &b""[..], "tag latest of repository a"),
        ("repositories/a/_manifests/tags/torn/current/link", b"sha256:", "tag torn of repository a"),
        ("blobs/sha256/{shelf}/{image}/data", b"", "repository a"),
        ("blobs/sha256/{shelf}/{image}/data", b"{\"not\":\"it\"}", "not what its digest says"),
        ("repositories/a/_layers/sha256/notadigest/link", b"x", "notadigest"),
    ] {
        let error = damage(path, content).await.unwrap_err().to_string();
        assert!(error.contains(named), "{path}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_points_to_nothing_stops_everything() {
    let driver = memory();
    furnish(&driver).await;
    let path = StoragePath::for_test("docker/registry/v2/repositories/a/_manifests/tags/lost/current/link");
    let nothing = Bytes::from(sha256(b"nothing").to_string());
    driver.write(&path, nothing, WriteMode::Overwrite).await.unwrap();
    let error = collect(&driver, Untagged::Keep).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    assert!(has_blob(&driver, "never finished").await);
}

#[tokio::test(start_paused = true)]
async fn a_tag_whose_manifest_is_on_its_way_is_waited_for() {
    let driver = memory();
    furnish(&driver).await;
    let late = image_of(&sha256(b"{}"), &[], "");
    let digest = sha256(&late);
    let path = StoragePath::for_test("docker/registry/v2/repositories/a/_manifests/tags/late/current/link");
    driver.write(&path, Bytes::from(digest.to_string()), WriteMode::Overwrite).await.unwrap();
    let arrive = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        push_blob(&registry(&driver), "a", b"{}").await;
        push(&registry(&driver), "a", late, None).await;
    };
    let (report, ()) = tokio::join!(collect(&driver, Untagged::Remove), arrive);
    report.unwrap();
    assert!(has_manifest(&driver, "a", &digest).await && has_blob(&driver, "{}").await);
}

#[tokio::test]
async fn distribution_writing_to_the_same_store_stops_it() {
    let driver = memory();
    furnish(&driver).await;
    let path = StoragePath::for_test("docker/registry/v2/repositories/a/_uploads/x/startedat");
    driver.write(&path, Bytes::from_static(b"now"), WriteMode::Overwrite).await.unwrap();
    let error = collect(&driver, Untagged::Keep).await.unwrap_err();
    assert!(error.to_string().contains("--offline"), "{error}");
    let offline = Collection { writers: crate::gc::Writers::Offline, ..no_grace(Untagged::Keep) };
    Collector::new(store(&driver), offline).collect(&|_| {}).await.unwrap();
    assert!(!has_blob(&driver, "never finished").await);
}

#[tokio::test]
async fn distribution_that_begins_to_write_while_a_collection_runs_stops_it() {
    let driver = memory();
    furnish(&driver).await;
    let before = objects(&driver).await;
    let path = StoragePath::for_test("docker/registry/v2/repositories/a/_uploads/x/startedat");
    let push = |event: Event<'_>| {
        if matches!(event, Event::Announced { .. }) {
            let write = driver.write(&path, Bytes::from_static(b"now"), WriteMode::Overwrite);
            write.now_or_never().unwrap().unwrap();
        }
    };
    let error = Collector::new(store(&driver), no_grace(Untagged::Remove)).collect(&push).await.unwrap_err();
    assert!(matches!(error, Error::MixedUse { .. }), "{error}");
    driver.delete(&path).await.unwrap();
    assert_eq!(objects(&driver).await, before);
    // Nobody has to finish what stopped.
    assert!(store(&driver).epochs().await.unwrap().active.is_empty());
    assert!(collect(&driver, Untagged::Remove).await.unwrap().removed.blobs > 0);
}

#[tokio::test]
async fn an_epoch_of_another_collector_is_left_alone_until_the_operator_says_so() {
    let driver = memory();
    let store = store(&driver);
    let digest = push_blob(&registry(&driver), "a", b"condemned").await;
    let epoch = EpochId::random();
    store.give_sign_of_life(epoch, 0, Bytes::from_static(b"{}"), WriteMode::Overwrite).await.unwrap();
    store.announce(epoch, &[Key::Blob(digest)]).await.unwrap();
    store.close(epoch).await.unwrap();
    store.decide(epoch, &[Key::Blob(digest)]).await.unwrap();
    let config = Collection { grace: Duration::from_hours(1), ..no_grace(Untagged::Keep) };
    let report = Collector::new(store.clone(), config).collect(&|_| {}).await.unwrap();
    assert_eq!((report.recovered, has_blob(&driver, "condemned").await), (0, true));
    let config = Collection { takeover: Takeover::Everything, ..config };
    let report = Collector::new(store, config).collect(&|_| {}).await.unwrap();
    assert_eq!((report.recovered, has_blob(&driver, "condemned").await), (1, false));
}

#[test]
fn large_removals_have_to_be_meant() {
    assert_eq!(Collection::default().large, LargeRemoval::Refused);
}
