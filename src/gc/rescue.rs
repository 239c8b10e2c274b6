//! Succession to collectors that died: what they announced must not go on for ever, because pushes wait for its end.

use std::collections::HashMap;

use bytes::Bytes;
use tracing::{info, warn};

use super::schedule::{LOOK, SILENT_LOOKS};
use super::{Collection, Collector, Error, Takeover};
use crate::storage::Store;
use crate::storage::collection::EpochId;

/// Watches collectors wherever they run, and finishes for those that died.
#[derive(Debug)]
pub struct Rescuer {
    collector: Collector,
    /// The last sign of life of each epoch, and how often it was seen again.
    seen: HashMap<EpochId, (Option<Bytes>, u32)>,
}

impl Rescuer {
    /// One that reads manifests of at most `manifest_limit` bytes.
    #[must_use]
    pub fn new(store: Store, manifest_limit: u64) -> Self {
        let config = Collection { manifest_limit, ..Collection::default() };
        Self { collector: Collector::new(store, config), seen: HashMap::new() }
    }

    /// Looks for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(0) => {}
                Ok(finished) => info!(finished, "finished garbage collections whose process died"),
                Err(error) => warn!(%error, "the garbage collection of a process that died could not be finished"),
            }
            match self.empty_bins().await {
                Ok(0) => {}
                Ok(bytes) => info!(bytes, "freed what garbage collection had removed and kept for a while"),
                Err(error) => warn!(%error, "what garbage collection removed and kept for a while could not be freed"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Frees what collections removed and kept as long as was promised. Returns the bytes.
    ///
    /// # Errors
    /// Of the store.
    pub async fn empty_bins(&self) -> Result<u64, Error> {
        self.collector.empty_bins(None).await
    }

    /// One look. Returns how many collections were finished for others.
    ///
    /// # Errors
    /// Of the store.
    pub async fn look(&mut self) -> Result<u64, Error> {
        let active = self.collector.store.epochs().await?.active;
        self.seen.retain(|epoch, _| active.contains_key(epoch));
        let mut finished = 0;
        for epoch in active.into_keys() {
            let sign = self.collector.last_sign(epoch).await?;
            let (last, looks) = self.seen.entry(epoch).or_default();
            *looks = if *last == sign { *looks + 1 } else { 0 };
            *last = sign;
            let takeover = if *looks >= SILENT_LOOKS { Takeover::Everything } else { Takeover::OnlyTheDead };
            finished += u64::from(self.collector.succeed(epoch, takeover, &|_| {}).await?);
        }
        Ok(finished)
    }
}
