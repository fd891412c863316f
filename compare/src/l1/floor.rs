//! The floor of `l1`: what a hit must do at each level, written by hand on raw quick_cache, and nothing else.
//!
//! One word that says as of which record the entry was last judged, compared with the newest record; a deadline, compared
//! with a clock; for `Bounded` the age of the lease too. No key that is compared whole, no region, no counter, no outcome: it
//! is no cache, and never the least that one could do with more.

use crate::Failure;
use crate::l1::engine::{Engine, KeyKind, Pace, sweep};
use crate::l1::peers::{PeerKey, quick_cache};
use crate::sample::Value;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Entry {
    deadline: u64,
    judged: AtomicU64,
    value: Value,
}

/// An entry that a hit was judged by.
pub(crate) struct Hit(Arc<Entry>);

/// The floor of one level.
pub(crate) struct Floor<K> {
    kind: KeyKind,
    /// The time-stamp counter instead of the kernel's coarse clock, which may stand still after a pause.
    is_bounded: bool,
    keys: Arc<[K]>,
    cache: quick_cache::sync::Cache<K, Arc<Entry>>,
    clock: quanta::Clock,
    applied: AtomicU64,
    confirmed: AtomicU64,
}

impl<K: PeerKey> Floor<K> {
    pub(crate) fn filled(kind: KeyKind, keys: Arc<[K]>, is_bounded: bool) -> Result<Self, Failure> {
        let cache = quick_cache(keys.len())?;
        for (index, key) in (0u64..).zip(keys.iter()) {
            let value = Value::of(index);
            cache.insert(
                key.clone(),
                Arc::new(Entry { deadline: u64::MAX, judged: AtomicU64::new(1), value }),
            );
        }
        let clock = quanta::Clock::new();
        let confirmed = AtomicU64::new(clock.raw());
        Ok(Self { kind, is_bounded, keys, cache, clock, applied: AtomicU64::new(1), confirmed })
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<Hit> {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let entry = self.cache.get(self.keys.get(index as usize)?)?;
        if entry.judged.load(Ordering::Relaxed) != self.applied.load(Ordering::Acquire) {
            return None;
        }
        let now = if self.is_bounded {
            let now = self.clock.raw();
            // Any bound will do; the run is shorter.
            if now.wrapping_sub(confirmed) > u64::MAX / 2 {
                return None;
            }
            now
        } else {
            let now = clock_gettime(ClockId::MonotonicCoarse);
            now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
        };
        (now < entry.deadline).then_some(Hit(entry))
    }
}

impl<K: PeerKey> Engine for Floor<K> {
    fn name(&self) -> &'static str {
        if self.is_bounded { "floor-bounded" } else { "floor-eventual" }
    }

    fn key(&self) -> KeyKind {
        self.kind
    }

    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure> {
        sweep(self.name(), order, pace, |index| self.get(index), |hit| &hit.0.value)
    }
}
