//! Larder in `race`: every way a value gets into the cache, against an invalidation by key and by tag.
//!
//! Its region is at the default level, with the memory journal; the held loads go through the same public calls
//! as any other. The clock is given, so that a value passes its TTL without anybody waiting for it.

use crate::Failure;
use crate::race::round::Contender;
use crate::race::stage::Load;
use larder::port::{Clock, Nanos};
use larder::{Batch, Cache, Policy, Region, Segments, Target, key, tag};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the value is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `get_or_load` of a cold key.
    Foreground,
    /// `get_or_load` of a value past its soft TTL: its reader is given the stale value, the load refreshes it.
    BackgroundRefresh,
    /// `get_many_or_load` of the key and a neighbour.
    Batch,
}

/// How it is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By its key.
    Key,
    /// By a tag that its loader adds.
    Tag,
}

/// A region with one way in and one way to invalidate.
pub(crate) struct Larder {
    cache: Cache,
    region: Region<u64>,
    clock: Arc<GivenClock>,
    how: How,
    by: By,
}

const TTL: Duration = Duration::from_secs(60);
const SERVED_STALE: Duration = Duration::from_secs(24 * 3600);

/// Neighbours of batches lie far above the keys of rounds.
const NEIGHBOURS: u64 = 1 << 40;

impl Larder {
    /// A cache of its own for one path.
    pub(crate) async fn build(how: How, by: By) -> Result<Self, Failure> {
        let clock = Arc::new(GivenClock(AtomicU64::new(1)));
        let given: Arc<dyn Clock> = clock.clone();
        let cache = Cache::builder("compare").clock(given).build().await?;
        let region = cache.region("versions", Policy::ttl(TTL).stale_while_revalidate(SERVED_STALE))?;
        Ok(Self { cache, region, clock, how, by })
    }

    async fn load_one(&self, key: u64, load: Load) -> Result<u64, Failure> {
        let loader = async move |loading: larder::Load<u64>| {
            loading.tag(tag!["row", key]);
            Ok::<_, Infallible>(load.run().await)
        };
        Ok(*self.region.get_or_load(key![key], loader).await?)
    }

    async fn load_batch(&self, key: u64, load: Load) -> Result<u64, Failure> {
        // A batch's loader may be called again, for a key that was overtaken: then it just reads the origin.
        let origin = load.origin();
        let held = Arc::new(Mutex::new(Some(load)));
        let loader = move |batch: Batch<u64>| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            let load = held.unwrap_or_else(|| origin.load());
            async move {
                let keys: Vec<Segments> = batch.keys().cloned().collect();
                for segments in &keys {
                    batch.tag(segments, tag!["row", key]);
                }
                let version = load.run().await;
                Ok::<_, Infallible>(keys.into_iter().map(|segments| (segments, version)).collect::<Vec<_>>())
            }
        };
        let asked = [key![key], key![NEIGHBOURS + key]];
        let answers = self.region.get_many_or_load(asked, loader).await;
        let first = answers.into_iter().next().ok_or("a batch of two keys had no answers")?;
        Ok(*first?)
    }
}

impl Contender for Larder {
    async fn prepare(&self, key: u64, load: Load) -> Result<(), Failure> {
        if self.how == How::BackgroundRefresh {
            self.load_one(key, load).await?;
            self.clock.advance(TTL * 2);
        }
        Ok(())
    }

    async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
        match self.how {
            How::Foreground | How::BackgroundRefresh => self.load_one(key, load).await,
            How::Batch => self.load_batch(key, load).await,
        }
    }

    async fn invalidate(&self, key: u64) -> Result<(), Failure> {
        match self.by {
            By::Key => self.region.invalidate(key![key]).await?,
            By::Tag => self.cache.invalidate([Target::tag(tag!["row", key])]).await?,
        };
        Ok(())
    }

    async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
        Ok(self.region.get(key![key]).await?.map(|outcome| *outcome))
    }
}

/// A clock that stands until it is moved.
struct GivenClock(AtomicU64);

impl GivenClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for GivenClock {
    fn now(&self) -> Nanos {
        self.0.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> u64 {
        self.now() / 1_000_000
    }
}
