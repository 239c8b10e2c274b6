//! Undoing: what comes back, what does not and is named, what is left alone, and what is freed when.

use std::time::SystemTime;

use super::*;
use crate::gc::{NotKept, Rescuer, Takeover};
use crate::storage::collection::{BinList, EpochId, Key};
use crate::storage::driver::faulty::{FAULTS, Fault, Faulty};
use crate::storage::driver::{Latency, WriteMode};

const SHAPED: &str = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"CONFIG","size":2},"layers":[]}"#;

/// Untagged things of every kind: an image, an index of it, a signature on both, a manifest whose type only its push told,
/// and a blob alone. Gives the manifests.
async fn furnish(driver: &Arc<dyn Driver>) -> Vec<Digest> {
    let registry = registry(driver);
    let image = push_image(&registry, "a", "layer", None, "").await;
    let index = push(&registry, "a", index_of(&[image]), None).await;
    let mut manifests = vec![image, index];
    for subject in [image, index] {
        let subject =
            format!(r#","subject":{{"mediaType":"{}","digest":"{subject}","size":1}}"#, MediaType::OCI_MANIFEST);
        manifests.push(push_image(&registry, "a", "signature", None, &subject).await);
    }
    let config = push_blob(&registry, "a", b"{}").await;
    let shaped = Bytes::from(SHAPED.replace("CONFIG", &config.to_string()));
    let digest = sha256(&shaped);
    let media_type = Some("application/vnd.example+json".parse().unwrap());
    registry.put_manifest(&name("a"), &Reference::Digest(digest), &[], media_type, shaped).await.unwrap();
    push_blob(&registry, "a/b", b"alone").await;
    manifests.push(digest);
    manifests
}

/// Everything that `furnish` wrote is there as it was.
async fn assert_back(driver: &Arc<dyn Driver>, before: &[String], manifests: &[Digest]) {
    let mut now = objects(driver).await;
    now.retain(|path| !path.ends_with("/_referrers/indexed"));
    assert_eq!(now, before);
    let last = manifests.last().unwrap();
    let (_, media_type) = store(driver).manifest(&name("a"), last, 1 << 20).await.unwrap().unwrap();
    assert_eq!(media_type.as_str(), "application/vnd.example+json");
}

async fn swept() -> (Arc<dyn Driver>, Vec<String>, Vec<Digest>) {
    let driver = memory();
    let manifests = furnish(&driver).await;
    let mut before = objects(&driver).await;
    before.retain(|path| !path.ends_with("/_referrers/indexed"));
    let report = collect(&driver, Untagged::Remove).await.unwrap();
    assert_eq!(report.kept.bytes, report.removed.bytes);
    assert!(report.kept.until.is_some());
    assert_eq!(objects(&driver).await, [""; 0]);
    (driver, before, manifests)
}

#[tokio::test]
async fn what_was_swept_comes_back_whole_and_counts_as_new() {
    let (driver, before, manifests) = swept().await;
    let told = undo(&driver).look().await.unwrap();
    assert_eq!(objects(&driver).await, [""; 0]);
    let swept_at = SystemTime::now();
    let report = undo(&driver).run().await.unwrap();
    assert_eq!((report.restored, report.collections), (told.restored, told.collections));
    assert_eq!((report.restored.manifests, report.restored.blobs), (5, 11));
    assert!(report.not_put_back.is_empty());
    assert_back(&driver, &before, &manifests).await;
    for path in &before {
        let stat = driver.stat(&StoragePath::for_test(path)).await.unwrap();
        assert!(stat.modified >= swept_at, "{path} would go with the next run");
    }
    assert_eq!(store(&driver).bins().await.unwrap(), []);
    let again = undo(&driver).run().await.unwrap();
    assert_eq!((again.collections, again.restored.blobs), (0, 0));
}

#[tokio::test]
async fn what_two_collections_removed_comes_back_together() {
    let driver = memory();
    let image = push_image(&registry(&driver), "a", "layer", Some("v1"), "").await;
    Collector::new(store(&driver), no_grace(Untagged::Remove)).remove_repository(&name("a"), &|_| {}).await.unwrap();
    collect(&driver, Untagged::Keep).await.unwrap();
    assert!(!has_blob(&driver, "layer").await);
    let report = undo(&driver).run().await.unwrap();
    assert_eq!((report.collections, report.restored.manifests, report.restored.layer_links), (2, 1, 2));
    assert!(has_manifest(&driver, "a", &image).await);
    assert!(registry(&driver).manifest(&name("a"), &Reference::Tag(tag("v1"))).await.is_err(), "a tag is not undone");
}

#[tokio::test(start_paused = true)]
async fn every_call_of_an_undoing_may_fail_and_another_one_finishes_it() {
    for fault in FAULTS {
        for number in 0.. {
            let (memory, before, manifests) = swept().await;
            let faulty = Faulty::new(Arc::clone(&memory));
            faulty.fail(number, fault);
            let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
            let result = undo(&driver).run().await;
            let calls = faulty.calls().len();
            faulty.heal();
            let again = undo(&driver).run().await.unwrap();
            assert_eq!(again.not_put_back, [], "call {number} failed by {fault:?}: {result:?}");
            assert_back(&memory, &before, &manifests).await;
            assert_eq!(store(&memory).bins().await.unwrap(), []);
            if calls <= number {
                assert!(result.unwrap().not_put_back.is_empty());
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_lost_a_part_is_named_and_stays_until_the_part_is_back() {
    let (driver, _, manifests) = swept().await;
    let [bin] = store(&driver).bins().await.unwrap()[..] else { panic!("one bin") };
    let layer = sha256(b"layer");
    store(&driver).drop_from_bin(bin, &[layer]).await.unwrap();
    let report = undo(&driver).run().await.unwrap();
    let named: Vec<&str> = report.not_put_back.iter().map(|failed| &*failed.what).collect();
    let [image, index] = [manifests[0], manifests[1]].map(|digest| format!("manifest {digest} of repository a"));
    for what in [&image, &index, &format!("content {layer}"), &format!("the link of repository a to blob {layer}")] {
        assert!(named.contains(&&**what), "{what}: {named:?}");
    }
    assert!(!has_manifest(&driver, "a", &manifests[0]).await && has_manifest(&driver, "a", &manifests[4]).await);
    assert!(
        report.not_put_back.iter().any(|failed| failed.what == image && failed.reason.contains(&layer.to_string()))
    );
    push_blob(&registry(&driver), "a", b"layer").await;
    let report = undo(&driver).run().await.unwrap();
    assert_eq!(report.not_put_back, []);
    assert!(has_manifest(&driver, "a", &manifests[1]).await);
    assert_eq!(store(&driver).bins().await.unwrap(), []);
}

#[tokio::test]
async fn what_distribution_keeps_under_another_digest_finds_its_content_again() {
    let driver = memory();
    let content = push_blob(&registry(&driver), "a", b"by sha512").await;
    let long = Hasher::digest(Algorithm::Sha512, b"by sha512");
    store(&driver).link_blob(&name("a"), &long, &content).await.unwrap();
    collect(&driver, Untagged::Remove).await.unwrap();
    assert_eq!(objects(&driver).await, [""; 0]);
    assert_eq!(undo(&driver).run().await.unwrap().not_put_back, []);
    assert_eq!(store(&driver).survey_link(&name("a"), &long).await.unwrap(), Some(content));
    assert_eq!(registry(&driver).blob_size(&name("a"), &long).await.unwrap(), 9);
}

#[tokio::test]
async fn a_collection_that_goes_on_is_left_alone_by_undoing_and_by_emptying() {
    let driver = memory();
    let store = store(&driver);
    let digest = push_blob(&registry(&driver), "a", b"condemned").await;
    let epoch = EpochId::random();
    let keys = [Key::Blob(digest)];
    store.give_sign_of_life(epoch, 0, Bytes::from_static(b"{}"), WriteMode::Overwrite).await.unwrap();
    store.announce(epoch, &keys).await.unwrap();
    store.close(epoch).await.unwrap();
    store.decide(epoch, &keys).await.unwrap();
    let mut list = BinList::default();
    list.push(&store.describe(&keys[0]).await.unwrap());
    store.begin_bin(epoch, Duration::ZERO, list).await.unwrap();
    store.put_into_bin(epoch, &[digest]).await.unwrap();
    let report = undo(&driver).run().await.unwrap();
    assert_eq!((report.collections, report.being_swept), (0, 1));
    Rescuer::new(store.clone(), 1 << 20).empty_bins().await.unwrap();
    assert_eq!(store.content_in_bin(epoch).await.unwrap(), [(digest, 9)]);
    store.retire(epoch, &keys).await.unwrap();
    Rescuer::new(store.clone(), 1 << 20).empty_bins().await.unwrap();
    assert_eq!(store.bins().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_finishes_can_be_put_back_as_well() {
    for number in 0.. {
        let driver = memory();
        let manifests = furnish(&driver).await;
        let mut before = objects(&driver).await;
        before.retain(|path| !path.ends_with("/_referrers/indexed"));
        let faulty = Faulty::new(Arc::clone(&driver));
        faulty.fail(number, Fault::Hang);
        let dying: Arc<dyn Driver> = Arc::new(faulty.clone());
        let collector = Collector::new(store(&dying), no_grace(Untagged::Remove));
        let died = tokio::time::timeout(Duration::from_mins(1), collector.collect(&|_| {})).await.is_err();
        let config = Collection { takeover: Takeover::Everything, ..no_grace(Untagged::Remove) };
        Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
        assert_eq!(objects(&driver).await, [""; 0]);
        let report = undo(&driver).run().await.unwrap();
        assert_eq!((report.not_put_back, report.being_swept), (Vec::new(), 0), "died at call {number}");
        assert_back(&driver, &before, &manifests).await;
        if !died {
            break;
        }
    }
}

#[tokio::test]
async fn nothing_is_kept_where_that_is_not_wanted_or_room_is_short_or_in_a_bucket() {
    let run = |driver: Arc<dyn Driver>, keep| async move {
        push_image(&registry(&driver), "a", "layer", None, "").await;
        let config = Collection { keep_removed: keep, ..no_grace(Untagged::Remove) };
        let report = Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
        assert_eq!((report.removed.blobs, report.kept.bytes, report.kept.until), (3, 0, None));
        assert_eq!(store(&driver).bins().await.unwrap(), []);
        report.kept.not_kept
    };
    let day = Duration::from_hours(24);
    assert_eq!(run(memory(), Duration::ZERO).await, None);
    assert_eq!(run(Arc::new(Memory::new().with_space(14, 100)), day).await, Some(NotKept::ShortOfSpace));
    assert_eq!(run(Arc::new(Memory::new()), day).await, None);
    assert_eq!(run(Arc::new(Faulty::at(Latency::Remote, memory())), day).await, None);
}

#[tokio::test]
async fn what_is_kept_is_freed_by_a_run_that_keeps_nothing_and_when_its_time_is_over() {
    let (driver, ..) = swept().await;
    collect(&driver, Untagged::Remove).await.unwrap();
    assert_eq!(Rescuer::new(store(&driver), 1 << 20).empty_bins().await.unwrap(), 0, "not yet");
    let config = Collection { keep_removed: Duration::ZERO, ..no_grace(Untagged::Remove) };
    let report = Collector::new(store(&driver), config).collect(&|_| {}).await.unwrap();
    assert!(report.emptied_bytes > 0);
    assert_eq!(store(&driver).bins().await.unwrap(), []);

    let memory = Memory::new();
    let (roomy, full): (Arc<dyn Driver>, Arc<dyn Driver>) =
        (Arc::new(memory.with_space(15, 100)), Arc::new(memory.with_space(14, 100)));
    push_blob(&registry(&roomy), "a", b"alone").await;
    assert_eq!(collect(&roomy, Untagged::Remove).await.unwrap().kept.bytes, 5);
    assert_eq!(Rescuer::new(store(&roomy), 1 << 20).empty_bins().await.unwrap(), 0);
    assert_eq!(Rescuer::new(store(&full), 1 << 20).empty_bins().await.unwrap(), 5, "room is short now");

    push_blob(&registry(&driver), "a", b"alone").await;
    let brief = Collection { keep_removed: Duration::from_nanos(1), ..no_grace(Untagged::Remove) };
    let report = Collector::new(store(&driver), brief).collect(&|_| {}).await.unwrap();
    assert_eq!(report.kept.bytes, 5);
    assert_eq!(Rescuer::new(store(&driver), 1 << 20).empty_bins().await.unwrap(), 5);
}
