//! Parts on their way to the store, and the memory they may take.
//!
//! Each open write has room for one part. While a part is being sent, the next one can be gathered in room that is borrowed
//! from a pool of all writes; when the pool is empty the write waits for a part of its own, so nobody waits for
//! somebody else's client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::refused;
use crate::storage::error::{Result, Retry};

/// Parts that all writes together may have under way beyond one each.
const SPARE_PARTS: u32 = 8;

/// Parts of one write under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Memory for parts, shared by all writes.
#[derive(Debug)]
pub(super) struct Pool(Arc<Semaphore>);

impl Pool {
    /// A pool with nothing borrowed.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(SPARE_PARTS as usize)))
    }
}

/// The parts of one write that are under way, and what the store answered to those that arrived. Parts that are
/// under way when it is dropped are sent to their end.
#[derive(Debug)]
pub(super) struct Flight<T: 'static> {
    sending: JoinSet<(u32, Result<T>)>,
    arrived: BTreeMap<u32, T>,
    pool: Arc<Semaphore>,
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
        Self { sending: JoinSet::new(), arrived: BTreeMap::new(), pool: Arc::clone(&pool.0), health: Health::Whole }
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
        let weight = weight.min(SPARE_PARTS);
        loop {
            let pool = Arc::clone(&self.pool);
            let crowded = self.sending.len() >= PARTS_AT_ONCE;
            let room = async move {
                if crowded { std::future::pending().await } else { pool.acquire_many_owned(weight).await.ok() }
            };
            tokio::select! {
                biased;
                permit = room => {
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
