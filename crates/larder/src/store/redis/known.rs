//! Which keys were found to hold large entries: of those both halves are asked for at once.
//!
//! A guess, and no more: what is asked of the servers decides. Takes 8 KiB, whatever there is.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64;

const PLACES: usize = 1024;

/// Hashes of keys, each in the one place it may have.
pub(super) struct KnownLarge([AtomicU64; PLACES]);

impl Default for KnownLarge {
    fn default() -> Self {
        KnownLarge(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl KnownLarge {
    pub(super) fn has(&self, key: &[u8]) -> bool {
        let (place, hash) = self.place(key);
        place.load(Ordering::Relaxed) == hash
    }

    /// What was found, or put.
    pub(super) fn note(&self, key: &[u8], is_large: bool) {
        let (place, hash) = self.place(key);
        if is_large {
            place.store(hash, Ordering::Relaxed);
        } else {
            // Another key's stays.
            let _ = place.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn place(&self, key: &[u8]) -> (&AtomicU64, u64) {
        let hash = xxh3_64(key).max(1);
        (&self.0[hash as usize % PLACES], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::KnownLarge;

    #[test]
    fn what_was_noted_is_known_until_it_is_noted_otherwise() {
        let known = KnownLarge::default();
        assert!(!known.has(b"a"));
        known.note(b"a", true);
        known.note(b"b", false);
        assert!(known.has(b"a") && !known.has(b"b"));
        known.note(b"a", false);
        assert!(!known.has(b"a"));
    }
}
