//! The memory tier (L1): typed values behind `quick_cache`, bounded by bytes and by entries.
//!
//! Synchronous. Used by the engine and, for hits, by regions. It knows nothing of validity: whatever it returns has
//! yet to pass the rule. Never builds on the engine's get-or-insert, whose placeholders know nothing of
//! invalidations; flights do that.

mod entry;
mod key;

pub(crate) use entry::{Entry, Head, Rest, Typed, Value};
pub(crate) use key::Carried;
pub use key::Key;
#[cfg(feature = "testing")]
pub(crate) use key::fix_key_seed;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};
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
    cache: Cache<Filed, Arc<Entry>, Weight, Carried, Evictions>,
    /// Entries the table let go of: evicted, or replaced by another of the same key, which it does not tell apart.
    let_go: Arc<AtomicU64>,
    replaced: AtomicU64,
}

/// The key an entry is filed under: small, so that the table stays small, and near what a hit reads next.
struct Filed {
    hash: u64,
    scope: u32,
    name: Name,
}

/// A key's segments: short ones in the table itself.
#[derive(PartialEq, Eq)]
enum Name {
    Short(u8, [u8; SHORT_BYTES]),
    Long(Box<[u8]>),
}

const SHORT_BYTES: usize = 22;

impl Filed {
    fn under(key: &Key) -> Self {
        let bytes = key.segments.as_bytes();
        let name = if bytes.len() <= SHORT_BYTES {
            let mut short = [0; SHORT_BYTES];
            short[..bytes.len()].copy_from_slice(bytes);
            Name::Short(bytes.len() as u8, short)
        } else {
            Name::Long(bytes.into())
        };
        Filed { hash: key.hash, scope: key.scope, name }
    }

    /// Bytes outside the table.
    fn heap_bytes(&self) -> u64 {
        match &self.name {
            Name::Short(..) => 0,
            Name::Long(bytes) => bytes.len() as u64,
        }
    }
}

impl PartialEq for Filed {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.scope == other.scope && self.name == other.name
    }
}

impl Eq for Filed {}

impl Hash for Filed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Filed> for Key {
    #[inline]
    fn equivalent(&self, filed: &Filed) -> bool {
        self.hash == filed.hash
            && self.scope == filed.scope
            && match &filed.name {
                // All of both, padding included: no loop, no call.
                Name::Short(len, bytes) => self.segments.as_padded().is_some_and(|(own_len, own)| {
                    own_len == *len && own.first_chunk::<SHORT_BYTES>() == Some(bytes)
                }),
                Name::Long(bytes) => self.segments.as_bytes() == &**bytes,
            }
    }
}

/// Bytes, but never less than what keeps the number of entries within its cap.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Filed, Arc<Entry>> for Weight {
    fn weight(&self, key: &Filed, entry: &Arc<Entry>) -> u64 {
        (key.heap_bytes() + entry.weight()).max(self.least)
    }
}

#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Filed, Arc<Entry>> for Evictions {
    /// What was evicted, dropped after the shard's lock is released: values may be large.
    type RequestState = SmallVec<[Arc<Entry>; 2]>;

    fn on_evict(&self, state: &mut Self::RequestState, _key: Filed, entry: Arc<Entry>) {
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

    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.get(key)
    }

    /// Looks without making the entry look wanted.
    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.peek(key)
    }

    /// Keeps an entry, replacing what the key held (`replaces`: whether it held something, for the count of evictions).
    /// False when it is larger than a shard and was not kept.
    pub(crate) fn insert(&self, key: &Key, entry: Arc<Entry>, replaces: bool) -> bool {
        let filed = Filed::under(key);
        if filed.heap_bytes() + entry.weight() > self.cache.shard_capacity() {
            self.cache.remove(key);
            return false;
        }
        if replaces {
            self.replaced.fetch_add(1, Ordering::Relaxed);
        }
        self.cache.insert(filed, entry);
        true
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.cache.remove(key);
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
