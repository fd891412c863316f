//! Latencies as histograms: how long something took, in quantiles.
//!
//! Shared by any number of threads. Not for every hit: recording takes a lock, so the hit path records a sample
//! and says how many hits it stands for.

use super::stripe::index;
use hdrhistogram::Histogram as Buckets;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longer ones are counted as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Quantiles are right to within 1 %.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Durations from 1 ns to an hour (longer ones count as an hour), to two significant digits.
///
/// Takes about 36 KiB for each of up to four threads that recorded something, and nothing before.
pub struct Histogram([Stripe; STRIPES]);

/// Threads record in stripes, so that two seldom wait for one another.
const STRIPES: usize = 4;

/// Two cache lines, since processors fetch lines in pairs.
#[repr(align(128))]
struct Stripe(Mutex<Option<Buckets<u64>>>);

/// A histogram at one moment. All durations are zero when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How many were recorded.
    pub count: u64,
    /// Half took no longer.
    pub p50: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// The average.
    pub mean: Duration,
}

impl Histogram {
    /// An empty one.
    pub const fn new() -> Self {
        Histogram([const { Stripe(Mutex::new(None)) }; STRIPES])
    }

    /// Records one duration.
    pub fn record(&self, took: Duration) {
        self.record_n(took, 1);
    }

    /// Records a duration that stands for `n`.
    pub fn record_n(&self, took: Duration, n: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS).clamp(1, LONGEST_NS);
        let mut buckets = self.0[index() % STRIPES].lock();
        if buckets.is_none() {
            // Cannot fail: the bounds are constants that a test records with.
            *buckets = Buckets::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS).ok();
        }
        if let Some(buckets) = buckets.as_mut() {
            buckets.saturating_record_n(nanos, n);
        }
    }

    /// What was recorded so far.
    pub fn snapshot(&self) -> Latencies {
        let mut all: Option<Buckets<u64>> = None;
        for stripe in &self.0 {
            match (&mut all, &*stripe.lock()) {
                (None, Some(buckets)) => all = Some(buckets.clone()),
                // Cannot fail: all have the same bounds.
                (Some(all), Some(buckets)) => drop(all.add(buckets)),
                (_, None) => {}
            }
        }
        let Some(buckets) = all else { return Latencies::default() };
        let at = |quantile| Duration::from_nanos(buckets.value_at_quantile(quantile));
        Latencies {
            count: buckets.len(),
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: Duration::from_nanos(buckets.max()),
            mean: Duration::from_nanos(buckets.mean() as u64),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl Stripe {
    fn lock(&self) -> MutexGuard<'_, Option<Buckets<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) <= expected / 100 + Duration::from_nanos(1)
    }

    #[test]
    fn an_empty_histogram_is_all_zeros() {
        assert_eq!(Histogram::new().snapshot(), Latencies::default());
    }

    #[test]
    fn quantiles_are_right_to_a_hundredth() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        let seen = histogram.snapshot();
        assert_eq!(seen.count, 1000);
        for (found, us) in [(seen.p50, 500), (seen.p95, 950), (seen.p99, 990), (seen.max, 1000)] {
            assert!(near(found, Duration::from_micros(us)), "{found:?}, expected {us} us");
        }
        assert!(near(seen.mean, Duration::from_nanos(500_500)), "{:?}", seen.mean);
    }

    #[test]
    fn a_sample_counts_for_as_many_as_it_stands_for() {
        let histogram = Histogram::new();
        histogram.record_n(Duration::from_nanos(30), 1024);
        histogram.record(Duration::from_millis(5));
        let seen = histogram.snapshot();
        assert_eq!(seen.count, 1025);
        assert!(near(seen.p99, Duration::from_nanos(30)));
        assert!(near(seen.max, Duration::from_millis(5)));
    }

    #[test]
    fn durations_out_of_range_count_as_the_nearest_in_it() {
        let histogram = Histogram::new();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        let seen = histogram.snapshot();
        assert_eq!(seen.count, 2);
        assert_eq!(seen.p50, Duration::from_nanos(1));
        assert!(near(seen.max, Duration::from_secs(3600)));
    }

    #[test]
    fn several_threads_lose_nothing() {
        let histogram = Histogram::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| histogram.record(Duration::from_nanos(100))));
            }
        });
        assert_eq!(histogram.snapshot().count, 4000);
    }
}
