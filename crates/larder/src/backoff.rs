//! How long to wait before another attempt: longer each time, never the same on two nodes, without an end. For connections
//! to servers. Never waits itself.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses between attempts.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: between half of it and all of it, doubling up to two seconds.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jittered(full)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between half of a duration and all of it.
pub(crate) fn jittered(full: Duration) -> Duration {
    // Without randomness the pauses are merely equal.
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn pauses_grow_to_a_bound_and_go_on_for_ever() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[20..].iter().all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
