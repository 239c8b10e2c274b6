//! A histogram whose observation is two atomic additions, for the paths every request takes.
//!
//! The library's own histogram takes a write lock for each observation. Knows nothing of what it counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of observations by bucket, with upper bounds fixed at construction.
///
/// Values are whole numbers (microseconds, bytes) so that the sum is exact; [`Histogram::snapshot`] scales them.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// What a histogram held at one moment, as the exposition format wants it.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Sum of all observations, scaled.
    pub(crate) sum: f64,
    /// Number of observations.
    pub(crate) count: u64,
    /// Upper bound (scaled) and number of observations of each bucket, not cumulated; the last bound is infinite.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram. `bounds` are inclusive and ascending.
    pub(crate) fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one observation.
    pub(crate) fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// The present counts, bounds and sum multiplied by `scale`. Observations made meanwhile may be in the sum or not.
    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats; 2^53 is far away")]
    pub(crate) fn snapshot(&self, scale: f64) -> Snapshot {
        let mut buckets: Vec<(f64, u64)> = self
            .bounds
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| (*bound as f64 * scale, count.load(Relaxed)))
            .collect();
        buckets.push((f64::MAX, self.above.load(Relaxed)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        Snapshot { sum: self.sum.load(Relaxed) as f64 * scale, count, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_lands_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[10, 100]);
        for value in [0, 10, 11, 100, 101, 5_000] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot(0.1);
        assert_eq!(snapshot.count, 6);
        assert!((snapshot.sum - 522.2).abs() < 1e-9);
        assert_eq!(snapshot.buckets, [(1.0, 2), (10.0, 2), (f64::MAX, 2)]);
    }
}
