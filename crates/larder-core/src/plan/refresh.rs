//! The plan of refreshes: when a background load may start, and how soon after a failure the origin is tried again.

use crate::expiry::{Expiry, Life, nanos};
use crate::port::Nanos;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do about an entry that could do with a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Nothing: it is fresh, or the origin failed too short a time ago.
    No,
    /// Start one, unless a flight of the key is under way.
    Start,
}

/// One key's memory of failed loads: until when the origin is left alone. Lives with the entry.
#[derive(Debug, Default)]
pub struct RefreshGate(AtomicU64);

impl RefreshGate {
    /// Whether an access at `now` starts a refresh of an entry in this part of its life.
    #[inline]
    pub fn on_access(&self, life: Life, now: Nanos) -> Refresh {
        match life {
            Life::RefreshDue | Life::Stale if !self.is_shut(now) => Refresh::Start,
            _ => Refresh::No,
        }
    }

    /// Whether the origin is to be left alone at `now`: a reader that has a fallback serves it without trying.
    #[inline]
    pub fn is_shut(&self, now: Nanos) -> bool {
        now < self.0.load(Ordering::Relaxed)
    }

    /// A load failed at `now`: the origin is left alone for the region's throttle.
    pub fn failed(&self, now: Nanos, expiry: &Expiry) {
        if let Some(safe) = expiry.fail_safe {
            self.0.fetch_max(now.saturating_add(nanos(safe.throttle)), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::FailSafe;
    use std::time::Duration;

    #[test]
    fn after_a_failure_the_origin_is_left_alone_until_the_throttle_has_passed() {
        let safe = FailSafe { max_age: Duration::from_secs(60), throttle: Duration::from_nanos(10) };
        let expiry = Expiry { fail_safe: Some(safe), ..Expiry::ttl(Duration::from_secs(1)) };
        let gate = RefreshGate::default();
        assert_eq!(gate.on_access(Life::Stale, 100), Refresh::Start);
        gate.failed(100, &expiry);
        assert_eq!(gate.on_access(Life::Stale, 109), Refresh::No);
        assert_eq!(gate.on_access(Life::RefreshDue, 110), Refresh::Start);
        assert_eq!(gate.on_access(Life::Fresh, 110), Refresh::No);
    }
}
