//! Clauses about staged writes: appending, suspending, publishing, giving up.

use std::sync::Arc;

use bytes::Bytes;

use super::{PLENTY, at, eventually, get, pattern, put};
use crate::storage::driver::{Driver, ListPage, StagedWrite, WriteMode};
use crate::storage::error::Error;
use crate::storage::layout::StoragePath;

fn staging() -> StoragePath {
    at("r/_uploads/one/data")
}

async fn staged(driver: &dyn Driver, content: &str) -> Box<dyn StagedWrite> {
    let mut staged = driver.stage(&staging()).await.unwrap();
    staged.append(vec![Bytes::copy_from_slice(content.as_bytes())]).await.unwrap();
    staged
}

/// That nothing is left at the staging path of a write that held something.
async fn assert_gone(driver: &dyn Driver, state: &[u8]) {
    eventually("the staging place is empty", || async {
        driver.list(&at("r/_uploads"), &ListPage::all()).await.unwrap().entries.is_empty()
    })
    .await;
    assert!(needing_the_bytes(driver, state).await.is_not_found());
    assert!(driver.staged_length(&staging(), state).await.unwrap_err().is_not_found());
}

/// What who takes up a write that is not there is told, at the latest when its bytes are needed.
async fn needing_the_bytes(driver: &dyn Driver, state: &[u8]) -> Error {
    match driver.resume(&staging(), state).await {
        Ok(mut staged) => staged.read_back(0..staged.length()).await.unwrap_err(),
        Err(error) => error,
    }
}

pub(in crate::storage) async fn publishing_makes_visible_and_leaves_no_staging(driver: Arc<dyn Driver>) {
    for (target, content) in [("b/1/data", ""), ("b/2/data", "content")] {
        let mut staged = driver.stage(&staging()).await.unwrap();
        assert_eq!(staged.length(), 0);
        staged.append(vec![Bytes::from(content)]).await.unwrap();
        assert_eq!(staged.length(), content.len() as u64);
        let state = staged.suspend().await.unwrap();
        let staged = driver.resume(&staging(), &state).await.unwrap();
        staged.publish(&at(target)).await.unwrap();
        assert_eq!(get(&*driver, target).await.as_deref(), Some(content));
        if !content.is_empty() {
            assert_gone(&*driver, &state).await;
        }
    }
    // Without ever having been suspended or written to.
    driver.stage(&staging()).await.unwrap().publish(&at("b/3/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/3/data").await.as_deref(), Some(""));
}

pub(in crate::storage) async fn nothing_is_visible_before_publishing(driver: Arc<dyn Driver>) {
    let staged = staged(&*driver, "content").await;
    assert_eq!(get(&*driver, "b/data").await, None);
    let names = driver.list(&at("r"), &ListPage::all()).await.unwrap();
    assert!(names.entries.iter().all(|entry| entry.name == "_uploads"));
    staged.publish(&at("b/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/data").await.as_deref(), Some("content"));
}

pub(in crate::storage) async fn publishing_replaces(driver: Arc<dyn Driver>) {
    put(&*driver, "b/data", "a damaged and longer content").await;
    staged(&*driver, "content").await.publish(&at("b/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/data").await.as_deref(), Some("content"));
}

pub(in crate::storage) async fn appends_pieces_of_every_size_in_order(driver: Arc<dyn Driver>) {
    let content = pattern(3_000_000);
    let mut staged = driver.stage(&staging()).await.unwrap();
    let mut rest = content.clone();
    for round in 0_usize.. {
        if rest.is_empty() {
            break;
        }
        // Few and many chunks, empty ones, single bytes and large ones.
        let sizes = [0, 1, 4096, 0, 70_000, round * 1000, 3].into_iter().cycle().take(1 + (round * 37) % 150);
        let chunks = sizes.map(|size| rest.split_to(rest.len().min(size))).collect();
        staged.append(chunks).await.unwrap();
        assert_eq!(staged.length(), (content.len() - rest.len()) as u64);
    }
    staged.publish(&at("b/data")).await.unwrap();
    assert!(driver.read(&at("b/data"), PLENTY).await.unwrap() == content);
}

pub(in crate::storage) async fn a_suspended_write_goes_on(driver: Arc<dyn Driver>) {
    let mut state = driver.stage(&staging()).await.unwrap().suspend().await.unwrap();
    for round in 0..5_u64 {
        let mut staged = driver.resume(&staging(), &state).await.unwrap();
        assert_eq!(staged.length(), round * 4);
        staged.append(vec!["ab".into(), "cd".into()]).await.unwrap();
        state = staged.suspend().await.unwrap();
        assert_eq!(driver.staged_length(&staging(), &state).await.unwrap(), (round + 1) * 4);
    }
    driver.resume(&staging(), &state).await.unwrap().publish(&at("b/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/data").await.unwrap(), "abcd".repeat(5));
}

pub(in crate::storage) async fn dropping_keeps_what_was_suspended(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "first").await.suspend().await.unwrap();
    let mut staged = driver.resume(&staging(), &state).await.unwrap();
    staged.append(vec!["second".into()]).await.unwrap();
    drop(staged);
    let mut staged = driver.resume(&staging(), &state).await.unwrap();
    let length = staged.length();
    assert!((5..=11).contains(&length), "{length}");
    let kept = staged.read_back(0..length).await.unwrap();
    assert!("firstsecond".as_bytes().starts_with(&kept));
    assert_eq!(kept.len() as u64, length);
}

pub(in crate::storage) async fn a_held_write_is_busy(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "first").await.suspend().await.unwrap();
    let held = driver.resume(&staging(), &state).await.unwrap();
    let error = driver.resume(&staging(), &state).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(driver.staged_length(&staging(), &state).await.unwrap(), 5);
    drop(held);
    drop(driver.resume(&staging(), &state).await.unwrap());
}

pub(in crate::storage) async fn staging_at_a_used_path_is_refused(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "first").await.suspend().await.unwrap();
    let error = driver.stage(&staging()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(driver.staged_length(&staging(), &state).await.unwrap(), 5);
}

pub(in crate::storage) async fn foreign_states_are_stale(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "first").await.suspend().await.unwrap();
    for foreign in [&b"\0"[..], b"garbage that nobody issued", &[0xff; 64], &state[..state.len() - 1]] {
        let error = driver.resume(&staging(), foreign).await.unwrap_err();
        assert!(matches!(error, Error::StaleState { .. }), "{foreign:?}: {error}");
        let error = driver.staged_length(&staging(), foreign).await.unwrap_err();
        assert!(matches!(error, Error::StaleState { .. }), "{foreign:?}: {error}");
    }
    drop(driver.resume(&staging(), &state).await.unwrap());
}

pub(in crate::storage) async fn a_state_promising_more_than_is_there_is_refused(driver: Arc<dyn Driver>) {
    let old = staged(&*driver, "a long content").await.suspend().await.unwrap();
    driver.discard_staged(&staging(), &old).await.unwrap();
    let new = staged(&*driver, "short").await.suspend().await.unwrap();
    let error = needing_the_bytes(&*driver, &old).await;
    assert!(matches!(error, Error::StaleState { .. } | Error::NotFound { .. }), "{error}");
    assert_eq!(driver.resume(&staging(), &new).await.unwrap().length(), 5);
}

pub(in crate::storage) async fn aborting_leaves_nothing(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "content").await.suspend().await.unwrap();
    driver.resume(&staging(), &state).await.unwrap().abort().await.unwrap();
    assert_gone(&*driver, &state).await;
    staged(&*driver, "again").await.publish(&at("b/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/data").await.as_deref(), Some("again"));
}

pub(in crate::storage) async fn discarding_ends_a_held_write(driver: Arc<dyn Driver>) {
    let state = staged(&*driver, "content").await.suspend().await.unwrap();
    let held = driver.resume(&staging(), &state).await.unwrap();
    driver.discard_staged(&staging(), &state).await.unwrap();
    driver.discard_staged(&staging(), &state).await.unwrap();
    assert_gone(&*driver, &state).await;
    // Somebody else starts at the same path: the one who was discarded must not publish that.
    let other = staged(&*driver, "other").await;
    assert!(held.publish(&at("b/data")).await.unwrap_err().is_not_found());
    assert_eq!(get(&*driver, "b/data").await, None);
    other.publish(&at("b/data")).await.unwrap();
    assert_eq!(get(&*driver, "b/data").await.as_deref(), Some("other"));
}

pub(in crate::storage) async fn reads_back_what_was_appended(driver: Arc<dyn Driver>) {
    let content = pattern(500_000);
    let mut staged = driver.stage(&staging()).await.unwrap();
    staged.append(vec![content.slice(..300_000)]).await.unwrap();
    staged.append(vec![content.slice(300_000..)]).await.unwrap();
    for range in [0..0, 0..1, 299_990..300_010, 0..500_000, 499_999..500_000] {
        let wanted = content.slice(range.start..range.end);
        assert!(staged.read_back(range.start as u64..range.end as u64).await.unwrap() == wanted, "{range:?}");
    }
    staged.append(vec!["more".into()]).await.unwrap();
    assert_eq!(staged.read_back(500_000..500_004).await.unwrap(), "more");
}

pub(in crate::storage) async fn a_direct_write_is_seen_when_published_and_forgotten_when_dropped(
    driver: Arc<dyn Driver>,
) {
    let target = at("b/direct/data");
    let begin = || async {
        let mut direct = driver.create(&target, Some(7)).await.unwrap();
        direct.append(vec![Bytes::from("con"), Bytes::from("tent")]).await.unwrap();
        assert_eq!(direct.length(), 7);
        direct
    };
    drop(begin().await);
    begin().await.abort().await.unwrap();
    assert!(matches!(begin().await.suspend().await, Err(Error::StaleState { .. })));
    assert_eq!(get(&*driver, "b/direct/data").await, None);
    assert!(driver.list(&at("b/direct"), &ListPage::all()).await.unwrap().entries.is_empty());

    // Two at once: both bring the same object.
    let (first, second) = (begin().await, begin().await);
    first.publish(&target).await.unwrap();
    assert_eq!(get(&*driver, "b/direct/data").await.as_deref(), Some("content"));
    second.publish(&target).await.unwrap();
    let names = driver.list(&at("b/direct"), &ListPage::all()).await.unwrap();
    assert_eq!(names.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["data"]);
}

pub(in crate::storage) async fn creating_where_all_of_it_lies_changes_nothing(driver: Arc<dyn Driver>) {
    let (target, content) = (at("b/direct/data"), pattern(300_000));
    for (there, announced) in [(&content[..], Some(300_000)), (b"damaged", Some(300_000)), (b"damaged", None)] {
        driver.write(&target, Bytes::copy_from_slice(there), WriteMode::Overwrite).await.unwrap();
        let mut direct = driver.create(&target, announced).await.unwrap();
        for piece in content.chunks(70_000) {
            direct.append(vec![Bytes::copy_from_slice(piece)]).await.unwrap();
        }
        assert_eq!(direct.length(), 300_000);
        direct.publish(&target).await.unwrap();
        assert!(driver.read(&target, PLENTY).await.unwrap() == content);
    }
}

pub(in crate::storage) async fn an_ended_write_cannot_be_taken_up(driver: Arc<dyn Driver>) {
    for content in ["", "content"] {
        let state = staged(&*driver, content).await.suspend().await.unwrap();
        driver.resume(&staging(), &state).await.unwrap().publish(&at("b/data")).await.unwrap();
        assert!(driver.resume(&staging(), &state).await.unwrap_err().is_not_found());
        assert!(driver.staged_length(&staging(), &state).await.unwrap_err().is_not_found());
        assert!(driver.list(&at("r/_uploads"), &ListPage::all()).await.unwrap().entries.is_empty());
    }
}

pub(in crate::storage) async fn an_empty_state_takes_up_whatever_lies_there(driver: Arc<dyn Driver>) {
    assert!(driver.resume(&staging(), &[]).await.unwrap_err().is_not_found());
    staged(&*driver, "content").await.suspend().await.unwrap();
    assert_eq!(driver.staged_length(&staging(), &[]).await.unwrap(), 7);
    assert_eq!(driver.resume(&staging(), &[]).await.unwrap().length(), 7);
}
