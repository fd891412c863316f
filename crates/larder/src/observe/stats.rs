//! Counters of regions and tiers, and what `cache.stats()` shows of them.
//!
//! All are counted in stripes, one a thread. Every read counts as exactly one hit or one miss.

use super::{Histogram, Latencies, Striped};

/// One hit in this many is timed, and counts for as many in the read latencies.
pub(crate) const HIT_SAMPLE: u64 = 1024;

macro_rules! counters {
    ($(#[$enum_doc:meta])* $name:ident, $snapshot:ident { $($(#[doc = $doc:literal])* $variant:ident => $field:ident,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy)]
        #[repr(usize)]
        pub(crate) enum $name { $($variant,)* }

        impl $name {
            const COUNT: usize = [$($name::$variant,)*].len();
        }

        /// Counts since the cache was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $snapshot { $($(#[doc = $doc])* pub $field: u64,)* }

        impl $snapshot {
            fn read(cells: &Striped<{ $name::COUNT }>) -> Self {
                $snapshot { $($field: cells.sum($name::$variant as usize),)* }
            }

            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

counters! {
    /// What is counted of a region off the hit path.
    Count, Counts {
        #[doc = "Reads answered from memory after a closer look: stale ones, known absences, renewed leases."]
        HitMemory => hits_memory_slow,
        #[doc = "Reads answered from a store."]
        HitStore => hits_store,
        #[doc = "Of the hits: past the TTL, served while a refresh runs."]
        ServedRevalidating => served_revalidating,
        #[doc = "Misses answered with an expired value because the origin failed or is slow."]
        ServedFallback => served_fallback,
        #[doc = "Of the hits: remembered absences."]
        HitAbsent => hits_absent,
        #[doc = "Misses: in no tier."]
        MissCold => misses_cold,
        #[doc = "Misses: found, but past its time."]
        MissExpired => misses_expired,
        #[doc = "Misses: found, but invalidated."]
        MissInvalidated => misses_invalidated,
        #[doc = "Misses: found, but born before what this node remembers, or in another history."]
        MissBelowFloor => misses_below_floor,
        #[doc = "Misses: found, but it depends on something that is being written under a guard."]
        MissIntended => misses_intended,
        #[doc = "Misses: found, but the journal could not be asked whether it is still right."]
        MissUnconfirmed => misses_unconfirmed,
        #[doc = "Entries of any tier rejected by the rule, loads overtaken by an invalidation included."]
        RejectedByRule => rejected_by_rule,
        #[doc = "Stored entries refused before the rule: damaged, of another key or schema, too large, undecodable."]
        RejectedStored => rejected_stored,
        #[doc = "Loads begun."]
        Load => loads,
        #[doc = "Loads that failed: error, panic, declined."]
        LoadFailed => loads_failed,
        #[doc = "Loads dropped at their hard timeout."]
        LoadTimedOut => loads_timed_out,
        #[doc = "Loads refused because their source was overloaded."]
        LoadOverloaded => loads_overloaded,
        #[doc = "Reads that followed a load another reader had begun."]
        Followed => flights_joined,
        #[doc = "Loads put off because another node was loading the key."]
        LoadAwaited => loads_awaited,
        #[doc = "Loads not begun because another node had just loaded the key."]
        LoadSpared => loads_spared,
        #[doc = "Loads begun in the background: stale-while-revalidate and refresh-ahead."]
        Refresh => refreshes,
        #[doc = "Loads that went on in the background after their reader left or would wait no longer."]
        Detached => loads_detached,
        #[doc = "Loads that said the previous value still holds."]
        NotModified => not_modified,
        #[doc = "Values not kept because of their size."]
        TooLarge => too_large,
        #[doc = "Values not kept in stores because they could not be encoded."]
        Unencodable => unencodable,
        #[doc = "Values put by the application."]
        Put => puts,
        #[doc = "Keys removed by the application."]
        Remove => removes,
        #[doc = "Keys expired by the application."]
        Expire => expires,
    }
}

counters! {
    /// What is counted of a store.
    StoreCount, StoreCounts {
        #[doc = "Keys asked for."]
        Get => gets,
        #[doc = "Keys found."]
        Found => found,
        #[doc = "Keys written."]
        Put => puts,
        #[doc = "Operations that failed."]
        Error => errors,
        #[doc = "Operations not begun because the store had been failing."]
        ShortCircuited => short_circuited,
        #[doc = "Writes dropped because too many were waiting."]
        Dropped => writes_dropped,
        #[doc = "Keys removed because a record had named their entry and nobody asked for it."]
        Reclaimed => reclaimed,
    }
}

/// Counters of one region, all tenants together.
pub(crate) struct RegionStats {
    hits: Striped<1>,
    cells: Striped<{ Count::COUNT }>,
    pub(crate) reads: Histogram,
    pub(crate) loads: Histogram,
}

impl RegionStats {
    pub(crate) fn new() -> Self {
        RegionStats {
            hits: Striped::new(),
            cells: Striped::new(),
            reads: Histogram::default(),
            loads: Histogram::default(),
        }
    }

    /// One fresh hit in memory. True when this one is to be timed.
    #[inline]
    pub(crate) fn hit(&self) -> bool {
        self.hits.add(0, 1).is_multiple_of(HIT_SAMPLE)
    }

    /// The sampled hit took so long; it stands for all since the last sample.
    pub(crate) fn hits_took(&self, took: std::time::Duration) {
        self.reads.record_n(took, HIT_SAMPLE);
    }

    pub(crate) fn add(&self, count: Count) {
        self.cells.add(count as usize, 1);
    }

    pub(crate) fn snapshot(&self) -> RegionSnapshot {
        let counts = Counts::read(&self.cells);
        let hits_memory = self.hits.sum(0) + counts.hits_memory_slow;
        RegionSnapshot { hits_memory, counts, reads: self.reads.snapshot(), loads: self.loads.snapshot() }
    }
}

/// Counters of one store.
#[derive(Default)]
pub(crate) struct StoreStats {
    cells: Striped<{ StoreCount::COUNT }>,
    pub(crate) gets: Histogram,
}

impl StoreStats {
    pub(crate) fn add(&self, count: StoreCount, n: u64) {
        self.cells.add(count as usize, n);
    }

    pub(crate) fn counts(&self) -> StoreCounts {
        StoreCounts::read(&self.cells)
    }
}

/// One region at one moment.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RegionSnapshot {
    /// Reads answered from memory.
    pub hits_memory: u64,
    /// Everything else.
    pub counts: Counts,
    /// Time of reads: all that went beyond memory, and a sample of the hits in memory, weighted to stand for all.
    pub reads: Latencies,
    /// Time of loads, from the loader's start to its end.
    pub loads: Latencies,
}

impl RegionSnapshot {
    /// Reads answered without waiting for the origin.
    pub fn hits(&self) -> u64 {
        self.hits_memory + self.counts.hits_store
    }

    /// Reads that were not.
    pub fn misses(&self) -> u64 {
        let c = &self.counts;
        c.misses_cold
            + c.misses_expired
            + c.misses_invalidated
            + c.misses_below_floor
            + c.misses_intended
            + c.misses_unconfirmed
    }

    /// Hits of all reads, 0 to 1; 0 before the first.
    pub fn hit_rate(&self) -> f64 {
        let reads = self.hits() + self.misses();
        if reads == 0 { 0.0 } else { self.hits() as f64 / reads as f64 }
    }

    /// Reads answered with a value past its TTL.
    pub fn stale_served(&self) -> u64 {
        self.counts.served_revalidating + self.counts.served_fallback
    }
}

/// The memory tier at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// Entries held.
    pub entries: u64,
    /// Bytes they are counted as.
    pub bytes: u64,
    /// The most they may be.
    pub bytes_max: u64,
    /// Entries dropped for room.
    pub evictions: u64,
}

impl MemorySnapshot {
    pub(crate) fn new(entries: u64, bytes: u64, bytes_max: u64, evictions: u64) -> Self {
        MemorySnapshot { entries, bytes, bytes_max, evictions }
    }
}

/// A store at one moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StoreSnapshot {
    /// Its name.
    pub name: &'static str,
    /// Entries it held when it was last asked; it is asked every few seconds.
    pub entries: u64,
    /// Bytes it held then.
    pub bytes: u64,
    /// Its counters.
    pub counts: StoreCounts,
    /// Time of lookups.
    pub gets: Latencies,
    /// Whether it has been failing and is left alone for a moment: the cache works without it.
    pub degraded: bool,
}

/// The journal, as this node follows it, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalSnapshot {
    /// Its name.
    pub name: &'static str,
    /// Whether it answered when last asked, and hints come in: others' records are heard of at once.
    pub connected: bool,
    /// Whether everything it had when last asked has been applied.
    pub caught_up: bool,
    /// Whether this node serves what it holds in the region with the tightest bound: it was caught up within that.
    pub trusted: bool,
    /// The newest position applied.
    pub position: u64,
    /// The epoch of its history, in hexadecimal; empty before it was first reached.
    pub epoch: String,
    /// How long ago this node was last known to be up to date; `None` when it does not trust its state.
    pub confirmed_ago: Option<std::time::Duration>,
    /// Records applied.
    pub applied: u64,
    /// Renewals of the lease that succeeded, and that failed.
    pub renewals: u64,
    /// Renewals that failed.
    pub renewals_failed: u64,
    /// Times history had to be taken up anew: gaps, compaction, another epoch.
    pub resyncs: u64,
    /// Invalidations that could not be recorded yet and will be tried again.
    pub queued: u64,
    /// Guarded writes under way in any process, as far as this one has applied the journal.
    pub intents_open: u64,
    /// What the last renewal that failed said; `None` after one that succeeded.
    pub last_error: Option<String>,
}

/// Everything `cache.stats()` knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Regions by name, in order.
    pub regions: Vec<(String, RegionSnapshot)>,
    /// The memory tier.
    pub memory: MemorySnapshot,
    /// Stores in tier order.
    pub stores: Vec<StoreSnapshot>,
    /// The journal.
    pub journal: JournalSnapshot,
}

impl Stats {
    /// The snapshot of one region.
    pub fn region(&self, name: &str) -> Option<&RegionSnapshot> {
        self.regions.iter().find(|(n, _)| n == name).map(|(_, snapshot)| snapshot)
    }
}
