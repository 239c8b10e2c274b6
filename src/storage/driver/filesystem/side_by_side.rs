//! One piece of work on several threads at once, for waits that need not come one after the other.

use rustix::io::Errno;

/// Does `work` on `threads` threads, of which the caller's is one, and gives what came of each. Where the system has no
/// threads to give, fewer do it: `work` takes what is left to do until nothing is.
pub(super) fn side_by_side<T: Send>(
    threads: usize,
    work: impl Fn() -> Result<T, Errno> + Sync,
) -> Vec<Result<T, Errno>> {
    std::thread::scope(|scope| {
        let thread = || std::thread::Builder::new().spawn_scoped(scope, &work).ok();
        let others: Vec<_> = (1..threads).map_while(|_| thread()).collect();
        let mut results = vec![work()];
        results.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(Errno::IO))));
        results
    })
}
