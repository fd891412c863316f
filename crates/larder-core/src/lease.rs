//! The lease: how long a node may trust its own state.
//!
//! A renewal notes `t0`, asks the journal's authority for its head, applies everything up to it, and only then
//! extends the lease to `t0`. A reader with bound `Δ` trusts the state while `now < t0 + Δ`, strictly. One word
//! serves every bound. Nothing here reads a clock.
//!
//! The order of a hit is part of the proof: load the lease *first*, then look at the entry and the rule, then
//! at the clock. Loading it after the rule would let a renewal in between bless an old check.

use crate::interleave;
use crate::port::Nanos;
use crate::sync::AtomicU64;
use std::sync::atomic::Ordering;

/// How much clocks of two nodes may differ in rate: one part in so many. Whoever outwaits another's clock waits that
/// much longer.
const DRIFT: Nanos = 64;

/// What to wait on this clock for `span` to have passed on every other.
pub const fn outwait(span: Nanos) -> Nanos {
    span.saturating_add(span / DRIFT).saturating_add(1)
}

/// The node's lease: when its state was last known to be everything there was. One atomic word.
#[derive(Debug, Default)]
pub struct Lease(AtomicU64);

/// A lease as it stood when it was loaded; take one before looking at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed(Nanos);

impl Lease {
    /// The lease as it stands. Acquires: whatever had been applied when it was extended is visible after.
    #[inline]
    pub fn load(&self) -> Confirmed {
        let confirmed = Confirmed(self.0.load(Ordering::Acquire));
        interleave::point();
        confirmed
    }

    /// Everything acknowledged by `t0` has been applied. Never shortens the lease. Releases what was applied.
    pub fn extend(&self, t0: Nanos) {
        interleave::point();
        let order = if crate::seeded_bug!("lease_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        self.0.fetch_max(t0, order);
    }

    /// Distrusts the state until the next renewal.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Confirmed {
    /// Whether a read that looks at the clock now, after having checked an entry, is within `bound` nanoseconds.
    #[inline]
    pub fn holds(self, now: Nanos, bound: Nanos) -> bool {
        self.0 != 0 && now < self.0.saturating_add(bound)
    }

    /// When the state was last known to be everything there was; `None` when it is not trusted.
    pub fn since(self) -> Option<Nanos> {
        (self.0 != 0).then_some(self.0)
    }
}
