//! The memory tier (L1): typed values behind `quick_cache`, bounded by bytes and by entries.
//!
//! Synchronous. Used by the engine and, for hits, by regions. It knows nothing of validity: whatever it returns has
//! yet to pass the rule. Never builds on the engine's get-or-insert, whose placeholders know nothing of
//! invalidations; flights do that.

mod entry;
mod key;

pub(crate) use entry::{Entry, Head, Rest, Typed, Value, typed};
pub(crate) use key::Carried;
pub use key::Key;
#[cfg(feature = "testing")]
pub(crate) use key::fix_key_seed;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fewer stop scaling at two threads (measured: 23 to 52 ns a hit with 8, 23 to 28 with 64).
const SHARDS: usize = 64;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u64);

impl Bytes {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Bytes(bytes)
    }
    /// This many times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Bytes(n.saturating_mul(1 << 10))
    }
    /// This many times 1024² bytes.
    pub const fn mib(n: u64) -> Self {
        Bytes(n.saturating_mul(1 << 20))
    }
    /// This many times 1024³ bytes.
    pub const fn gib(n: u64) -> Self {
        Bytes(n.saturating_mul(1 << 30))
    }
    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The memory tier.
pub(crate) struct Memory {
    cache: Cache<Place, Arc<Entry>, Weight, Carried, Evictions>,
    /// Entries the table let go of: evicted, or replaced by another of the same key, which it does not tell apart.
    let_go: Arc<AtomicU64>,
    replaced: AtomicU64,
}

/// The place an entry is filed under: its key's hash and nothing else, so that the table is small and a hit has little
/// of it to fetch. Two keys with one hash of 64 bits take turns: the entry knows whose it is, so the other misses.
#[derive(PartialEq, Eq)]
struct Place(u64);

impl Hash for Place {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Bytes, but never less than what keeps the number of entries within its cap.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Place, Arc<Entry>> for Weight {
    fn weight(&self, _place: &Place, entry: &Arc<Entry>) -> u64 {
        entry.weight().max(self.least)
    }
}

#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Place, Arc<Entry>> for Evictions {
    /// What was evicted, dropped after the shard's lock is released: values may be large.
    type RequestState = SmallVec<[Arc<Entry>; 2]>;

    fn on_evict(&self, state: &mut Self::RequestState, _place: Place, entry: Arc<Entry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        state.push(entry);
    }
}

impl Memory {
    /// A tier of at most this many bytes and, if given, entries.
    pub(crate) fn new(bytes_max: Bytes, entries_max: Option<u64>) -> Self {
        let bytes_max = bytes_max.get().max(1);
        let least = entries_max.map_or(1, |entries| bytes_max.div_ceil(entries.max(1)));
        // Only a hint, but a low one makes quick_cache use fewer shards.
        let expected = (bytes_max / least.max(1024)).clamp(SHARDS as u64 * 32, 1 << 22) as usize;
        let let_go = Arc::new(AtomicU64::new(0));
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(expected)
            .weight_capacity(bytes_max)
            .build()
            .unwrap_or_else(|error| unreachable!("all required options are set: {error}"));
        let lifecycle = Evictions(let_go.clone());
        Memory {
            cache: Cache::with_options(options, Weight { least }, Carried::default(), lifecycle),
            let_go,
            replaced: AtomicU64::new(0),
        }
    }

    /// The entry in the place of this key; the caller must ask it whether it [is of](Head::is_of) the key.
    #[inline]
    pub(crate) fn at_place_of(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.get(&Place(key.hash))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.at_place_of(key).filter(|entry| entry.is_of(key))
    }

    /// Looks without making the entry look wanted.
    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.peek(&Place(key.hash)).filter(|entry| entry.is_of(key))
    }

    /// Keeps an entry, replacing what the key held (`replaces`: whether it held something, for the count of evictions).
    /// False when it is larger than a shard and was not kept.
    pub(crate) fn insert(&self, key: &Key, entry: Arc<Entry>, replaces: bool) -> bool {
        if entry.weight() > self.cache.shard_capacity() {
            self.remove(key);
            return false;
        }
        if replaces {
            self.replaced.fetch_add(1, Ordering::Relaxed);
        }
        self.cache.insert(Place(key.hash), entry);
        true
    }

    /// Empties the place of this key.
    pub(crate) fn remove(&self, key: &Key) {
        self.cache.remove(&Place(key.hash));
    }

    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    pub(crate) fn entries(&self) -> u64 {
        self.cache.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.cache.capacity()
    }

    pub(crate) fn evicted(&self) -> u64 {
        let replaced = self.replaced.load(Ordering::Relaxed);
        self.let_go.load(Ordering::Relaxed).saturating_sub(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::expiry::Times;
    use larder_core::key;

    fn entry_of(key: &Key, value: u64) -> Arc<Entry> {
        let times = Times { created: 1, refresh: 2, soft: 2, hard: 2, end: 2 };
        Value::new(value).file(
            key,
            Rest {
                dependencies: Default::default(),
                times,
                gate: Default::default(),
                born: None,
                tags: Arc::default(),
                unnamable: false,
                value_bytes: 8,
            },
        )
    }

    fn found(memory: &Memory, key: &Key) -> Option<u64> {
        let entry = memory.get(key)?;
        assert!(memory.peek(key).is_some_and(|peeked| Arc::ptr_eq(&peeked, &entry)));
        typed::<u64>(entry).map(|entry| *entry.value())
    }

    #[test]
    fn keys_with_the_same_hash_take_turns_and_are_never_taken_for_one_another() {
        let memory = Memory::new(Bytes::mib(16), None);
        let long = || "a text that does not fit into a key, and is kept outside of it";
        let keys = [
            key![1],
            key![2],
            key!["sixteen or more bytes", 1],
            key!["sixteen or more bytes", 2],
            key![long(), 1],
            key![long(), 2],
            key![],
        ];
        let of_scope = |scope| keys.iter().map(move |segments| (scope, segments));
        let keys: Vec<_> = of_scope(1)
            .chain(of_scope(2))
            .map(|(scope, segments)| Key { hash: 7, scope, segments: segments.clone() })
            .collect();
        for (value, key) in (0..).zip(&keys) {
            assert!(memory.insert(key, entry_of(key, value), false));
            for other in &keys {
                assert_eq!(found(&memory, other), (other == key).then_some(value), "{:?}", other.segments);
            }
        }
        assert_eq!(memory.entries(), 1);
    }
}
