//! A node: one life of one process with a real cache in it, and the application's regions.

use crate::fake::{JournalPort, Origin, RowId, Seen, StorePort};
use crate::fault::Fault;
use crate::options::REPLICA_LAG_MAX;
use crate::oracle::Region as Kind;
use crate::sched::NodeRuntime;
use crate::world::World;
use larder::{
    Bytes, Cache, Level, Pattern, Policy, Region, Segments, SourceLimits, Target, TenantCache, key, tag,
};
use std::sync::Arc;
use std::time::Duration;

/// The regions that hold rows under their own keys.
pub(crate) const REGIONS: [&str; 4] = ["bounded", "eventual", "safe", "lagging"];

/// One life of a node.
#[derive(Clone)]
pub(crate) struct Node(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) world: World,
    pub(crate) rt: NodeRuntime,
    pub(crate) origin: Origin,
    pub(crate) cache: Cache,
    tenants: Vec<Tenant>,
}

/// What one tenant's users work with.
pub(crate) struct Tenant {
    pub(crate) cache: TenantCache,
    pub(crate) bounded: Region<Seen>,
    pub(crate) eventual: Region<Seen>,
    pub(crate) safe: Region<Seen>,
    pub(crate) sums: Region<Vec<Seen>>,
    pub(crate) lagging: Region<Seen>,
}

impl std::ops::Deref for Node {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Node {
    /// Starts a cache on a node. What is wrong with its settings is a mistake of the simulator.
    pub(crate) async fn start(world: &World, rt: &NodeRuntime) -> Result<Node, larder::Error> {
        let options = world.options();
        let seed = world.sim().draw(|rng| rng.u64(..));
        let mut builder = Cache::builder("sim")
            .memory(Bytes::kib(options.memory_kib))
            .bound_max(Duration::from_nanos(options.bound_max_ns()))
            .remembered_targets_max(options.targets_max as usize)
            .clock(Arc::new(rt.clone()))
            .simulated(Arc::new(rt.clone()), seed)
            .source("database", SourceLimits::concurrency(options.loads_max as usize))
            .journal(JournalPort::new(world, rt));
        if options.store {
            builder = builder.store(StorePort::new(world, rt));
        }
        let cache = builder.build().await?;
        let tenants = (0..options.tenants).map(|n| Tenant::of(&cache, n, options));
        let tenants = tenants.collect::<Result<_, _>>()?;
        let origin = Origin { world: world.clone(), rt: rt.clone() };
        Ok(Node(Arc::new(Parts { world: world.clone(), rt: rt.clone(), origin, cache, tenants })))
    }

    /// The regions that a row's tenant works with.
    pub(crate) fn tenant_of(&self, row: RowId) -> &Tenant {
        let tenant = self.world.database().tenant_of(row);
        &self.tenants[tenant as usize]
    }

    /// The key of a row: its group, then itself.
    pub(crate) fn key_of(&self, row: RowId) -> Segments {
        let group = self.world.database().group_of(row);
        key![group, row.0]
    }

    pub(crate) fn region_of(&self, row: RowId, kind: Kind) -> &Region<Seen> {
        let tenant = self.tenant_of(row);
        match kind {
            Kind::Eventual => &tenant.eventual,
            Kind::Safe => &tenant.safe,
            Kind::Lagging => &tenant.lagging,
            Kind::Bounded | Kind::Sums => &tenant.bounded,
        }
    }

    /// What a write to this row invalidates, chosen among all the ways to say it, and whether that names every version
    /// there ever was.
    pub(crate) fn targets_of(&self, row: RowId, replaced_owner: Option<u8>) -> (Vec<Target>, bool) {
        let key = self.key_of(row);
        let group = self.world.database().group_of(row);
        let each = |name: fn(&str, &Segments) -> Target| REGIONS.map(|r| name(r, &key));
        let way = self.world.sim().draw(|rng| rng.u32(..100));
        let targets = match (way, replaced_owner) {
            (0..35, _) => each(|region, key| Target::key(region, key.clone())).to_vec(),
            (35..55, _) => vec![Target::tag(tag!["row", row.0])],
            (55..65, Some(owner)) => vec![Target::tag(tag!["owner", row.0, owner])],
            (65..75, _) => vec![Target::tag(tag!["group", group])],
            (75..88, _) => REGIONS.map(|r| Target::prefix(r, key![group])).to_vec(),
            (88..97, _) => {
                let pattern = Pattern::new().any().exact(row.0);
                REGIONS.map(|r| Target::pattern(r, pattern.clone())).to_vec()
            }
            (97..98, _) => vec![Target::Everything],
            _ => vec![Target::tag(tag!["row", row.0])],
        };
        let covers_all = !matches!((way, replaced_owner), (55..65, Some(_)));
        (self.tenant_of(row).cache.targets(targets), covers_all)
    }
}

impl Tenant {
    fn of(cache: &Cache, n: u32, options: &crate::options::Options) -> Result<Self, larder::Error> {
        let cache = cache.tenant(&format!("t{n}"));
        let ttl = Duration::from_millis(options.ttl_ms);
        let bound = Duration::from_millis(options.bound_ms);
        let policy = Policy::ttl(ttl)
            .source("database")
            .negative_ttl(ttl)
            .hard_timeout(Duration::from_secs(10))
            .level(Level::Bounded(bound));
        let lagging = if options.has(Fault::DbReplicaLag) {
            policy.clone().replica_lag(Duration::from_nanos(REPLICA_LAG_MAX))
        } else {
            policy.clone()
        };
        let safe = policy
            .clone()
            .stale_while_revalidate(ttl)
            .refresh_ahead(0.5)
            .jitter(0.1)
            .fail_safe(ttl * 10, Duration::from_millis(200))
            .soft_timeout(Duration::from_millis(100));
        Ok(Tenant {
            bounded: cache.region("bounded", policy.clone())?,
            eventual: cache.region("eventual", policy.clone().level(Level::Eventual))?,
            safe: cache.region("safe", safe)?,
            sums: cache.region("sums", policy)?,
            lagging: cache.region("lagging", lagging)?,
            cache,
        })
    }
}
