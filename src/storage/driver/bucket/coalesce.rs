//! Sharing of requests by those who ask for the same at the same time, without anybody being told something old.
//!
//! Whoever comes while a request for a key is under way waits for the next one, which begins after he came, and shares it with
//! all others who wait. So each key has at most one request under way, however many ask.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::storage::error::{Error, Result, Retry};

/// Requests by key.
pub(super) struct Coalesced<K, T> {
    lanes: Mutex<HashMap<K, Arc<Lane<T>>>>,
}

/// Those who ask for one key.
struct Lane<T> {
    /// Held by the one whose request is under way; given in the order of coming.
    turn: tokio::sync::Mutex<()>,
    /// The request that has not begun, for those who come now.
    next: Mutex<Option<Arc<Round<T>>>>,
}

/// What one request brought, once it has. If the one who made it went away, the next of those who wait makes it anew.
type Round<T> = OnceLock<Result<T, Arc<Error>>>;

impl<K, T> Default for Coalesced<K, T> {
    fn default() -> Self {
        Self { lanes: Mutex::default() }
    }
}

impl<K, T> fmt::Debug for Coalesced<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesced").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Coalesced<K, T> {
    /// The answer to a request for `key` that began after this call: `request` itself, or that of somebody else.
    pub(super) async fn run(&self, key: K, request: impl Future<Output = Result<T>>) -> Result<T> {
        let seat = Seat { lane: Some(self.lane(&key)), key, coalesced: self };
        let Some(lane) = &seat.lane else { return request.await };
        let round = Arc::clone(unpoisoned(&lane.next).get_or_insert_default());
        let _turn = lane.turn.lock().await;
        if let Some(answer) = round.get() {
            return answer.clone().map_err(|error| again(&error));
        }
        // From here on whoever comes waits for another round.
        unpoisoned(&lane.next).take_if(|next| Arc::ptr_eq(next, &round));
        let answer = request.await.map_err(Arc::new);
        let answer = round.get_or_init(|| answer);
        answer.clone().map_err(|error| again(&error))
    }

    fn lane(&self, key: &K) -> Arc<Lane<T>> {
        let new = || Arc::new(Lane { turn: tokio::sync::Mutex::default(), next: Mutex::default() });
        Arc::clone(self.lanes().entry(key.clone()).or_insert_with(new))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Arc<Lane<T>>>> {
        unpoisoned(&self.lanes)
    }
}

/// Keeps the lane of a key, until the last one leaves.
struct Seat<'a, K: Hash + Eq, T> {
    coalesced: &'a Coalesced<K, T>,
    key: K,
    lane: Option<Arc<Lane<T>>>,
}

impl<K: Hash + Eq, T> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let mut lanes = unpoisoned(&self.coalesced.lanes);
        self.lane = None;
        if lanes.get(&self.key).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.key);
        }
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same error for one more who asked.
fn again(error: &Error) -> Error {
    match error {
        Error::NotFound { path } => Error::NotFound { path: path.clone() },
        Error::TooLarge { path, size, limit } => Error::TooLarge { path: path.clone(), size: *size, limit: *limit },
        Error::Backend { operation, path, retry, source } => {
            Error::Backend { operation, path: path.clone(), retry: *retry, source: source.to_string().into() }
        }
        other => Error::Backend {
            operation: "read",
            path: String::new(),
            retry: Retry::Later,
            source: other.to_string().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use tokio::sync::Notify;

    use super::*;

    /// Requests that end when they are let, and bring the number of the request.
    #[derive(Default)]
    struct Slow {
        begun: AtomicU32,
        let_go: Notify,
        coalesced: Coalesced<&'static str, u32>,
    }

    impl Slow {
        async fn ask(&self, key: &'static str) -> Result<u32> {
            self.coalesced
                .run(key, async {
                    let number = self.begun.fetch_add(1, Ordering::Relaxed);
                    self.let_go.notified().await;
                    if key == "missing" { Err(Error::NotFound { path: key.to_owned() }) } else { Ok(number) }
                })
                .await
        }

        fn begun(&self) -> u32 {
            self.begun.load(Ordering::Relaxed)
        }
    }

    /// Whether the future has nothing to bring yet.
    async fn waits<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn who_comes_later_shares_the_next_request() {
        let slow = Slow::default();
        let mut first = Box::pin(slow.ask("a"));
        assert!(waits(&mut first).await);
        let mut others: Vec<_> = (0..10).map(|_| Box::pin(slow.ask("a"))).collect();
        for other in &mut others {
            assert!(waits(other).await);
        }
        assert_eq!(slow.begun(), 1, "one request at a time");
        slow.let_go.notify_one();
        assert_eq!(first.await.unwrap(), 0);
        assert!(waits(&mut others[0]).await);
        // Somebody who comes while the second is under way is not told what it brings.
        let mut late = Box::pin(slow.ask("a"));
        assert!(waits(&mut late).await);
        slow.let_go.notify_one();
        for other in others {
            assert_eq!(other.await.unwrap(), 1);
        }
        assert!(waits(&mut late).await);
        slow.let_go.notify_one();
        assert_eq!(late.await.unwrap(), 2);
        assert_eq!(slow.begun(), 3);
        assert!(slow.coalesced.lanes().is_empty());
    }

    #[tokio::test]
    async fn another_takes_over_from_one_who_went_away() {
        let slow = Slow::default();
        let mut first = Box::pin(slow.ask("a"));
        assert!(waits(&mut first).await);
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slow.ask("a"))).collect();
        for one in &mut waiting {
            assert!(waits(one).await);
        }
        drop(first);
        assert!(waits(&mut waiting[0]).await);
        assert_eq!(slow.begun(), 2);
        drop(waiting.remove(0));
        assert!(waits(&mut waiting[0]).await);
        slow.let_go.notify_one();
        for one in waiting {
            assert_eq!(one.await.unwrap(), 2);
        }
        assert!(slow.coalesced.lanes().is_empty());
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other_and_errors_are_shared() {
        let slow = Slow::default();
        let mut one = Box::pin(slow.ask("a"));
        assert!(waits(&mut one).await);
        let mut missing: Vec<_> = (0..3).map(|_| Box::pin(slow.ask("missing"))).collect();
        for other in &mut missing {
            assert!(waits(other).await);
        }
        assert_eq!(slow.begun(), 2);
        slow.let_go.notify_waiters();
        assert_eq!(one.await.unwrap(), 0);
        assert!(missing.remove(0).await.unwrap_err().is_not_found());
        assert!(waits(&mut missing[0]).await);
        slow.let_go.notify_one();
        for other in missing {
            assert!(other.await.unwrap_err().is_not_found());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_told_something_older_than_his_question() {
        let (coalesced, clock) = (Arc::new(Coalesced::<u8, u32>::default()), Arc::new(AtomicU32::new(0)));
        let askers = (0..8).map(|_| {
            let (coalesced, clock) = (Arc::clone(&coalesced), Arc::clone(&clock));
            tokio::spawn(async move {
                for _ in 0..200 {
                    let asked = clock.fetch_add(1, Ordering::SeqCst);
                    let request = async {
                        let begun = clock.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok(begun)
                    };
                    assert!(coalesced.run(0, request).await.unwrap() > asked);
                }
            })
        });
        for asker in askers.collect::<Vec<_>>() {
            asker.await.unwrap();
        }
        assert!(coalesced.lanes().is_empty());
    }
}
