//! Larder: a coherent multi-tier cache for services.
//!
//! Memory, then stores, then the origin, behind one API; invalidation goes through a journal that cannot be lost or
//! overtaken, and how stale a read may be is chosen per region ([`Level`]).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use larder::{Cache, Policy, Target, key, tag};
//! use std::time::Duration;
//!
//! let cache = Cache::builder("booking").build().await?;
//! let slots = cache.region::<Vec<u32>>("availability", Policy::ttl(Duration::from_secs(60)))?;
//!
//! let load = async |load: larder::Load<_>| {
//!     load.tag(tag!["branch", 7]);
//!     Ok::<_, std::io::Error>(vec![9, 10, 11]) // ask the database here
//! };
//! let free = slots.get_or_load(key![7, "2026-11-21"], load).await?;
//! assert_eq!(*free, [9, 10, 11]);
//!
//! cache.invalidate([Target::tag(tag!["branch", 7])]).await?;
//! assert!(slots.get(key![7, "2026-11-21"]).await?.is_none());
//! # Ok::<_, larder::Error>(()) }).unwrap();
//! ```

#[cfg(any(feature = "postgres", feature = "redis"))]
mod backoff;
pub mod backplane;
mod cache;
#[cfg(feature = "postgres")]
pub mod capture;
mod clock;
mod codec;
mod engine;
mod error;
#[cfg(feature = "axum")]
pub mod http;
pub mod journal;
mod memory;
pub mod observe;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod outbox;
mod outcome;
mod policy;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
mod region;
mod runtime;
#[cfg(feature = "postgres")]
pub mod source;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use cache::{Cache, CacheBuilder, TARGETS_MAX, TenantCache, Write, WriteGuard};
pub use clock::SystemClock;
pub use codec::{Codec, CodecError, Compression};
pub use engine::{Invalidated, Reached, SourceLimits};
pub use error::{Error, LoadError};
pub use larder_core::{
    Cause, Intent, IntentId, Level, Link, Path, Pattern, PatternError, Record, Segment, Segments, Tag,
    Target, TargetKind, Tenant, ToSegment, Token, TokenError, key, port, tag,
};
pub use memory::{Bytes, Key};
pub use observe::Stats;
pub use outcome::{AbsentAsNone, Freshness, Outcome, Source};
pub use policy::{DEFAULT_SOURCE, Policy};
pub use region::{Batch, Explanation, IntoKey, KEY_BYTES_MAX, Load, Loaded, Region, Snapshot};

/// The README and the pages under `docs/`: what they show is compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "sqlite"))]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/concepts/the-rule.md")]
    struct TheRule;
    #[doc = include_str!("../../../docs/concepts/lease-and-levels.md")]
    struct LeaseAndLevels;
    #[doc = include_str!("../../../docs/concepts/levels.md")]
    struct Levels;
    #[doc = include_str!("../../../docs/concepts/journal.md")]
    struct Journal;
    #[doc = include_str!("../../../docs/concepts/sqlite.md")]
    struct Sqlite;
    #[cfg(feature = "postgres")]
    #[doc = include_str!("../../../docs/concepts/postgres.md")]
    struct Postgres;
    #[cfg(feature = "postgres")]
    #[doc = include_str!("../../../docs/concepts/capture.md")]
    struct Capture;
    #[cfg(feature = "postgres")]
    #[doc = include_str!("../../../docs/concepts/sources.md")]
    struct Sources;
    #[cfg(feature = "redis")]
    #[doc = include_str!("../../../docs/concepts/redis.md")]
    struct Redis;
    #[doc = include_str!("../../../docs/concepts/redis-faults.md")]
    struct RedisFaults;
    #[cfg(feature = "redis")]
    #[doc = include_str!("../../../docs/concepts/redis-journal.md")]
    struct RedisJournal;
    #[doc = include_str!("../../../docs/concepts/flights.md")]
    struct Flights;
    #[doc = include_str!("../../../docs/concepts/expiry-and-failsafe.md")]
    struct ExpiryAndFailsafe;
    #[doc = include_str!("../../../docs/concepts/tiers-and-envelope.md")]
    struct TiersAndEnvelope;
    #[doc = include_str!("../../../docs/concepts/keys-tags-patterns.md")]
    struct KeysTagsPatterns;
    #[doc = include_str!("../../../docs/concepts/nested-loads.md")]
    struct NestedLoads;
    #[doc = include_str!("../../../docs/concepts/memory.md")]
    struct Memory;
    #[doc = include_str!("../../../docs/concepts/statistics.md")]
    struct Statistics;
}
