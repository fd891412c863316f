//! Larder in `race`: every way a value gets into the cache, against an invalidation by key and by tag.
//!
//! Its region is at the default level, with the memory journal; the held loads go through the same public calls
//! as any other.

use crate::Failure;
use crate::race::round::Contender;
use crate::race::stage::Load;
use larder::{Cache, Policy, Region, Target, key, tag};
use std::convert::Infallible;
use std::time::Duration;

/// How the value is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `get_or_load` of a cold key.
    Foreground,
    /// `get_or_load` of a value past its soft TTL: the reader is given the stale value, the load refreshes.
    BackgroundRefresh,
    /// `get_many_or_load` of the key and a neighbour.
    Batch,
}

/// How it is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Key,
    Tag,
}

/// A region with one way in and one way to invalidate.
pub(crate) struct Larder {
    cache: Cache,
    region: Region<u64>,
    how: How,
    by: By,
}

/// Neighbours of batches lie far above the keys of rounds.
const NEIGHBOUR: u64 = 1 << 40;

impl Larder {
    pub(crate) async fn build(how: How, by: By) -> Result<Self, Failure> {
        let cache = Cache::builder("compare").build().await?;
        let hour = Duration::from_secs(3600);
        let policy = match how {
            How::Foreground | How::Batch => Policy::ttl(hour),
            How::BackgroundRefresh => Policy::ttl(SOFT_TTL).stale_while_revalidate(hour),
        };
        let region = cache.region("versions", policy)?;
        Ok(Self { cache, region, how, by })
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        Ok(self.cache.close().await?)
    }
}
