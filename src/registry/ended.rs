//! The upload sessions that ended here a moment ago.
//!
//! A session without bytes is known by its state alone, so nothing in the store says that it was cancelled or finished. This
//! process remembers for a while; another replica would take such a state for that of a session that has yet to begin, which
//! costs nobody anything.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::UploadId;

/// Sessions remembered; the oldest are forgotten first.
const REMEMBERED: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct EndedUploads(Mutex<Ended>);

#[derive(Debug, Default)]
struct Ended {
    ids: HashSet<UploadId>,
    in_order: VecDeque<UploadId>,
}

impl EndedUploads {
    pub(super) fn insert(&self, id: UploadId) {
        let mut ended = self.lock();
        if ended.ids.insert(id) {
            ended.in_order.push_back(id);
        }
        if ended.in_order.len() > REMEMBERED
            && let Some(oldest) = ended.in_order.pop_front()
        {
            ended.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: UploadId) -> bool {
        self.lock().ids.contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let ended = EndedUploads::default();
        let first = UploadId::random();
        ended.insert(first);
        ended.insert(first);
        assert!(ended.contains(first));
        for _ in 0..REMEMBERED - 1 {
            ended.insert(UploadId::random());
        }
        assert!(ended.contains(first));
        ended.insert(UploadId::random());
        assert!(!ended.contains(first));
        assert_eq!(ended.lock().ids.len(), REMEMBERED);
    }
}
