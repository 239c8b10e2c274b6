//! Clauses about what several tasks may see of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{PLENTY, all_of, at, eventually, get, pattern, put};
use crate::storage::driver::Reading;
use crate::storage::driver::{Driver, Kept, ListPage, StagedWrite, WriteMode};
use crate::storage::error::{Error, Result};

/// On a store that ignores the condition, which the driver then says, several may win.
pub(in crate::storage) async fn one_create_only_writer_wins(driver: Arc<dyn Driver>) {
    let sparing = driver.capabilities().await.unwrap().create_only;
    for round in 0..5 {
        let path = at(&format!("{round}/link"));
        let mut writers = JoinSet::new();
        for number in 0..16 {
            let (driver, path) = (Arc::clone(&driver), path.clone());
            writers.spawn(async move {
                match driver.write(&path, format!("writer {number}").into(), WriteMode::CreateOnly).await {
                    Ok(()) => Some(number),
                    Err(Error::AlreadyExists { .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            });
        }
        let winners: Vec<i32> = writers.join_all().await.into_iter().flatten().collect();
        match sparing {
            Kept::Yes => assert_eq!(winners.len(), 1, "{winners:?}"),
            Kept::No => assert!(!winners.is_empty()),
        }
        let content = get(&*driver, &format!("{round}/link")).await.unwrap();
        assert!(winners.iter().any(|winner| content == format!("writer {winner}")), "{content} and {winners:?}");
    }
}

pub(in crate::storage) async fn readers_never_see_a_mixture(driver: Arc<dyn Driver>) {
    let contents = [vec![b'a'; 9000], vec![b'b'; 5000], vec![b'c'; 300_000]].map(Bytes::from);
    let whole = |content: &Bytes| contents.iter().any(|one| one == content);
    let path = at("a/data");
    driver.write(&path, contents[0].clone(), WriteMode::Overwrite).await.unwrap();
    let writing = Arc::new(AtomicUsize::new(contents.len()));
    let mut writers = JoinSet::new();
    for content in contents.clone() {
        let (driver, path, writing) = (Arc::clone(&driver), path.clone(), Arc::clone(&writing));
        writers.spawn(async move {
            for _ in 0..15 {
                driver.write(&path, content.clone(), WriteMode::Overwrite).await.unwrap();
            }
            writing.fetch_sub(1, Ordering::Relaxed);
        });
    }
    while writing.load(Ordering::Relaxed) > 0 {
        assert!(whole(&driver.read(&path, PLENTY).await.unwrap()));
        let object = driver.open(&path, Reading::Whole).await.unwrap();
        tokio::task::yield_now().await;
        assert!(whole(&all_of(&object).await));
    }
    writers.join_all().await;
}

pub(in crate::storage) async fn one_resumer_wins(driver: Arc<dyn Driver>) {
    let staging = at("r/_uploads/one/data");
    let state = driver.stage(&staging).await.unwrap().suspend().await.unwrap();
    let mut resumers = JoinSet::new();
    for _ in 0..16 {
        let (driver, staging, state) = (Arc::clone(&driver), staging.clone(), state.clone());
        resumers.spawn(async move {
            match driver.resume(&staging, &state).await {
                Ok(staged) => Some(staged),
                Err(Error::Busy { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        });
    }
    assert_eq!(resumers.join_all().await.into_iter().flatten().count(), 1);
}

pub(in crate::storage) async fn publishers_to_one_path_all_succeed(driver: Arc<dyn Driver>) {
    let content = pattern(50_000);
    let mut publishers = JoinSet::new();
    for number in 0..16 {
        let (driver, content) = (Arc::clone(&driver), content.clone());
        publishers.spawn(async move {
            let mut staged = driver.stage(&at(&format!("r/_uploads/{number}/data"))).await.unwrap();
            staged.append(vec![content.clone()]).await.unwrap();
            staged.publish(&at("b/data")).await.unwrap();
            assert!(driver.read(&at("b/data"), PLENTY).await.unwrap() == content);
        });
    }
    publishers.join_all().await;
    eventually("the staging places are empty", || async {
        driver.list(&at("r/_uploads"), &ListPage::all()).await.unwrap().entries.is_empty()
    })
    .await;
}

pub(in crate::storage) async fn writers_outlast_deleters_of_their_directory(driver: Arc<dyn Driver>) {
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let driver = Arc::clone(&driver);
        tasks.spawn(async move {
            for round in 0..40 {
                let path = at(&format!("shared/deep/{number}"));
                if number % 2 == 0 {
                    driver.write(&path, "x".into(), WriteMode::Overwrite).await.unwrap();
                } else {
                    let mut staged = driver.stage(&at(&format!("shared/_uploads/{number}/data"))).await.unwrap();
                    staged.append(vec!["x".into()]).await.unwrap();
                    staged.publish(&path).await.unwrap();
                }
                assert_eq!(driver.read(&path, PLENTY).await.unwrap(), "x", "round {round}");
                driver.delete(&path).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

pub(in crate::storage) async fn writers_outlast_those_who_empty_their_directory(driver: Arc<dyn Driver>) {
    // Nobody outlasts one who never rests.
    const REMOVALS_IN_A_ROUND: usize = 40;
    let rounds = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (driver, rounds) = (Arc::clone(&driver), Arc::clone(&rounds));
        tokio::spawn(async move {
            for round in 0..60 {
                rounds.store(round, Ordering::Relaxed);
                let path = |number| at(&format!("emptied/{number}/link"));
                let written = driver.write(&path(0), "x".into(), WriteMode::Overwrite).await;
                assert!(written.is_ok(), "round {round}: {written:?}");
                let written = driver.write_many(vec![(path(1), "y".into()), (path(2), "z".into())]).await;
                assert!(written.is_ok(), "round {round}: {written:?}");
            }
        })
    };
    let (mut round, mut removals) = (0, 0);
    while !writer.is_finished() {
        let now = rounds.load(Ordering::Relaxed);
        if now != round {
            (round, removals) = (now, 0);
        }
        if removals < REMOVALS_IN_A_ROUND {
            driver.delete_prefix(&at("emptied")).await.unwrap();
            removals += 1;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// Publishes a staged write 40 times, and meanwhile lets `resumer` look at what taking it up brought.
async fn publish_among_resumers<F>(driver: Arc<dyn Driver>, resumer: impl Fn(Result<Box<dyn StagedWrite>>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let staging = at("r/_uploads/one/data");
    for _ in 0..40 {
        let mut staged = driver.stage(&staging).await.unwrap();
        staged.append(vec!["content".into()]).await.unwrap();
        let state = staged.suspend().await.unwrap();
        let staged = driver.resume(&staging, &state).await.unwrap();
        let published = tokio::spawn(async move { staged.publish(&at("b/data")).await });
        for _ in 0..3 {
            resumer(driver.resume(&staging, &state).await).await;
        }
        published.await.unwrap().unwrap();
        assert_eq!(get(&*driver, "b/data").await.as_deref(), Some("content"));
    }
}

pub(in crate::storage) async fn a_resumer_never_gets_a_published_object(driver: Arc<dyn Driver>) {
    publish_among_resumers(driver, |resumed| async {
        let error = resumed.unwrap_err();
        assert!(matches!(error, Error::Busy { .. } | Error::NotFound { .. }), "{error}");
    })
    .await;
}

pub(in crate::storage) async fn a_resumer_gets_the_bytes_or_nothing(driver: Arc<dyn Driver>) {
    publish_among_resumers(driver, |resumed| async {
        let content = match resumed {
            Ok(mut staged) => staged.read_back(0..7).await,
            Err(error) => Err(error),
        };
        match content {
            Ok(content) => assert_eq!(content, "content"),
            Err(error) => assert!(matches!(error, Error::Busy { .. } | Error::NotFound { .. }), "{error}"),
        }
    })
    .await;
}

pub(in crate::storage) async fn listing_during_changes_shows_what_stays(driver: Arc<dyn Driver>) {
    for stays in ["d/a/link", "d/m/link", "d/z/link"] {
        put(&*driver, stays, "x").await;
    }
    let changer = {
        let driver = Arc::clone(&driver);
        tokio::spawn(async move {
            for round in 0..40 {
                let path = format!("d/n{}/link", round % 7);
                put(&*driver, &path, "x").await;
                driver.delete(&at(&path)).await.unwrap();
            }
        })
    };
    while !changer.is_finished() {
        let listing = driver.list(&at("d"), &ListPage::all()).await.unwrap();
        let stay: Vec<&str> =
            listing.entries.iter().map(|entry| &*entry.name).filter(|name| !name.starts_with('n')).collect();
        assert_eq!(stay, ["a", "m", "z"]);
        tokio::task::yield_now().await;
    }
    changer.await.unwrap();
}
