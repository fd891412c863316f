//! A clock that moves only when told to.

use larder_core::expiry::nanos;
use larder_core::port::{Clock, Nanos};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Time for tests. Clones show the same time. The two clocks it stands for, the steady one and the wall, are moved
/// apart from each other: a wall clock may jump, and the steady one runs on in suspend.
#[derive(Clone, Debug)]
pub struct ManualClock {
    hands: Arc<Hands>,
}

#[derive(Debug)]
struct Hands {
    now: AtomicU64,
    wall_ms: AtomicU64,
    doubtful: AtomicBool,
}

impl ManualClock {
    /// A clock whose steady time is `now` (0 is taken as 1: the port never shows 0) and whose wall shows `wall_ms`.
    pub fn at(now: Nanos, wall_ms: u64) -> Self {
        let hands = Hands {
            now: AtomicU64::new(now.max(1)),
            wall_ms: AtomicU64::new(wall_ms),
            doubtful: AtomicBool::new(false),
        };
        ManualClock { hands: Arc::new(hands) }
    }

    /// Moves both forward, as time does.
    pub fn advance(&self, by: Duration) {
        self.advance_steady(by);
        self.hands.wall_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Moves the steady clock alone.
    pub fn advance_steady(&self, by: Duration) {
        self.hands.now.fetch_add(nanos(by), Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.hands.wall_ms.store(wall_ms, Ordering::SeqCst);
    }

    /// Makes the next [`Clock::verify`] answer `false`.
    pub fn doubt_once(&self) {
        self.hands.doubtful.store(true, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// One second after an arbitrary start, in the autumn of 2026.
    fn default() -> Self {
        Self::at(1_000_000_000, 1_793_000_000_000)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Nanos {
        self.hands.now.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> u64 {
        self.hands.wall_ms.load(Ordering::SeqCst)
    }

    fn verify(&self) -> bool {
        !self.hands.doubtful.swap(false, Ordering::SeqCst)
    }
}
