//! A histogram of durations with a relative error below one percent, a few kilobytes, and nothing that can fail.
//!
//! Tallies hold one each. It records nanoseconds up to the end of `u64` and never allocates while recording.

use std::time::Duration;

/// Buckets per doubling: the error is at most half of 1/64.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values below `2 * STEPS` have a bucket of their own; each doubling above has `STEPS`.
const BUCKETS: usize = ((64 - STEP_BITS) as usize + 1) * STEPS as usize;

/// Counts by bucket.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// Whether nothing was recorded.
    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration at or below which `percentile` percent of the records lie, in microseconds; 0 without records.
    pub(crate) fn percentile_us(&self, percentile: f64) -> f64 {
        let wanted = (self.total as f64 * percentile / 100.0).ceil().max(1.0);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= wanted {
                return middle(index) / 1_000.0;
            }
        }
        0.0
    }
}

/// Below `STEPS` the value itself; above, its exponent and the `STEP_BITS` bits after the leading one.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let index = u64::from(shift) * STEPS + (nanos >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The middle of a bucket, in nanoseconds.
fn middle(index: usize) -> f64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    let low = (index - shift * STEPS) << shift;
    low as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bucket_whose_middle_is_near() {
        for nanos in
            (0..63).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) * 3 / 2, (2 << bit) - 1])
        {
            let (index, value) = (bucket(nanos), nanos as f64);
            assert!(index < BUCKETS, "{nanos}");
            assert!((middle(index) - value).abs() <= value / 100.0, "{nanos}: {}", middle(index));
        }
        assert!(bucket(u64::MAX) < BUCKETS);
        assert_eq!(bucket(0), 0);
    }

    #[test]
    fn percentiles_are_those_of_the_records() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentile_us(50.0), 0.0);
        for micros in 1..=1_000 {
            latencies.record(Duration::from_micros(micros));
        }
        for (percentile, expected) in [(50.0, 500.0), (95.0, 950.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let found = latencies.percentile_us(percentile);
            assert!((found - expected).abs() <= expected / 100.0, "p{percentile}: {found}");
        }
    }
}
