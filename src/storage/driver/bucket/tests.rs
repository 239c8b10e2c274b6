//! The contract of drivers on a bucket in memory, and what only a bucket has: requests that are counted, sessions over
//! several parts, requests that fail.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::fake::{Conditions, Fake, Fault};
use super::multipart::OpenMultipart;
use super::{Bucket, Limits, Service};
use crate::storage::driver::{
    Capabilities, Driver, Kept, PresignMethod, Reading, Unfinished, WriteMode, contract::contract_tests,
};
use crate::storage::error::{Error, Result, Retry};
use crate::storage::layout::StoragePath;

/// Requests that fail.
#[path = "tests_faults.rs"]
mod faults;

mod contract {
    use super::*;

    contract_tests!({
        let driver: Arc<dyn Driver> = Arc::new(Bucket::new(Arc::new(Fake::new(64 * 1024)), "/some/place/"));
        (driver, ())
    });
}

/// Bytes of a part in these tests.
const PART: usize = 1000;

fn bucket() -> (Fake, Bucket) {
    let fake = Fake::new(PART as u64);
    (fake.clone(), Bucket::new(Arc::new(fake), ""))
}

fn at(path: &str) -> StoragePath {
    StoragePath::for_test(&format!("docker/registry/v2/{path}"))
}

fn staging() -> StoragePath {
    at("repositories/a/_uploads/1/data")
}

fn target() -> StoragePath {
    at("blobs/sha256/aa/aaaa/data")
}

fn content(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect::<Vec<u8>>().into()
}

/// Waits until nothing is done behind the caller's back any more.
async fn settle(fake: &Fake, done: impl Fn(&Fake) -> bool) {
    let waiting = async {
        while !done(fake) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "objects {:?}, {} uploads", fake.keys(), fake.open_uploads());
}

fn only_the_target(fake: &Fake) -> bool {
    fake.keys() == [target().as_str()] && fake.open_uploads() == 0
}

/// Appends `content` to the session in a request of its own.
async fn patch(bucket: &Bucket, state: &[u8], content: &Bytes) -> Result<Vec<u8>> {
    let mut session =
        if state.is_empty() { bucket.stage(&staging()).await? } else { bucket.resume(&staging(), state).await? };
    session.append(vec![content.clone()]).await?;
    session.suspend().await
}

async fn put(bucket: &Bucket, state: &[u8]) -> Result<()> {
    bucket.resume(&staging(), state).await?.publish(&target()).await
}

async fn assert_published(bucket: &Bucket, content: &Bytes) {
    assert!(bucket.read(&target(), u64::MAX).await.unwrap() == *content, "{} bytes", content.len());
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_costs_what_it_must() {
    let (fake, bucket) = bucket();
    let state = patch(&bucket, &[], &content(500)).await.unwrap();
    assert_eq!(fake.verbs(), ["put"]);
    fake.fail(&[]);
    put(&bucket, &state).await.unwrap();
    settle(&fake, only_the_target).await;
    assert_eq!(fake.verbs(), ["copy", "delete"]);
    assert_published(&bucket, &content(500)).await;
}

#[tokio::test(start_paused = true)]
async fn what_uploads_leave_is_removed_in_one_request() {
    let (fake, bucket) = bucket();
    for length in [1, 2, 3] {
        let state = patch(&bucket, &[], &content(length)).await.unwrap();
        put(&bucket, &state).await.unwrap();
    }
    fake.fail(&[]);
    settle(&fake, only_the_target).await;
    assert_eq!(fake.verbs(), ["delete"]);
    // Whatever comes later is removed later.
    let state = patch(&bucket, &[], &content(4)).await.unwrap();
    put(&bucket, &state).await.unwrap();
    settle(&fake, only_the_target).await;
}

#[tokio::test]
async fn a_blob_with_a_known_digest_is_written_once() {
    let (fake, bucket) = bucket();
    for (length, first, second) in [
        (500, &["head", "put"][..], &["head"][..]),
        (PART, &["head", "put"], &["head"]),
        (PART + 1, &["head", "begin", "part", "part", "complete"], &["head"]),
    ] {
        bucket.delete(&target()).await.unwrap();
        for expected in [first, second] {
            fake.fail(&[]);
            let mut direct = bucket.create(&target(), Some(length as u64)).await.unwrap();
            for piece in content(length).chunks(300) {
                direct.append(vec![Bytes::copy_from_slice(piece)]).await.unwrap();
            }
            direct.publish(&target()).await.unwrap();
            assert_eq!(fake.verbs(), expected, "{length} bytes");
            assert_published(&bucket, &content(length)).await;
        }
    }
    settle(&fake, only_the_target).await;
}

#[tokio::test]
async fn a_completion_of_which_nobody_knows_is_worth_another_try() {
    let (fake, bucket) = bucket();
    let upload = OpenMultipart::begin(&bucket.store, "k").await.unwrap();
    fake.abort_multipart(upload.upload()).await.unwrap();
    fake.fail(&[(1, Fault::Before)]);
    let error = upload.complete(&[], 1).await.unwrap_err();
    assert!(matches!(error, Error::Backend { retry: Retry::Later, .. }), "{error}");
    assert!(upload.complete(&[], 1).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn reading_costs_one_request() {
    let (fake, bucket) = bucket();
    bucket.write(&target(), content(50_000), WriteMode::Overwrite).await.unwrap();
    fake.fail(&[]);
    bucket.stat(&target()).await.unwrap();
    bucket.read(&target(), 50_000).await.unwrap();
    let object = bucket.open(&target(), Reading::Whole).await.unwrap();
    let super::super::Content::Remote(remote) = &object.content else { panic!("{object:?}") };
    let read: Vec<Bytes> = futures_util::TryStreamExt::try_collect(remote.read_range(0..50_000)).await.unwrap();
    assert!(read.concat() == content(50_000));
    assert_eq!(fake.verbs(), ["head", "get", "get"]);
    assert!(bucket.read(&target(), 49_999).await.is_err());
    let url = bucket.presigned_url(&target(), PresignMethod::Head).await.unwrap().unwrap();
    assert!(url.ends_with("?Head&1200"), "{url}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_again() {
    let (fake, bucket) = bucket();
    bucket.write(&target(), content(50_000), WriteMode::Overwrite).await.unwrap();
    fake.fail(&[(0, Fault::Short), (1, Fault::Short), (2, Fault::Before), (3, Fault::After)]);
    let object = bucket.open(&target(), Reading::Whole).await.unwrap();
    let super::super::Content::Remote(remote) = &object.content else { panic!("{object:?}") };
    let collect = |range| futures_util::TryStreamExt::try_collect::<Vec<Bytes>>(remote.read_range(range));
    assert!(collect(0..50_000).await.unwrap().concat() == content(50_000));
    assert_eq!(fake.verbs().len(), 5);
    fake.fail(&[(0, Fault::Short), (1, Fault::Short)]);
    assert!(bucket.read(&target(), 50_000).await.unwrap() == content(50_000));
    // A store that never gets anywhere is given up, and one whose object changed gives no other bytes.
    fake.fail(&(0..20).map(|number| (number, Fault::Before)).collect::<Vec<_>>());
    assert!(collect(5..50_000).await.is_err());
    assert_eq!(fake.verbs().len(), 6);
    fake.fail(&[(1, Fault::Short)]);
    bucket.write(&target(), content(50_000), WriteMode::Overwrite).await.unwrap();
    assert!(collect(5..50_000).await.is_err());
}

#[tokio::test]
async fn sessions_of_every_length_are_published_whole() {
    for lengths in [
        &[PART][..],
        &[PART + 1],
        &[PART - 1, 1],
        &[PART - 1, 2],
        &[PART, PART],
        &[1, 1, 1, 5 * PART, 1],
        &[2500, 2500, 1],
        &[0, 700, 0, 700],
        &[12_345],
    ] {
        let (fake, bucket) = bucket();
        let all = content(lengths.iter().sum());
        let (mut rest, mut state) = (all.clone(), Vec::new());
        for &length in lengths {
            state = patch(&bucket, &state, &rest.split_to(length)).await.unwrap();
            let so_far = (all.len() - rest.len()) as u64;
            assert_eq!(bucket.staged_length(&staging(), &state).await.unwrap(), so_far);
        }
        let mut session = bucket.resume(&staging(), &state).await.unwrap();
        let end = all.len() as u64;
        assert!(session.read_back(0..end).await.unwrap() == all);
        assert!(session.read_back(end / 3..end - 1).await.unwrap() == all[all.len() / 3..all.len() - 1]);
        session.publish(&target()).await.unwrap();
        assert_published(&bucket, &all).await;
        settle(&fake, only_the_target).await;
    }
}

#[tokio::test]
async fn the_last_bytes_may_come_with_the_digest() {
    for (patched, closing) in [(0, 10), (0, 5000), (300, 200), (300, 701), (5000, 1), (5300, 4000)] {
        let (fake, bucket) = bucket();
        let all = content(patched + closing);
        let mut session = if patched == 0 {
            bucket.stage(&staging()).await.unwrap()
        } else {
            let state = patch(&bucket, &[], &all.slice(..patched)).await.unwrap();
            bucket.resume(&staging(), &state).await.unwrap()
        };
        session.append(vec![all.slice(patched..)]).await.unwrap();
        session.publish(&target()).await.unwrap();
        assert_published(&bucket, &all).await;
        settle(&fake, only_the_target).await;
    }
}

#[tokio::test]
async fn hundreds_of_patches_keep_a_small_state() {
    let (fake, bucket) = bucket();
    let all = content(130 * 1100);
    let mut state = Vec::new();
    for piece in all.chunks(1100) {
        let before = state;
        state = patch(&bucket, &before, &Bytes::copy_from_slice(piece)).await.unwrap();
        assert!(state.len() < 1000, "{}", state.len());
        if !before.is_empty() {
            // The answer may not have come through: the state before still works.
            let length = bucket.staged_length(&staging(), &before).await.unwrap();
            let mut session = bucket.resume(&staging(), &before).await.unwrap();
            let last = session.read_back(length - 100..length).await.unwrap();
            assert_eq!(last, all[usize::try_from(length).unwrap() - 100..usize::try_from(length).unwrap()]);
        }
    }
    put(&bucket, &state).await.unwrap();
    assert_published(&bucket, &all).await;
    settle(&fake, only_the_target).await;
}

#[tokio::test]
async fn a_replayed_state_never_changes_what_another_state_names() {
    let (fake, bucket) = bucket();
    let first = patch(&bucket, &[], &content(1500)).await.unwrap();
    let honest = patch(&bucket, &first, &Bytes::from(vec![b'h'; 1000])).await.unwrap();
    let other = patch(&bucket, &first, &Bytes::from(vec![b'o'; 1000])).await.unwrap();
    assert_ne!(honest, other);
    put(&bucket, &honest).await.unwrap();
    assert_published(&bucket, &[&content(1500)[..], &[b'h'; 1000]].concat().into()).await;
    drop(fake);
}

#[tokio::test]
async fn smaller_parts_than_the_store_takes_are_written_anew() {
    let (fake, small) = bucket();
    let all = content(5500);
    let state = patch(&small, &[], &all).await.unwrap();
    let limits = Limits { part: 3000, least_part: 2000, copy: 1 << 30, copies_at_once: 4 };
    let large = Bucket::new(Arc::new(fake.with_limits(limits)), "");
    put(&large, &state).await.unwrap();
    assert_published(&large, &all).await;
    settle(&fake, only_the_target).await;
}

#[tokio::test]
async fn a_dropped_request_leaves_only_what_a_state_names() {
    let (fake, bucket) = bucket();
    let state = patch(&bucket, &[], &content(1500)).await.unwrap();
    let named = fake.keys();
    let mut session = bucket.resume(&staging(), &state).await.unwrap();
    session.append(vec![content(5000)]).await.unwrap();
    drop(session);
    settle(&fake, |fake| fake.keys() == named).await;
    let mut direct = bucket.create(&target(), None).await.unwrap();
    direct.append(vec![content(5000)]).await.unwrap();
    assert_eq!(fake.open_uploads(), 1);
    drop(direct);
    settle(&fake, |fake| fake.open_uploads() == 0).await;
    bucket.discard_staged(&staging(), &state).await.unwrap();
    assert!(fake.keys().is_empty());
}

#[tokio::test]
async fn abandoned_uploads_are_aborted_when_they_are_old() {
    let fake = Fake::new(PART as u64);
    let bucket = Bucket::new(Arc::new(fake.clone()), "root");
    for number in 0..5 {
        fake.begin_multipart(&format!("root/docker/registry/v2/{number}")).await.unwrap();
    }
    fake.begin_multipart("another/docker/registry/v2/x").await.unwrap();
    let fourth = SystemTime::UNIX_EPOCH + Duration::from_secs(4);
    assert_eq!(bucket.unfinished_writes(fourth, Unfinished::Count).await.unwrap(), 3);
    assert_eq!(bucket.unfinished_writes(fourth, Unfinished::Remove).await.unwrap(), 3);
    assert_eq!(fake.open_uploads(), 3);
    assert_eq!(bucket.unfinished_writes(SystemTime::now(), Unfinished::Remove).await.unwrap(), 2);
    assert_eq!(fake.open_uploads(), 1);
}

#[tokio::test]
async fn the_probe_tells_what_the_store_keeps_and_leaves_nothing() {
    let fake = Fake::new(PART as u64);
    for (conditions, create_only) in [(Conditions::Honoured, Kept::Yes), (Conditions::Ignored, Kept::No)] {
        let bucket = Bucket::new(Arc::new(fake.with_conditions(conditions)), "root");
        let expected = Capabilities { create_only, read_after_write: Kept::Yes, list_after_write: Kept::Yes };
        assert_eq!(bucket.capabilities().await.unwrap(), expected);
        assert!(fake.keys().is_empty());
        bucket.write(&target(), "first".into(), WriteMode::CreateOnly).await.unwrap();
        let second = bucket.write(&target(), "second".into(), WriteMode::CreateOnly).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })));
        bucket.delete(&target()).await.unwrap();
    }
}
