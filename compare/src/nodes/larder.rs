//! Larder: store and journal on the one Redis, a region at the default level, `Bounded(1 s)`.

use super::Node;
use super::stage::Load;
use crate::Failure;
use larder::journal::RedisJournal;
use larder::redis::{Redis, RedisOptions};
use larder::store::RedisStore;
use larder::{Cache, Policy, Region, key};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// What an operation on Redis may take.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

pub(crate) struct Larder {
    cache: Cache,
    region: Region<u64>,
}

impl Node for Larder {
    async fn start(url: &str) -> Result<Self, Failure> {
        let redis = Redis::connect_with(RedisOptions::parse(url)?.deadline(DEADLINE)).await;
        let journal = RedisJournal::on(&redis);
        let cache = Cache::builder("race").journal(journal).store(RedisStore::on(&redis)).build().await?;
        let region = cache.region("versions", Policy::ttl(Duration::from_secs(3600)))?;
        Ok(Larder { cache, region })
    }

    async fn read(self: &Arc<Self>, key: u64, load: Load) -> Result<u64, Failure> {
        let loader = async move |_| Ok::<_, Infallible>(load.run().await);
        Ok(*self.region.get_or_load(key![key], loader).await?)
    }

    async fn invalidate(self: &Arc<Self>, key: u64) -> Result<(), Failure> {
        self.cache.invalidate([self.region.target(key![key])]).await?;
        Ok(())
    }
}
