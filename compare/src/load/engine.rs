//! What an engine must offer to be measured in `load`: a get that loads on a miss. And the peers that do.

use crate::Failure;
use crate::sample::Value;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

/// A cache that loads what it does not hold.
pub(crate) trait Loading: Send + Sync + 'static {
    /// The engine's name in the rows.
    fn name(&self) -> &'static str;

    /// The value of `key`, from the cache or from `load`; returns which entry it is.
    fn get_or_load<L>(&self, key: u64, load: L) -> impl Future<Output = Result<u64, Failure>> + Send
    where
        L: Future<Output = Value> + Send + 'static;
}

/// moka: `get_with`.
pub(crate) struct Moka(moka::future::Cache<u64, Arc<Value>>);

impl Moka {
    pub(crate) fn with_room_for(entries: u64) -> Self {
        Self(moka::future::Cache::new(entries))
    }
}

impl Loading for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    async fn get_or_load<L>(&self, key: u64, load: L) -> Result<u64, Failure>
    where
        L: Future<Output = Value> + Send + 'static,
    {
        Ok(self.0.get_with(key, async { Arc::new(load.await) }).await.entry())
    }
}

/// foyer, in memory: `get_or_fetch`, which runs every load in a task of its own.
pub(crate) struct Foyer(foyer::Cache<u64, Arc<Value>>);

impl Foyer {
    pub(crate) fn with_room_for(entries: u64) -> Self {
        let builder = foyer::CacheBuilder::new(entries as usize).with_shards(64);
        Self(builder.with_eviction_config(foyer::S3FifoConfig::default()).build())
    }
}

impl Loading for Foyer {
    fn name(&self) -> &'static str {
        "foyer"
    }

    async fn get_or_load<L>(&self, key: u64, load: L) -> Result<u64, Failure>
    where
        L: Future<Output = Value> + Send + 'static,
    {
        let fetch = || async { Ok::<_, Infallible>(Arc::new(load.await)) };
        Ok(self.0.get_or_fetch(&key, fetch).await?.value().entry())
    }
}

/// quick_cache: `get_or_insert_async`.
pub(crate) struct QuickCache(quick_cache::sync::Cache<u64, Arc<Value>>);

impl QuickCache {
    pub(crate) fn with_room_for(entries: u64) -> Self {
        Self(quick_cache::sync::Cache::new(entries as usize))
    }
}

impl Loading for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    async fn get_or_load<L>(&self, key: u64, load: L) -> Result<u64, Failure>
    where
        L: Future<Output = Value> + Send + 'static,
    {
        let load = async { Ok::<_, Infallible>(Arc::new(load.await)) };
        Ok(self.0.get_or_insert_async(&key, load).await?.entry())
    }
}
