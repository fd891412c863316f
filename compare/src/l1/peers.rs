//! The raw peers of `l1`: quick_cache, foyer and moka, each with its own default hasher.
//!
//! Capacities are twice the entries so that an uneven shard evicts nothing. Keys are asked for by reference
//! from an array in index order, the same array layout for each engine.

use crate::Failure;
use crate::l1::engine::{Engine, KeyKind, Pace, sweep};
use crate::sample::Value;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};
use std::hash::Hash;
use std::sync::Arc;

/// As many for all that have shards; quick_cache's default of 8 here stops scaling at two threads.
const SHARDS: usize = 64;

/// What a peer needs of a key.
pub(crate) trait PeerKey: Hash + Eq + Clone + Send + Sync + 'static {}
impl<K: Hash + Eq + Clone + Send + Sync + 'static> PeerKey for K {}

/// quick_cache's concurrent cache.
pub(crate) struct QuickCache<K> {
    kind: KeyKind,
    keys: Arc<[K]>,
    cache: quick_cache::sync::Cache<K, Arc<Value>>,
}

impl<K: PeerKey> QuickCache<K> {
    pub(crate) fn filled(kind: KeyKind, keys: Arc<[K]>) -> Result<Self, Failure> {
        let cache = quick_cache(keys.len())?;
        for (index, key) in (0u64..).zip(keys.iter()) {
            cache.insert(key.clone(), Value::shared(index));
        }
        Ok(Self { kind, keys, cache })
    }
}

/// An empty quick_cache with room for twice as many entries.
pub(super) fn quick_cache<K: PeerKey, V: Clone>(
    entries: usize,
) -> Result<quick_cache::sync::Cache<K, V>, Failure> {
    let capacity = entries * 2;
    let options = OptionsBuilder::new()
        .shards(SHARDS)
        .estimated_items_capacity(capacity)
        .weight_capacity(capacity as u64)
        .build()?;
    let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
    Ok(quick_cache::sync::Cache::with_options(options, UnitWeighter, hasher, lifecycle))
}

impl<K: PeerKey> Engine for QuickCache<K> {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn key(&self) -> KeyKind {
        self.kind
    }

    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure> {
        let get = |index| self.cache.get(self.keys.get(index as usize)?);
        sweep(self.name(), order, pace, get, |hit| hit)
    }
}

/// foyer's in-memory cache, with S3-FIFO: its fastest hit (its LRU and LFU take a lock for writing).
pub(crate) struct Foyer<K: PeerKey> {
    kind: KeyKind,
    keys: Arc<[K]>,
    cache: foyer::Cache<K, Arc<Value>>,
}

impl<K: PeerKey> Foyer<K> {
    pub(crate) fn filled(kind: KeyKind, keys: Arc<[K]>) -> Self {
        let cache: foyer::Cache<K, Arc<Value>> = foyer::CacheBuilder::new(keys.len() * 2)
            .with_shards(SHARDS)
            .with_eviction_config(foyer::S3FifoConfig::default())
            .build();
        for (index, key) in (0u64..).zip(keys.iter()) {
            cache.insert(key.clone(), Value::shared(index));
        }
        Self { kind, keys, cache }
    }
}

impl<K: PeerKey> Engine for Foyer<K> {
    fn name(&self) -> &'static str {
        "foyer"
    }

    fn key(&self) -> KeyKind {
        self.kind
    }

    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure> {
        // foyer hands out a counted handle of its own; cloning our `Arc` as well would charge it twice.
        let get = |index| self.cache.get(self.keys.get(index as usize)?);
        sweep(self.name(), order, pace, get, |hit| hit.value())
    }
}

/// moka's synchronous cache.
pub(crate) struct Moka<K> {
    kind: KeyKind,
    keys: Arc<[K]>,
    cache: moka::sync::Cache<K, Arc<Value>>,
}

impl<K: PeerKey> Moka<K> {
    pub(crate) fn filled(kind: KeyKind, keys: Arc<[K]>) -> Self {
        let cache = moka::sync::Cache::new(keys.len() as u64 * 2);
        for (index, key) in (0u64..).zip(keys.iter()) {
            cache.insert(key.clone(), Value::shared(index));
        }
        cache.run_pending_tasks();
        Self { kind, keys, cache }
    }
}

impl<K: PeerKey> Engine for Moka<K> {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn key(&self) -> KeyKind {
        self.kind
    }

    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure> {
        let get = |index| self.cache.get(self.keys.get(index as usize)?);
        sweep(self.name(), order, pace, get, |hit| hit)
    }
}
