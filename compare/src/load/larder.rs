//! Larder in `load`: `get_or_load` at the default level, and what an invalidation costs by the number of entries
//! under it.

use crate::Failure;
use crate::load::engine::Loading;
use crate::sample::Value;
use larder::{Bytes, Cache, Pattern, Policy, Region, Target, key, tag};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

/// Longer than any run.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// A region in a cache of its own.
pub(crate) struct Larder {
    cache: Cache,
    region: Region<Value>,
}

impl Larder {
    pub(crate) async fn with_room_for(entries: u64) -> Result<Self, Failure> {
        let cache =
            Cache::builder("compare").memory(Bytes::kib(entries * 2)).entries_max(entries).build().await?;
        let region = cache.region("values", Policy::ttl(TTL))?;
        Ok(Self { cache, region })
    }

    /// Puts `entries` entries under the tag, the prefix and the pattern of `group`.
    pub(crate) async fn fill(&self, group: &'static str, entries: u64) -> Result<(), Failure> {
        for index in 0..entries {
            let loader = async move |load: larder::Load<Value>| {
                load.tag(tag!["group", group]);
                Ok::<_, Infallible>(Value::of(index))
            };
            self.region.get_or_load(key![group, index], loader).await?;
        }
        Ok(())
    }

    /// Whether an entry of the group is a hit.
    pub(crate) async fn holds(&self, group: &'static str, index: u64) -> Result<bool, Failure> {
        Ok(self.region.contains(key![group, index]).await?)
    }

    /// Invalidates the whole group.
    pub(crate) async fn invalidate(&self, group: &'static str, by: By) -> Result<(), Failure> {
        self.cache.invalidate([by.target(group)]).await?;
        Ok(())
    }
}

/// What names a group of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Tag,
    Prefix,
    Pattern,
}

impl By {
    /// The word in the rows.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Prefix => "prefix",
            Self::Pattern => "pattern",
        }
    }

    fn target(self, group: &'static str) -> Target {
        match self {
            Self::Tag => Target::tag(tag!["group", group]),
            Self::Prefix => Target::prefix("values", key![group]),
            Self::Pattern => Target::pattern("values", Pattern::new().exact(group).any()),
        }
    }
}

impl Loading for Larder {
    fn name(&self) -> &'static str {
        "larder"
    }

    async fn get_or_load<L>(&self, key: u64, load: L) -> Result<u64, Failure>
    where
        L: Future<Output = Value> + Send + 'static,
    {
        let loader = async move |_: larder::Load<Value>| Ok::<_, Infallible>(load.await);
        Ok(self.region.get_or_load(key![key], loader).await?.entry())
    }
}
