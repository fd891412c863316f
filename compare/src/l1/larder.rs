//! Larder in `l1`: its public `get`, at two levels, with prebuilt keys and with keys built on every call.
//!
//! Entries carry four tags. The cache is an ordinary one, with the memory journal and its leases renewed as in
//! any service; nothing is called that a user could not call.

use crate::Failure;
use crate::l1::engine::{Engine, KeyKind, Pace, missed};
use crate::sample::{Segments, Value, text_key};
use larder::{Bytes, Cache, Key, Level, Policy, Region, key, tag};
use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longer than any run, so that no hit is an expired one.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What the sweep asks with.
enum Keys {
    Prebuilt(Vec<Key>),
    Segments(Vec<Segments>),
}

/// One region, filled.
pub(crate) struct Larder {
    name: &'static str,
    kind: KeyKind,
    keys: Keys,
    region: Region<Value>,
    cache: Cache,
    runtime: Handle,
}

impl Larder {
    /// A region at `Eventual`.
    pub(crate) fn eventual(runtime: &Handle, kind: KeyKind, entries: u32) -> Result<Self, Failure> {
        runtime.block_on(Self::filled("larder-eventual", Level::Eventual, kind, entries))
    }

    /// A region at `Bounded(1 s)`, the default.
    pub(crate) fn bounded(runtime: &Handle, kind: KeyKind, entries: u32) -> Result<Self, Failure> {
        let level = Level::Bounded(Duration::from_secs(1));
        runtime.block_on(Self::filled("larder-bounded", level, kind, entries))
    }

    async fn filled(name: &'static str, level: Level, kind: KeyKind, entries: u32) -> Result<Self, Failure> {
        let cache = Cache::builder("compare")
            // Room for twice as many, so that an uneven shard evicts nothing.
            .memory(Bytes::kib(u64::from(entries) * 4))
            .entries_max(u64::from(entries) * 2)
            .build()
            .await?;
        let region = cache.region::<Value>("slots", Policy::ttl(TTL).level(level))?;
        let indexes = 0..u64::from(entries);
        let keys = match kind {
            KeyKind::U64 => Keys::Prebuilt(prebuilt(&region, indexes, |index| key![index])?),
            KeyKind::Text => Keys::Prebuilt(prebuilt(&region, indexes, |index| key![text_key(index)])?),
            KeyKind::Segments => Keys::Segments(indexes.map(Segments::of).collect()),
        };
        for index in 0..u64::from(entries) {
            let key = match kind {
                KeyKind::U64 => key![index],
                KeyKind::Text => key![text_key(index)],
                KeyKind::Segments => built(&Segments::of(index)),
            };
            region
                .get_or_load(key, async move |load| {
                    load.tag(tag!["company", index / 1000]);
                    load.tag(tag!["branch", index % 5000]);
                    load.tag(tag!["staff", index % 997]);
                    load.tag(tag!["service", index % 10]);
                    Ok::<_, Infallible>(Value::of(index))
                })
                .await?;
        }
        Ok(Self { name, kind, keys, region, cache, runtime: Handle::current() })
    }

    async fn ask<const CHAINED: bool>(&self, order: &[u32]) -> Result<u64, Failure> {
        let (mut sum, mut nothing) = (0u64, 0);
        for &index in order {
            let index = index.wrapping_add(nothing);
            let place = index as usize;
            let hit = match &self.keys {
                Keys::Prebuilt(keys) => {
                    let key = keys.get(place).ok_or_else(|| missed(self.name, index))?;
                    self.region.get(key).await?
                }
                Keys::Segments(keys) => {
                    let segments = keys.get(place).ok_or_else(|| missed(self.name, index))?;
                    self.region.get(built(segments)).await?
                }
            };
            let hit = black_box(hit).ok_or_else(|| missed(self.name, index))?;
            sum = sum.wrapping_add(hit.entry());
            if CHAINED {
                nothing = hit.nothing();
            }
        }
        Ok(sum)
    }
}

fn prebuilt(
    region: &Region<Value>,
    indexes: Range<u64>,
    segments: impl Fn(u64) -> larder::Segments,
) -> Result<Vec<Key>, Failure> {
    Ok(indexes.map(|index| region.key(segments(index))).collect::<Result<_, _>>()?)
}

/// The key a service would build from what it has at hand.
fn built(segments: &Segments) -> larder::Segments {
    key![segments.company, segments.branch.as_str(), segments.day]
}

impl Engine for Larder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key(&self) -> KeyKind {
        self.kind
    }

    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure> {
        match pace {
            Pace::BackToBack => self.runtime.block_on(self.ask::<false>(order)),
            Pace::Chained => self.runtime.block_on(self.ask::<true>(order)),
        }
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        self.runtime.block_on(self.cache.close());
    }
}
