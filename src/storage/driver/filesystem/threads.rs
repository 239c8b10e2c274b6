//! Many small changes by one call, on several threads: a disk that is told of every block set free is waited for at each.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Shared;

/// Threads that one call uses at most, its own included.
const THREADS: usize = 16;

/// So many changes are worth a thread.
const WORTH_A_THREAD: usize = 16;

impl Shared {
    /// Does `work` to each of `items`, and gives what became of them in their order. Neighbours that are `together` are left to
    /// one thread: others would only wait for it. When some of it fails, the rest may still be done before one of the errors is
    /// given.
    ///
    /// Belongs on a thread that holds a permit to wait for the disk; it takes as many more as are free.
    pub(super) fn each<T, R, E>(
        &self,
        items: &[T],
        together: impl Fn(&T, &T) -> bool,
        work: impl Fn(&T) -> Result<R, E> + Sync,
    ) -> Result<Vec<R>, E>
    where
        T: Sync,
        R: Copy + Default + Send,
        E: Send,
    {
        let groups: Vec<&[T]> = items.chunk_by(together).collect();
        let mut done = vec![R::default(); items.len()];
        let mut rest = done.as_mut_slice();
        let mut shares = Vec::with_capacity(groups.len());
        for group in groups {
            let (share, others) = rest.split_at_mut(group.len());
            shares.push((group, share));
            rest = others;
        }
        let threads = (items.len() / WORTH_A_THREAD).min(shares.len()).clamp(1, THREADS);
        let permits: Vec<_> = (1..threads).map_while(|_| self.threads.try_acquire().ok()).collect();
        let shares = Mutex::new(shares.into_iter());
        let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
        let shares_of_one = || {
            while let Some((group, share)) = next() {
                for (item, done) in group.iter().zip(share) {
                    *done = work(item)?;
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            // Where one cannot be had, fewer share in the work.
            let others = permits.iter().map_while(|_| thread::Builder::new().spawn_scoped(scope, shares_of_one).ok());
            let others: Vec<_> = others.collect();
            let own = shares_of_one();
            let ends = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            ends.fold(own, Result::and)
        })?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, Mutex};
    use std::thread::{self, ThreadId};

    use super::{THREADS, WORTH_A_THREAD};
    use crate::storage::FilesystemConfig;
    use crate::storage::driver::filesystem::{Access, Filesystem};
    use crate::storage::error::Error;

    fn open(max_threads: usize) -> (tempfile::TempDir, Filesystem) {
        let root = tempfile::tempdir().unwrap();
        let config = FilesystemConfig { root_directory: root.path().to_owned(), max_threads };
        let driver = Filesystem::open(&config, Access::ReadWrite).unwrap();
        (root, driver)
    }

    #[test]
    fn what_became_of_each_is_given_in_order_and_neighbours_that_belong_together_share_a_thread() {
        let (_root, driver) = open(100);
        let items: Vec<usize> = (0..1000).collect();
        let threads: Mutex<HashMap<usize, HashSet<ThreadId>>> = Mutex::default();
        let doubled = driver.shared.each(
            &items,
            |one, other| one / 100 == other / 100,
            |item| {
                threads.lock().unwrap().entry(item / 100).or_default().insert(thread::current().id());
                Ok::<_, Error>(item * 2)
            },
        );
        assert_eq!(doubled.unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let threads = threads.into_inner().unwrap();
        assert!(threads.len() == 10 && threads.values().all(|threads| threads.len() == 1), "{threads:?}");
        assert_eq!(driver.shared.each(&[], |(), ()| false, |()| Ok::<_, Error>(1)).unwrap(), [0; 0]);
    }

    #[test]
    fn it_uses_as_many_threads_as_are_free() {
        for (max_threads, expected) in [(100, THREADS), (4, 4), (1, 1)] {
            let (_root, driver) = open(max_threads);
            let _own = driver.shared.threads.try_acquire().unwrap();
            // Nobody passes before so many have arrived.
            let (barrier, arrived) = (Barrier::new(expected), AtomicUsize::new(0));
            let items = vec![(); THREADS * WORTH_A_THREAD];
            let work = |(): &()| {
                if arrived.fetch_add(1, Ordering::SeqCst) < expected {
                    barrier.wait();
                }
                Ok::<_, Error>(())
            };
            driver.shared.each(&items, |(), ()| false, work).unwrap();
            assert_eq!(driver.shared.threads.available_permits(), max_threads - 1);
        }
    }

    #[test]
    fn an_error_ends_it_and_is_given() {
        let (_root, driver) = open(100);
        let items: Vec<usize> = (0..1000).collect();
        let refused = |item: &usize| match item {
            500 => Err(Error::NoSpace { path: "here".to_owned() }),
            _ => Ok(true),
        };
        let error = driver.shared.each(&items, |_, _| false, refused).unwrap_err();
        assert_eq!(error.to_string(), "no space left for here");
    }
}
