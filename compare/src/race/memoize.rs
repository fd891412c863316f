//! `cached`: a memoized async function, as its README shows it, with an explicit remove from the generated
//! static. Twice: with its defaults, and with `sync_writes = "by_key"`, which runs one load per key.
//!
//! Its third mode, `sync_writes = true`, holds the lock of the whole cache while it loads, so that a remove
//! waits for the load to end: no race, and no invalidation of anything while anything loads. It cannot play
//! these rounds, in which the invalidation is acknowledged while the loader still runs.

use crate::Failure;
use crate::race::round::Contender;
use crate::race::stage::Load;
use cached::Cached;
use cached::macros::cached;

#[cached(name = "PLAIN", key = "u64", convert = { _key })]
async fn plain(_key: u64, load: Load) -> u64 {
    load.run().await
}

#[cached(name = "BY_KEY", key = "u64", convert = { _key }, sync_writes = "by_key")]
async fn by_key(_key: u64, load: Load) -> u64 {
    load.run().await
}

/// `#[cached]` with its defaults: concurrent first calls all run the function.
pub(crate) struct Plain;

impl Contender for Plain {
    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        Ok(plain(key, load).await)
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        let _removed = PLAIN.write().await.cache_remove(&key);
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(PLAIN.write().await.cache_get(&key).copied())
    }
}

/// `#[cached(sync_writes = "by_key")]`: concurrent first calls of a key run the function once.
pub(crate) struct ByKey;

impl Contender for ByKey {
    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        Ok(by_key(key, load).await)
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        let _removed = BY_KEY.write().await.cache_remove(&key);
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(BY_KEY.write().await.cache_get(&key).copied())
    }
}
