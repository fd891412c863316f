//! How the cache is, for people and monitors.
//!
//! `GET /admin/cache/health` shows it. It never contains keys or values.

use std::collections::BTreeMap;

use larder::Stats;
use larder::observe::Latencies;
use serde::Serialize;

use crate::cached::CacheMode;
use crate::db::OriginCounts;

/// The cache's state.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    /// The service answers: the database behind it can be reached.
    pub(crate) serving: bool,
    pub(crate) status: Status,
    /// What is wrong, in words; empty when nothing is.
    pub(crate) problems: Vec<String>,
    /// Which cache it is.
    pub(crate) cache: &'static str,
    pub(crate) origin: OriginHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tiers: Option<Tiers>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) regions: BTreeMap<String, RegionHealth>,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// It works, with a tier or the journal missing: reads go to the database more than they should.
    Degraded,
    /// There is no cache.
    Off,
}

/// What reads have cost the database since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OriginHealth {
    pub(crate) loads: u64,
    pub(crate) queries: u64,
}

/// Memory, the second tier and the journal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tiers {
    memory: MemoryHealth,
    stores: Vec<StoreHealth>,
    journal: JournalHealth,
}

#[derive(Clone, Debug, Serialize)]
struct MemoryHealth {
    entries: u64,
    bytes: u64,
    bytes_max: u64,
    evictions: u64,
}

#[derive(Clone, Debug, Serialize)]
struct StoreHealth {
    name: &'static str,
    gets: u64,
    found: u64,
    puts: u64,
    errors: u64,
    degraded: bool,
}

#[derive(Clone, Debug, Serialize)]
struct JournalHealth {
    name: &'static str,
    position: u64,
    applied: u64,
    /// Milliseconds since this node was last known to be up to date; null when it does not trust its state.
    confirmed_ago_ms: Option<u64>,
    renewals: u64,
    renewals_failed: u64,
    resyncs: u64,
    queued: u64,
}

/// One region.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RegionHealth {
    hits_l1: u64,
    hits_l2: u64,
    misses: u64,
    misses_invalidated: u64,
    hit_rate: f64,
    loads: u64,
    loads_failed: u64,
    rejected_by_rule: u64,
    read_us: Percentiles,
    load_us: Percentiles,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Health {
    /// The state of a service: `stats` when it has a cache; `store_missing` says why a second tier is not there.
    pub(crate) fn new(
        mode: CacheMode,
        serving: bool,
        origin: &OriginCounts,
        stats: Option<&Stats>,
        store_missing: Option<&str>,
    ) -> Health {
        let mut problems = Vec::new();
        if !serving {
            problems.push("the database does not answer".to_owned());
        }
        problems.extend(store_missing.map(|why| format!("there is no second tier: {why}")));
        problems.extend(stats.into_iter().flat_map(problems_of));
        let status = match (stats, problems.is_empty()) {
            (None, _) => Status::Off,
            (Some(_), true) => Status::Ok,
            (Some(_), false) => Status::Degraded,
        };
        let regions = stats.into_iter().flat_map(|stats| &stats.regions);
        Health {
            serving,
            status,
            problems,
            cache: mode.name(),
            origin: OriginHealth { loads: origin.loads(), queries: origin.queries() },
            tiers: stats.map(tiers),
            regions: regions.map(|(name, region)| (name.clone(), region_health(region))).collect(),
        }
    }
}

fn problems_of(stats: &Stats) -> Vec<String> {
    let mut problems = Vec::new();
    for store in stats.stores.iter().filter(|store| store.degraded) {
        problems.push(format!("store {} is failing and left alone for a moment", store.name));
    }
    if let Some(error) = &stats.journal.last_error {
        problems.push(format!("journal {}: {error}", stats.journal.name));
    }
    if stats.journal.queued > 0 {
        problems.push(format!("{} invalidations wait to be recorded", stats.journal.queued));
    }
    problems
}

fn tiers(stats: &Stats) -> Tiers {
    let stores = stats.stores.iter().map(|store| StoreHealth {
        name: store.name,
        gets: store.counts.gets,
        found: store.counts.found,
        puts: store.counts.puts,
        errors: store.counts.errors,
        degraded: store.degraded,
    });
    let journal = &stats.journal;
    Tiers {
        memory: MemoryHealth {
            entries: stats.memory.entries,
            bytes: stats.memory.bytes,
            bytes_max: stats.memory.bytes_max,
            evictions: stats.memory.evictions,
        },
        stores: stores.collect(),
        journal: JournalHealth {
            name: journal.name,
            position: journal.position,
            applied: journal.applied,
            confirmed_ago_ms: journal.confirmed_ago.and_then(|ago| u64::try_from(ago.as_millis()).ok()),
            renewals: journal.renewals,
            renewals_failed: journal.renewals_failed,
            resyncs: journal.resyncs,
            queued: journal.queued,
        },
    }
}

fn region_health(region: &larder::observe::RegionSnapshot) -> RegionHealth {
    RegionHealth {
        hits_l1: region.hits_memory,
        hits_l2: region.counts.hits_store,
        misses: region.misses(),
        misses_invalidated: region.counts.misses_invalidated,
        hit_rate: region.hit_rate(),
        loads: region.counts.loads,
        loads_failed: region.counts.loads_failed,
        rejected_by_rule: region.counts.rejected_by_rule,
        read_us: percentiles(&region.reads),
        load_us: percentiles(&region.loads),
    }
}

fn percentiles(latencies: &Latencies) -> Percentiles {
    let micros = |duration: std::time::Duration| duration.as_secs_f64() * 1e6;
    Percentiles { p50: micros(latencies.p50), p95: micros(latencies.p95), p99: micros(latencies.p99) }
}
