//! What users count: each its own, merged at the end, with a few live totals for the progress display.
//!
//! The users write it, `bench` reads it. It holds no locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cached::Source;
use crate::workload::latency::Latencies;
use crate::workload::oracle::Verdict;

/// A read is stale, rather than late, when it missed a write acknowledged this long before it began: the bound of
/// the cached regions, and the yardstick for all three runs.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// One user's counts, or the sum of them.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) reads: u64,
    pub(crate) l1: u64,
    pub(crate) l2: u64,
    pub(crate) stale: u64,
    pub(crate) late: u64,
    pub(crate) staleness_max: Duration,
    pub(crate) offered_taken: u64,
    /// Reads of something that the user's token stood for, and those that showed less than it stood for.
    pub(crate) session_reads: u64,
    pub(crate) session_violations: u64,
    /// Reads that asked for the newest there is, and those that were older than what came before them.
    pub(crate) linearizable_reads: u64,
    pub(crate) linearizability_violations: u64,
    /// Requests that failed because a server was away.
    pub(crate) failed: u64,
    /// Steps of the history done.
    pub(crate) steps: usize,
    /// Bookings of the history that someone set out to make.
    pub(crate) bookings: u64,
    pub(crate) booked: u64,
    pub(crate) rescheduled: u64,
    pub(crate) cancelled: u64,
    /// Times the database said no, to a booking or a move.
    pub(crate) refused: u64,
    latencies: Latencies,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            reads: 0,
            l1: 0,
            l2: 0,
            stale: 0,
            late: 0,
            staleness_max: Duration::ZERO,
            offered_taken: 0,
            session_reads: 0,
            session_violations: 0,
            linearizable_reads: 0,
            linearizability_violations: 0,
            failed: 0,
            steps: 0,
            bookings: 0,
            booked: 0,
            rescheduled: 0,
            cancelled: 0,
            refused: 0,
            latencies: Latencies::new(),
        }
    }

    /// Counts a read.
    pub(crate) fn read(&mut self, source: Source, took: Duration, verdict: Verdict) {
        self.reads += 1;
        match source {
            Source::L1 => self.l1 += 1,
            Source::L2 => self.l2 += 1,
            Source::Origin => {}
        }
        self.latencies.record(took);
        if let Some(staleness) = verdict.stale_for {
            if staleness >= BOUND {
                self.stale += 1;
            } else {
                self.late += 1;
            }
            self.staleness_max = self.staleness_max.max(staleness);
        }
        self.offered_taken += u64::from(verdict.offered_taken);
    }

    /// Counts what a session said of a read.
    pub(crate) fn in_session(&mut self, is_violated: Option<bool>) {
        if let Some(is_violated) = is_violated {
            self.session_reads += 1;
            self.session_violations += u64::from(is_violated);
        }
    }

    /// Adds another user's counts.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.reads += other.reads;
        self.l1 += other.l1;
        self.l2 += other.l2;
        self.stale += other.stale;
        self.late += other.late;
        self.staleness_max = self.staleness_max.max(other.staleness_max);
        self.offered_taken += other.offered_taken;
        self.session_reads += other.session_reads;
        self.session_violations += other.session_violations;
        self.linearizable_reads += other.linearizable_reads;
        self.linearizability_violations += other.linearizability_violations;
        self.failed += other.failed;
        self.steps += other.steps;
        self.bookings += other.bookings;
        self.booked += other.booked;
        self.rescheduled += other.rescheduled;
        self.cancelled += other.cancelled;
        self.refused += other.refused;
        self.latencies.merge(&other.latencies);
    }

    /// The read latency below which `percentile` percent of reads stayed, in microseconds.
    pub(crate) fn read_us(&self, percentile: f64) -> f64 {
        self.latencies.percentile_us(percentile)
    }

    /// Share of reads answered by the cache.
    pub(crate) fn hit_rate(&self) -> f64 {
        if self.reads == 0 { 0.0 } else { (self.l1 + self.l2) as f64 / self.reads as f64 }
    }
}

/// Totals while a run goes on; they lag the tallies by a few reads per user.
#[derive(Debug, Default)]
pub(crate) struct Live {
    reads: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    booked: AtomicU64,
}

/// A copy of the live totals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) stale: u64,
    pub(crate) booked: u64,
}

impl Totals {
    /// What a tally has so far.
    pub(crate) fn of(tally: &Tally) -> Totals {
        Totals { reads: tally.reads, hits: tally.l1 + tally.l2, stale: tally.stale, booked: tally.booked }
    }
}

impl Live {
    /// Adds what is new in `now` since `before`.
    pub(crate) fn add(&self, before: Totals, now: Totals) {
        self.reads.fetch_add(now.reads - before.reads, Ordering::Relaxed);
        self.hits.fetch_add(now.hits - before.hits, Ordering::Relaxed);
        self.stale.fetch_add(now.stale - before.stale, Ordering::Relaxed);
        self.booked.fetch_add(now.booked - before.booked, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            reads: self.reads.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
            booked: self.booked.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(millis: u64) -> Verdict {
        Verdict { stale_for: Some(Duration::from_millis(millis)), offered_taken: false }
    }

    #[test]
    fn a_read_within_the_bound_is_late_and_one_beyond_it_is_stale() {
        let mut tally = Tally::new();
        tally.read(Source::L1, Duration::from_micros(1), verdict(999));
        tally.read(Source::L2, Duration::from_micros(1), verdict(1_000));
        tally.read(Source::Origin, Duration::from_micros(1), Verdict::default());
        assert_eq!((tally.late, tally.stale, tally.reads), (1, 1, 3));
        assert_eq!(tally.staleness_max, Duration::from_secs(1));
        assert!((tally.hit_rate() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn sums_keep_the_slowest_reads() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        for _ in 0..99 {
            one.read(Source::L1, Duration::from_micros(2), Verdict::default());
        }
        two.read(Source::Origin, Duration::from_millis(30), verdict(5));
        one.merge(&two);
        assert_eq!(one.reads, 100);
        assert!((one.read_us(50.0) - 2.0).abs() < 0.1, "{}", one.read_us(50.0));
        assert!((one.read_us(100.0) - 30_000.0).abs() < 100.0, "{}", one.read_us(100.0));
        assert_eq!((one.late, one.staleness_max), (1, Duration::from_millis(5)));
    }
}
