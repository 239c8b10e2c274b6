//! What pushes that were never acknowledged leave behind beside a collection, and pushes that many collections overtake.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::interleavings::Stepping;
use super::*;

fn at(path: &str) -> StoragePath {
    StoragePath::for_test(&format!("docker/registry/v2/{path}"))
}

fn revision_link(digest: &Digest) -> StoragePath {
    at(&format!("repositories/a/_manifests/revisions/sha256/{}/link", digest.hex()))
}

async fn write(driver: &Arc<dyn Driver>, path: &StoragePath, content: String) {
    driver.write(path, content.into(), crate::storage::driver::WriteMode::Overwrite).await.unwrap();
}

/// Writes the ends of all epochs again, as if what was written before this had been written before them.
async fn end_again(driver: &Arc<dyn Driver>) {
    let epochs = at("gc/epochs");
    for entry in &*driver.list(&epochs, &ListPage::all()).await.unwrap().entries {
        if entry.name.ends_with(".retired") {
            let path = at(&format!("gc/epochs/{}", entry.name));
            let content = driver.read(&path, u64::MAX).await.unwrap();
            driver.write(&path, content, crate::storage::driver::WriteMode::Overwrite).await.unwrap();
        }
    }
}

/// An image that stands, and the digest of one that was collected.
async fn one_collected() -> (Arc<dyn Driver>, Digest) {
    let driver = memory();
    push_image(&registry(&driver), "a", "stands", Some("stands"), "").await;
    let gone = push_image(&registry(&driver), "a", "gone", None, "").await;
    assert_eq!(collect(&driver, Untagged::Remove).await.unwrap().removed.manifests, 1);
    assert!(!has_manifest(&driver, "a", &gone).await);
    (driver, gone)
}

#[tokio::test(start_paused = true)]
async fn a_link_put_back_by_a_push_that_died_stops_nothing_and_goes() {
    for untagged in [Untagged::Keep, Untagged::Remove] {
        let (driver, gone) = one_collected().await;
        write(&driver, &revision_link(&gone), gone.to_string()).await;
        end_again(&driver).await;
        let garbage = push_blob(&registry(&driver), "a", b"garbage").await;
        let report = collect(&driver, untagged).await.unwrap();
        assert_eq!((report.removed.manifests, report.removed.blobs), (1, 1), "{untagged:?}");
        assert!(!has_manifest(&driver, "a", &gone).await);
        assert!(store(&driver).content_size(&garbage).await.unwrap().is_none());
        // And the image can be pushed again.
        assert_eq!(push_image(&registry(&driver), "a", "gone", Some("gone"), "").await, gone);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_put_back_by_a_push_that_died_stops_nothing() {
    let (driver, gone) = one_collected().await;
    let tag = at("repositories/a/_manifests/tags/gone/current/link");
    write(&driver, &tag, gone.to_string()).await;
    end_again(&driver).await;
    push_blob(&registry(&driver), "a", b"garbage").await;
    assert_eq!(collect(&driver, Untagged::Remove).await.unwrap().removed.blobs, 1);
    // A tag is never removed: somebody may be pointing it to something else at this very moment.
    assert!(driver.stat(&tag).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_written_after_the_collection_is_no_remnant() {
    let (driver, gone) = one_collected().await;
    write(&driver, &revision_link(&gone), gone.to_string()).await;
    assert!(matches!(collect(&driver, Untagged::Remove).await, Err(Error::Unreadable { .. })));
    driver.delete(&revision_link(&gone)).await.unwrap();
    let tag = at("repositories/a/_manifests/tags/gone/current/link");
    write(&driver, &tag, gone.to_string()).await;
    assert!(matches!(collect(&driver, Untagged::Remove).await, Err(Error::Unreadable { .. })));
}

/// The one tag says nothing of the other.
#[tokio::test(start_paused = true)]
async fn a_remnant_does_not_excuse_another_tag_of_the_same_manifest() {
    let (driver, gone) = one_collected().await;
    write(&driver, &at("repositories/a/_manifests/tags/a/current/link"), gone.to_string()).await;
    end_again(&driver).await;
    write(&driver, &at("repositories/a/_manifests/tags/b/current/link"), gone.to_string()).await;
    assert!(matches!(collect(&driver, Untagged::Remove).await, Err(Error::Unreadable { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_no_collection_removed_is_no_remnant() {
    let (driver, _) = one_collected().await;
    let stands = image_of(&sha256(b"config of stands"), &[sha256(b"stands")], "");
    let digest = sha256(&stands);
    driver.delete(&at(&format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex()))).await.unwrap();
    end_again(&driver).await;
    assert!(matches!(collect(&driver, Untagged::Remove).await, Err(Error::Unreadable { .. })));
    assert!(has_blob(&driver, "stands").await);
}

/// A push takes more steps than this at each attempt, so a collection ends during every one.
const STEPS_BETWEEN: usize = 4;

/// Such a push used to start over until it gave up.
#[tokio::test(start_paused = true)]
async fn collections_that_take_nothing_of_a_push_do_not_hold_it_up() {
    let driver = memory();
    push_image(&registry(&driver), "a", "layer", None, "").await;
    let slow: Arc<dyn Driver> = Arc::new(Stepping::new(Arc::clone(&driver)));
    let slow = registry(&slow);
    let manifest = image_of(&sha256(b"config of layer"), &[sha256(b"layer")], r#","annotations":{}"#);
    let mut push = pin!(push(&slow, "a", manifest, Some("new")));
    let mut steps = 0;
    let pushed = loop {
        match push.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(digest) => break digest,
            Poll::Pending => {
                steps += 1;
                if steps % STEPS_BETWEEN == 0 {
                    push_blob(&registry(&driver), "b", format!("garbage {steps}").as_bytes()).await;
                    assert!(collect(&driver, Untagged::Keep).await.unwrap().removed.blobs > 0);
                }
                assert!(steps < 500, "the push does not come to its end");
            }
        }
    };
    assert!(steps > STEPS_BETWEEN && has_manifest(&driver, "a", &pushed).await);
}
