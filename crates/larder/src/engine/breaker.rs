//! The circuit breaker of a store: after failures in a row it is left alone for a moment, then tried by one caller.

use larder_core::port::Nanos;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;
/// How long it stays open before one caller may try: doubled with each failed try, up to the most.
const OPEN_NS: Nanos = 200_000_000;
const OPEN_NS_MAX: Nanos = 10_000_000_000;

#[derive(Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Open until then; 0 when closed.
    until: AtomicU64,
}

impl Breaker {
    /// Whether an operation may be begun now. While open, says yes to one caller each time the pause has passed.
    pub(crate) fn allows(&self, now: Nanos) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        now >= until
            && self
                .until
                .compare_exchange(until, now.saturating_add(OPEN_NS), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// An operation ended. Operations refused by the breaker are not reported.
    pub(crate) fn record(&self, succeeded: bool, now: Nanos) {
        if succeeded {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= FAILURES_MAX {
            let doublings = (failures - FAILURES_MAX).min(6);
            self.until.store(now.saturating_add((OPEN_NS << doublings).min(OPEN_NS_MAX)), Ordering::Relaxed);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_try_and_closes_on_success() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.allows(1));
            breaker.record(false, 1);
        }
        assert!(breaker.is_open());
        assert!(!breaker.allows(OPEN_NS));
        assert!(breaker.allows(OPEN_NS + 1), "one caller tries");
        assert!(!breaker.allows(OPEN_NS + 1), "and only one");
        breaker.record(true, OPEN_NS + 2);
        assert!(breaker.allows(OPEN_NS + 2) && !breaker.is_open());
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            breaker.record(false, 1);
            breaker.record(true, 1);
        }
        assert!(breaker.allows(1));
    }
}
