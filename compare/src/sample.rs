//! What is cached and in which order it is asked for: values, keys, random index sequences.
//! The same for every engine; knows none of them.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The cached value: 64 bytes, the first eight of which name the entry it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value(pub(crate) [u64; 8]);

impl Value {
    /// The value of entry `index`.
    pub(crate) fn of(index: u64) -> Self {
        Self([index, 1, 2, 3, 4, 5, 6, 7])
    }

    /// The same behind an `Arc`, as the peers store it (Larder puts it there by itself).
    pub(crate) fn shared(index: u64) -> Arc<Self> {
        Arc::new(Self::of(index))
    }

    /// Which entry this is; summed over a sweep it proves that every engine answered every question right.
    pub(crate) fn entry(&self) -> u64 {
        let [index, ..] = self.0;
        index
    }

    /// Zero, but known only once the value has been read.
    pub(crate) fn nothing(&self) -> u32 {
        let [_, one, ..] = self.0;
        (one as u32).wrapping_sub(1)
    }
}

/// The 40-byte text key of entry `index`.
pub(crate) fn text_key(index: u64) -> String {
    format!("slots:branch-{index:016}:2026-11-21")
}

/// A three-segment key that encodes to about the size of [`text_key`]: company, branch, day.
pub(crate) struct Segments {
    /// The company's number.
    pub(crate) company: u64,
    /// The branch's name, 16 bytes.
    pub(crate) branch: String,
    /// The day's number.
    pub(crate) day: u64,
}

impl Segments {
    /// The key of entry `index`; distinct for distinct entries.
    pub(crate) fn of(index: u64) -> Self {
        Self { company: index / 1000, branch: format!("branch-{index:09}"), day: 20_000 + index % 1000 }
    }
}

/// `length` indexes below `entries`, uniformly at random, the same for the same seed (SplitMix64).
pub(crate) fn random_order(entries: u32, length: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    // Multiply and shift maps 32 random bits evenly onto 0..entries, without a division.
    (0..length).map(|_| (((next() >> 32) * u64::from(entries)) >> 32) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn text_keys_are_forty_bytes_and_distinct() {
        let keys: HashSet<_> = (0..10_000).map(text_key).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 40));
    }

    #[test]
    fn segment_keys_are_distinct() {
        let keys: HashSet<_> = (0..10_000)
            .map(Segments::of)
            .map(|segments| (segments.company, segments.branch, segments.day))
            .collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn an_order_stays_in_range_and_repeats_for_its_seed_only() {
        let order = random_order(10_000, 50_000, 7);
        assert!(order.iter().all(|index| *index < 10_000));
        assert_eq!(order, random_order(10_000, 50_000, 7));
        assert_ne!(order, random_order(10_000, 50_000, 8));
    }

    #[test]
    fn an_order_visits_nearly_everything_when_long_enough() {
        let visited: HashSet<_> = random_order(1_000, 10_000, 1).into_iter().collect();
        assert!(visited.len() > 990, "visited {} of 1000", visited.len());
    }
}
