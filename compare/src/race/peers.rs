//! The peers of `race`: the get-or-load call each of them offers, and its own way to remove a key. None of them
//! has tags.

use crate::Failure;
use crate::race::round::Contender;
use crate::race::stage::Load;
use std::convert::Infallible;

/// Room for every key of every round.
const ENTRIES: u64 = 100_000;

/// moka: `get_with` and `invalidate`.
pub(crate) struct Moka(moka::future::Cache<u64, u64>);

impl Default for Moka {
    fn default() -> Self {
        Self(moka::future::Cache::new(ENTRIES))
    }
}

impl Contender for Moka {
    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        Ok(self.0.get_with(key, load.run()).await)
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        self.0.invalidate(&key).await;
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(self.0.get(&key).await)
    }
}

/// foyer, in memory: `get_or_fetch` and `remove`.
pub(crate) struct Foyer(foyer::Cache<u64, u64>);

impl Default for Foyer {
    fn default() -> Self {
        Self(foyer::CacheBuilder::new(ENTRIES as usize).build())
    }
}

impl Contender for Foyer {
    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        let entry = self.0.get_or_fetch(&key, || async { Ok::<_, Infallible>(load.run().await) }).await?;
        Ok(*entry.value())
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        self.0.remove(&key);
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(self.0.get(&key).map(|entry| *entry.value()))
    }
}

/// quick_cache: `get_or_insert_async` and `remove`.
pub(crate) struct QuickCache(quick_cache::sync::Cache<u64, u64>);

impl Default for QuickCache {
    fn default() -> Self {
        Self(quick_cache::sync::Cache::new(ENTRIES as usize))
    }
}

impl Contender for QuickCache {
    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        let load = async { Ok::<_, Infallible>(load.run().await) };
        Ok(self.0.get_or_insert_async(&key, load).await?)
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        self.0.remove(&key);
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(self.0.get(&key))
    }
}
