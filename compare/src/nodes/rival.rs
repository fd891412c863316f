//! `multi-tier-cache`: moka before Redis, and its invalidations by pub/sub, as its documentation sets them up.

use super::Node;
use super::stage::Load;
use crate::Failure;
use multi_tier_cache::{
    Bytes, CacheError, CacheManager, CacheStrategy, InvalidationConfig, L1Cache, L2Cache, MokaCacheConfig,
};
use std::sync::Arc;

pub(crate) struct Rival(CacheManager);

impl Node for Rival {
    async fn start(url: &str) -> Result<Self, Failure> {
        let memory = Arc::new(L1Cache::new(MokaCacheConfig::default())?);
        let redis = Arc::new(L2Cache::with_url(url).await?);
        let config = InvalidationConfig::default();
        Ok(Rival(CacheManager::new_with_invalidation(memory, redis, url, config).await?))
    }

    async fn read(self: &Arc<Self>, key: u64, load: Load) -> Result<u64, Failure> {
        let compute = || async move { Ok(Bytes::from(load.run().await.to_string())) };
        let bytes =
            self.0.get_or_compute_with(&format!("version:{key}"), CacheStrategy::LongTerm, compute).await?;
        let text = std::str::from_utf8(&bytes)?;
        Ok(text.parse().map_err(|_| CacheError::InternalError("not a version".to_owned()))?)
    }

    async fn invalidate(self: &Arc<Self>, key: u64) -> Result<(), Failure> {
        Ok(self.0.invalidate(&format!("version:{key}")).await?)
    }
}
