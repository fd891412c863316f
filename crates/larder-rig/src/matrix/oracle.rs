//! What had been acknowledged before a read began, and whether the read knew it. Asks neither cache nor origin.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Acknowledged versions of each key, rising, with the moment of each.
#[derive(Debug)]
pub(super) struct Oracle(Vec<Mutex<Vec<(u64, Instant)>>>);

impl Oracle {
    pub(super) fn new(keys: u64) -> Self {
        Self((0..keys).map(|_| Mutex::default()).collect())
    }

    /// A node has answered that the write of this version is known. Errs on the node's side: it knew before.
    pub(super) fn acknowledged(&self, key: u64, version: u64) {
        let Some(mut known) = self.key(key) else { return };
        // The clock under the lock: moments rise with versions.
        let now = Instant::now();
        if known.last().is_none_or(|(newest, _)| version > *newest) {
            known.push((version, now));
        }
    }

    /// For how long, when the read began, a version newer than the one it returned had been acknowledged.
    pub(super) fn stale_for(&self, key: u64, version: u64, began: Instant) -> Option<Duration> {
        let known = self.key(key)?;
        let newer = known.partition_point(|(acknowledged, _)| *acknowledged <= version);
        let (_, since) = known.get(newer)?;
        began.checked_duration_since(*since).filter(|staleness| !staleness.is_zero())
    }

    fn key(&self, key: u64) -> Option<MutexGuard<'_, Vec<(u64, Instant)>>> {
        let index = usize::try_from(key).ok()?;
        Some(self.0.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Oracle;

    #[test]
    fn a_read_is_stale_for_as_long_as_the_version_after_its_own_was_known() {
        let oracle = Oracle::new(2);
        let before = Instant::now();
        oracle.acknowledged(1, 1);
        oracle.acknowledged(1, 3);
        oracle.acknowledged(1, 2);
        let later = Instant::now() + Duration::from_secs(5);
        assert_eq!(oracle.stale_for(1, 3, later), None);
        assert!(oracle.stale_for(1, 0, later).unwrap() >= oracle.stale_for(1, 1, later).unwrap());
        assert!(oracle.stale_for(1, 2, later).unwrap() >= Duration::from_secs(5));
        assert_eq!(oracle.stale_for(1, 0, before), None);
        assert_eq!(oracle.stale_for(0, 0, later), None);
    }
}
