//! Parts on their way to the store, and the memory they may take.
//!
//! Each open write has room for one part. While a part is being sent, the next one can be gathered in room that is borrowed
//! from a pool of all writes; when the pool is empty the write waits for a part of its own, so nobody waits for
//! somebody else's client. The own parts of those that send are taken out of the pool as well, as far as it goes: few
//! writes have much room each, many have little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::refused;
use crate::storage::error::{Result, Retry};

/// Parts that all writes together may have under way, unless there are more writes than that.
const PARTS: u32 = 30;

/// Parts of one write under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Memory for parts, shared by all writes.
#[derive(Debug)]
pub(super) struct Pool(Arc<Semaphore>);

impl Pool {
    /// A pool with nothing borrowed.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(PARTS as usize)))
    }
}

/// The parts of one write that are under way, and what the store answered to those that arrived. Parts that are
/// under way when it is dropped are sent to their end.
#[derive(Debug)]
pub(super) struct Flight<T: 'static> {
    sending: JoinSet<(u32, Result<T>)>,
    arrived: BTreeMap<u32, T>,
    pool: Arc<Semaphore>,
    /// The own part's share of the pool, as soon as there is one to have.
    own: Option<OwnedSemaphorePermit>,
    health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Whole,
    PartLost,
}

impl<T: Send + 'static> Flight<T> {
    /// Nothing under way yet.
    pub(super) fn new(pool: &Pool) -> Self {
        Self {
            sending: JoinSet::new(),
            arrived: BTreeMap::new(),
            pool: Arc::clone(&pool.0),
            own: Arc::clone(&pool.0).try_acquire_owned().ok(),
            health: Health::Whole,
        }
    }

    /// Begins to send part `index`, which is as large as `weight` configured ones, and returns when there is room for
    /// the next.
    ///
    /// # Errors
    /// Of any part sent before.
    pub(super) async fn send(
        &mut self,
        index: u32,
        weight: u32,
        part: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<()> {
        self.check()?;
        // What is borrowed for the part is given back when the part has arrived, whether somebody looks or not.
        let borrowed = Arc::new(Mutex::new(None));
        let until_arrival = Arc::clone(&borrowed);
        self.sending.spawn(async move {
            let sent = part.await;
            drop(until_arrival);
            (index, sent)
        });
        let weight = weight.min(PARTS);
        loop {
            let pool = Arc::clone(&self.pool);
            let crowded = self.sending.len() >= PARTS_AT_ONCE;
            // Who has no share for its own part takes one before it borrows.
            let wanted = if self.own.is_some() { weight } else { 1 };
            let room = async move {
                if crowded { std::future::pending().await } else { pool.acquire_many_owned(wanted).await.ok() }
            };
            tokio::select! {
                biased;
                permit = room => {
                    if self.own.is_none() {
                        self.own = permit;
                        continue;
                    }
                    *borrowed.lock().unwrap_or_else(PoisonError::into_inner) = permit;
                    return Ok(());
                }
                Some(ended) = self.sending.join_next() => {
                    if self.note(ended)? == index {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Looks at the parts that arrived meanwhile, without waiting.
    ///
    /// # Errors
    /// Of any part.
    pub(super) fn look(&mut self) -> Result<()> {
        while let Some(ended) = self.sending.try_join_next() {
            self.note(ended)?;
        }
        self.check()
    }

    /// Waits for all parts and gives what the store answered, in order of the parts.
    ///
    /// # Errors
    /// Of any part.
    pub(super) async fn land(&mut self) -> Result<Vec<T>> {
        while let Some(ended) = self.sending.join_next().await {
            self.note(ended)?;
        }
        self.check()?;
        Ok(std::mem::take(&mut self.arrived).into_values().collect())
    }

    /// Waits until nothing is under way, whatever becomes of it.
    pub(super) async fn end(&mut self) {
        while let Some(ended) = self.sending.join_next().await {
            let _ = self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<(u32, Result<T>), JoinError>) -> Result<u32> {
        // Whoever goes on after an error must not make an object without the part that was lost.
        let health = std::mem::replace(&mut self.health, Health::PartLost);
        let (index, answer) = ended.map_err(|error| refused("upload", "a part", Retry::Later, error.to_string()))?;
        self.arrived.insert(index, answer?);
        self.health = health;
        Ok(index)
    }

    fn check(&self) -> Result<()> {
        match self.health {
            Health::Whole => Ok(()),
            Health::PartLost => Err(refused("upload", "a part", Retry::Later, "an earlier part did not arrive")),
        }
    }
}

impl<T: 'static> Drop for Flight<T> {
    fn drop(&mut self) {
        self.sending.detach_all();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn few_writes_have_much_room_and_many_have_one_part_each() {
        let pool = Pool::new();
        let mut alone: Flight<()> = Flight::new(&pool);
        for index in 0..3 {
            assert!(alone.send(index, 1, std::future::pending()).now_or_never().is_some(), "part {index}");
        }
        assert!(alone.send(3, 1, std::future::pending()).now_or_never().is_none());
        drop(alone);

        let pool = Pool::new();
        let mut writes: Vec<Flight<()>> = (0..50).map(|_| Flight::new(&pool)).collect();
        let begun = writes.iter_mut().filter_map(|write| write.send(0, 1, std::future::pending()).now_or_never());
        // They wait for their own part, each of which is on its way.
        assert_eq!(begun.count(), 0);
        assert!(writes.iter().all(|write| write.sending.len() == 1));
        writes.truncate(PARTS as usize - 1);
        assert!(writes.iter_mut().any(|write| write.send(1, 1, std::future::pending()).now_or_never().is_some()));
    }

    #[tokio::test]
    async fn what_was_borrowed_is_given_back() {
        let pool = Pool::new();
        for _ in 0..100 {
            let mut write: Flight<()> = Flight::new(&pool);
            write.send(0, PARTS * 2, async { Ok(()) }).await.unwrap();
            write.send(1, 1, async { Ok(()) }).await.unwrap();
            assert_eq!(write.land().await.unwrap().len(), 2);
        }
        assert_eq!(pool.0.available_permits(), PARTS as usize);
    }
}
