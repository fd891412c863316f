//! The policy of a region: how long its entries live, what it promises, and how hard it may lean on the origin.
//!
//! Plain settings; checked once, when the region is made.

use crate::codec::{Codec, Compression};
use crate::error::Error;
use larder_core::Level;
use larder_core::expiry::{Expiry, FailSafe};
use std::time::Duration;

/// How a region behaves. Start with [`Policy::ttl`]; everything else has a default that is safe.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(crate) expiry: Expiry,
    pub(crate) level: Level,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Duration,
    pub(crate) source: String,
    pub(crate) schema: u32,
    pub(crate) codec: Codec,
    pub(crate) compression: Compression,
    pub(crate) value_bytes_max: u64,
    pub(crate) memory_only: bool,
    pub(crate) own_flights: bool,
    pub(crate) replica_lag: Option<Duration>,
}

/// The name of the source that regions load from unless they say otherwise.
pub const DEFAULT_SOURCE: &str = "default";

impl Policy {
    /// Entries are fresh for `ttl`. Zero: values are returned and shared by concurrent readers, never kept.
    pub fn ttl(ttl: Duration) -> Self {
        Policy {
            expiry: Expiry::ttl(ttl),
            level: Level::default(),
            soft_timeout: None,
            hard_timeout: Duration::from_secs(30),
            source: DEFAULT_SOURCE.to_owned(),
            schema: 1,
            codec: Codec::default(),
            compression: Compression::default(),
            value_bytes_max: 16 << 20,
            memory_only: false,
            own_flights: false,
            replica_lag: None,
        }
    }

    /// The staleness the region allows; `Bounded(1 s)` unless set.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// For this long after the TTL, readers get the old value at once while one refresh runs.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.expiry.stale_while_revalidate = window;
        self
    }

    /// From this fraction of the TTL (above 0, below 1), a read starts a refresh in the background.
    #[must_use]
    pub fn refresh_ahead(mut self, fraction: f64) -> Self {
        self.expiry.refresh_ahead = Some(fraction);
        self
    }

    /// When the origin fails, serve what has expired, up to `max_age` after it was loaded, and try the origin again
    /// only after `throttle`. Never serves what was invalidated. The outcome says that it is stale.
    #[must_use]
    pub fn fail_safe(mut self, max_age: Duration, throttle: Duration) -> Self {
        self.expiry.fail_safe = Some(FailSafe { max_age, throttle });
        self
    }

    /// Remember for this long that the origin has nothing under a key.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.expiry.negative_ttl = Some(ttl);
        self
    }

    /// Take up to this fraction (0 to 0.5) off each entry's TTL at random.
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.expiry.jitter = fraction;
        self
    }

    /// A reader that has a fallback waits this long for the load, which then goes on in the background.
    #[must_use]
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.soft_timeout = Some(timeout);
        self
    }

    /// A load that takes longer is dropped; 30 s unless set.
    #[must_use]
    pub fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.hard_timeout = timeout;
        self
    }

    /// The source whose limits apply to this region's loads; see `CacheBuilder::source`.
    #[must_use]
    pub fn source(mut self, name: &str) -> Self {
        name.clone_into(&mut self.source);
        self
    }

    /// The version of the value type's shape; 1 unless set. Raise it when the type changes, so that a new program
    /// never decodes what an old one stored. Both go on invalidating each other: tags and keys have no version.
    #[must_use]
    pub fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// The format of values in the tiers below memory; JSON unless set.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// How values are compressed below memory; LZ4 from 1 KiB unless set.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Larger values (encoded, in bytes) are returned but not kept in any tier; 16 MiB unless set. Memory further
    /// keeps only what fits into one of its shards.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: u64) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// Keep entries in memory only, not in the stores.
    #[must_use]
    pub fn memory_only(mut self) -> Self {
        self.memory_only = true;
        self
    }

    /// Do not share loads with other nodes. Without this, a node that is about to load a key asks the first store that can
    /// tell (Redis; SQLite cannot) whether another node is loading it already, and waits for that one.
    #[must_use]
    pub fn own_flights(mut self) -> Self {
        self.own_flights = true;
        self
    }

    /// Loads of this region come from a replica of the origin that is at most `lag` behind. What is loaded is then taken to
    /// be as old as that: for so long after an invalidation, what is loaded is returned and not kept. The staleness a
    /// reader may see is the larger of the level's bound and the lag. Session tokens and write guards do not reach further
    /// than that here.
    #[must_use]
    pub fn replica_lag(mut self, lag: Duration) -> Self {
        self.replica_lag = Some(lag);
        self
    }

    /// The staleness a read may see, if it is bounded at all.
    pub(crate) fn bound(&self) -> Option<Duration> {
        match self.level {
            Level::Eventual => None,
            Level::Bounded(bound) => Some(bound.max(self.replica_lag.unwrap_or_default())),
        }
    }

    pub(crate) fn check(&self, region: &str) -> Result<(), Error> {
        let wrong = |field: &str, value: String, expected: &str| {
            Err(Error::invalid(format!("region {region:?}: {field} is {value}; expected {expected}")))
        };
        let expiry = &self.expiry;
        if let Some(fraction) = expiry.refresh_ahead
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return wrong("refresh_ahead", fraction.to_string(), "a fraction above 0 and below 1");
        }
        if !(0.0..=0.5).contains(&expiry.jitter) {
            return wrong("jitter", expiry.jitter.to_string(), "a fraction from 0 to 0.5");
        }
        if let Some(safe) = expiry.fail_safe
            && safe.max_age < expiry.ttl.saturating_add(expiry.stale_while_revalidate)
        {
            let expected = "at least the TTL and the stale-while-revalidate window together";
            return wrong("fail_safe max_age", format!("{:?}", safe.max_age), expected);
        }
        if self.hard_timeout.is_zero() {
            return wrong("hard_timeout", "0".into(), "more than zero");
        }
        if let Some(soft) = self.soft_timeout
            && soft > self.hard_timeout
        {
            return wrong("soft_timeout", format!("{soft:?}"), "at most the hard timeout");
        }
        if self.replica_lag.is_some_and(|lag| lag.is_zero()) {
            return wrong("replica_lag", "0".into(), "more than zero, or none for the origin itself");
        }
        if let Level::Bounded(bound) = self.level
            && bound < Duration::from_millis(1)
        {
            let expected = "a bound of at least 1 ms: a lease is renewed every third of it";
            return wrong("level", self.level.to_string(), expected);
        }
        Ok(())
    }
}
