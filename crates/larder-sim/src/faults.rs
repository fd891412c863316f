//! What goes wrong by itself: tasks of the world that strike now and then until it is healed. A fault counts once it has
//! met something, not when it is tried.

mod journal;

use crate::app::{self, Swept};
use crate::fake::RowId;
use crate::fault::Fault;
use crate::node::{Node, REGIONS};
use crate::options::{JournalKind, REPLICA_LAG_MAX};
use crate::sched::{MS, NodeId, NodeRuntime, SECOND};
use crate::world::{Service, World};
use larder_core::port::Hint;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The nodes there are, by place.
#[derive(Clone, Default)]
pub(crate) struct Cluster(Arc<Mutex<BTreeMap<NodeId, Option<Node>>>>);

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Option<Node>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    /// The present lives of all nodes that have started.
    pub(crate) fn lives(&self) -> Vec<Node> {
        self.lock().values().flatten().cloned().collect()
    }

    /// A new node at work.
    pub(crate) fn add(&self, world: &World) {
        let sim = world.sim();
        let shown = sim.draw(|rng| rng.u64(SECOND..1_000_000 * SECOND));
        let node = sim.add_node(shown);
        self.lock().insert(node, None);
        start(world, self, NodeRuntime { sim: sim.clone(), node, life: 0 });
    }

    fn any(&self, world: &World) -> Option<NodeId> {
        let nodes = self.nodes();
        (!nodes.is_empty()).then(|| nodes[world.sim().draw(|rng| rng.usize(..nodes.len()))])
    }
}

/// Starts a life of a node: its cache, its users, and its part in the last look.
pub(crate) fn start(world: &World, cluster: &Cluster, rt: NodeRuntime) {
    world.note(rt.node, || format!("starts, life {}", rt.life));
    let (world, starting, cluster) = (world.clone(), rt.clone(), cluster.clone());
    rt.spawn(async move {
        match Node::start(&world, &starting).await {
            Ok(node) => {
                cluster.lock().insert(starting.node, Some(node.clone()));
                starting.spawn(app::users(node.clone(), cluster));
                starting.spawn(last_look(node));
            }
            Err(error) => {
                let (now, what) = (world.sim().now(), error.to_string());
                world.oracle().violation("a node starts", now, starting.node, None, what);
            }
        }
    });
}

/// When everything has been well for long enough, this node must serve the newest of everything; and after that from
/// memory again.
async fn last_look(node: Node) {
    let world = node.world.clone();
    let options = world.options();
    let at = options.last_look_at();
    world.sim().sleep_until(at).await;
    world.oracle().settle(&world.database(), world.sim().now());
    world.note(node.rt.node, || "looks at everything".to_owned());
    app::sweep(&node).await;
    // Users go on removing what they like; a look that had to wait for a load of seconds finds much of it gone.
    let is_low = |swept: &Swept| swept.from_memory * 10 < swept.reads * 8;
    let mut swept = app::sweep(&node).await;
    for _ in 0..2 {
        if is_low(&swept) {
            swept = app::sweep(&node).await;
        }
    }
    world.note(node.rt.node, || format!("has looked at everything: {swept:?}"));
    let mut oracle = world.oracle();
    oracle.looked_last(node.rt.node);
    // There is room for all and for what users remove meanwhile, and no time to expire. With fewer names remembered, what
    // users remove raises the floor every few seconds, and once in some hundred worlds between the two looks.
    let fits = options.memory_kib >= 512 && options.ttl_ms >= 5000 && options.targets_max >= 4096;
    if fits && is_low(&swept) {
        let what = format!("from memory, {swept:?}");
        oracle.violation("the hit rate recovers", world.sim().now(), node.rt.node, None, what);
    }
}

/// After the last look two nodes join, one after the other, that nobody uses: what the first had to load, the second
/// must find in the store.
async fn newcomers(world: World) {
    let options = world.options();
    if !options.has_last_look() || !options.store {
        return;
    }
    world.sim().sleep_until(options.last_look_at() + SECOND).await;
    // Kept: what it writes behind its readers' backs ends with it.
    let Some(_first) = newcomer(&world).await else { return };
    world.sim().delay(300 * MS, 400 * MS).await;
    let Some((node, swept)) = newcomer(&world).await else { return };
    let node = node.rt.node;
    let mut oracle = world.oracle();
    oracle.witnessed.warm_starts += 1;
    // Users remove entries even now. And what the first did not have to load may be over for the second: expired, or from before the oldest record by now.
    let lasts = options.ttl_ms >= 60_000 && options.retention >= 400 && options.targets_max >= 4096;
    // An entry by a wall clock that is wrong is not used, and an old write may still come and replace a newer one.
    let keeps = !options.has(Fault::WallJump) && !options.has(Fault::StoreDuplicate);
    if lasts && keeps && options.rows >= 24 && (swept.from_memory + swept.from_store) * 2 < swept.reads {
        let what = format!("from the store, {swept:?}");
        oracle.violation("the hit rate recovers", world.sim().now(), node, None, what);
    }
}

async fn newcomer(world: &World) -> Option<(Node, Swept)> {
    let sim = world.sim();
    let node = sim.add_node(SECOND);
    let rt = NodeRuntime { sim: sim.clone(), node, life: 0 };
    let (world, joining) = (world.clone(), rt.clone());
    let (told, heard) = oneshot::channel();
    rt.spawn(async move {
        match Node::start(&world, &joining).await {
            Ok(node) => {
                let swept = app::sweep(&node).await;
                drop(told.send((node, swept)));
            }
            Err(error) => {
                let (now, what) = (world.sim().now(), error.to_string());
                world.oracle().violation("a node starts", now, joining.node, None, what);
            }
        }
    });
    heard.await.ok()
}

/// Sets everything going that a run's options ask for.
pub(crate) fn unleash(world: &World, cluster: &Cluster) {
    every(world, cluster, Fault::NodePause, 4 * SECOND, pause);
    every(world, cluster, Fault::NodeCrash, 8 * SECOND, crash);
    every(world, cluster, Fault::NodeJoin, 12 * SECOND, join);
    every(world, cluster, Fault::ClockDrift, 5 * SECOND, drift);
    every(world, cluster, Fault::WallJump, 6 * SECOND, wall_jump);
    every(world, cluster, Fault::ClockJump, 4 * SECOND, clock_jump);
    every(world, cluster, Fault::Partition, 4 * SECOND, partition);
    journal::unleash(world, cluster);
    every(world, cluster, Fault::StoreEvict, SECOND / 4, |world, _| evict(world));
    every(world, cluster, Fault::StoreRollback, 5 * SECOND, |world, _| roll_back(world));
    every(world, cluster, Fault::StoreSplit, 6 * SECOND, |world, _| split(world));
    every(world, cluster, Fault::DbFailover, 9 * SECOND, |world, _| fail_over(world, false));
    every(world, cluster, Fault::DbFailoverLoss, 9 * SECOND, |world, _| fail_over(world, true));
    world.sim().spawn_world(replicate(world.clone()));
    world.sim().spawn_world(repair(world.clone()));
    world.sim().spawn_world(newcomers(world.clone()));
}

/// Whether a strike met anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bit {
    Yes,
    No,
    /// It is counted where it does.
    Later,
}

impl Bit {
    fn when(bit: bool) -> Self {
        if bit { Bit::Yes } else { Bit::No }
    }
}

/// Strikes again and again, so long apart in the mean, until the world is healed.
fn every<F, Fut>(world: &World, cluster: &Cluster, fault: Fault, mean: u64, strike: F)
where
    F: Fn(World, Cluster) -> Fut + Send + 'static,
    Fut: Future<Output = Bit> + Send + 'static,
{
    if !world.options().has(fault) {
        return;
    }
    let (world, cluster) = (world.clone(), cluster.clone());
    let mean = (mean as f64 / world.options().intensity) as u64;
    world.clone().sim().spawn_world(async move {
        loop {
            world.sim().delay(mean / 4, mean * 7 / 4).await;
            if world.is_healed() {
                return;
            }
            world.note(NodeId::WORLD, || format!("fault: {}", fault.name()));
            if strike(world.clone(), cluster.clone()).await == Bit::Yes {
                world.struck(fault);
            }
        }
    });
}

async fn pause(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world).filter(|node| world.sim().is_running(*node)) else { return Bit::No };
    world.sim().pause(node);
    world.note(node, || "is paused".to_owned());
    world.sim().delay(MS, 3 * SECOND).await;
    world.sim().resume(node);
    world.note(node, || "goes on".to_owned());
    Bit::Yes
}

async fn crash(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world) else { return Bit::No };
    cluster.lock().insert(node, None);
    world.sim().kill(node);
    world.has_died(node);
    world.note(node, || "is killed".to_owned());
    world.sim().delay(MS, 2 * SECOND).await;
    let life = world.sim().revive(node);
    start(&world, &cluster, NodeRuntime { sim: world.sim().clone(), node, life });
    Bit::Yes
}

async fn join(world: World, cluster: Cluster) -> Bit {
    let has_room = cluster.nodes().len() < 8;
    if has_room {
        cluster.add(&world);
    }
    Bit::when(has_room)
}

async fn drift(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world) else { return Bit::No };
    let ppm = world.sim().draw(|rng| rng.i64(-200..=200));
    world.sim().set_drift(node, ppm);
    world.note(node, || format!("its clock drifts by {ppm} parts in a million"));
    Bit::when(ppm != 0)
}

async fn wall_jump(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world) else { return Bit::No };
    let off = world.sim().draw(|rng| rng.i64(-3_600_000..=3_600_000));
    world.sim().set_wall_off(node, off);
    Bit::when(off != 0)
}

async fn clock_jump(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world).filter(|node| world.sim().is_running(*node)) else { return Bit::No };
    let by = world.sim().draw(|rng| rng.u64(MS..10 * SECOND));
    world.sim().jump_clock(node, by);
    world.note(node, || format!("its cheap clock jumps ahead by {} ms", by / MS));
    // A running node reads its clock at least once before it is set right: to find out.
    Bit::Yes
}

async fn partition(world: World, cluster: Cluster) -> Bit {
    let Some(node) = cluster.any(&world) else { return Bit::No };
    let services = [Service::Database, Service::Journal, Service::Store];
    let (which, for_ns, hangs) =
        world.sim().draw(|rng| (rng.usize(..3), rng.u64(10 * MS..5 * SECOND), rng.bool()));
    let until = (world.sim().now() + for_ns).min(world.options().healed_at());
    world.cut(node, services[which], until, hangs);
    world.note(node, || format!("cut off from {:?}", services[which]));
    Bit::Later
}

async fn evict(world: World) -> Bit {
    let at = world.sim().draw(|rng| rng.usize(..1000));
    Bit::when(world.payloads().evict(at))
}

async fn roll_back(world: World) -> Bit {
    let now = world.sim().now();
    // Mostly not far; sometimes to any state it ever had.
    let back = world.sim().draw(|rng| {
        let most = if rng.u32(..3) == 0 { now } else { 10 * SECOND };
        rng.u64(..most)
    });
    let wipes = world.sim().chance(0.2);
    let mut payloads = world.payloads();
    Bit::when(if wipes { payloads.wipe() } else { payloads.roll_back(now.saturating_sub(back)) })
}

async fn split(world: World) -> Bit {
    world.payloads().split();
    world.sim().delay(MS, 4 * SECOND).await;
    let winner = world.sim().draw(|rng| rng.usize(..2));
    Bit::when(world.payloads().join(winner))
}

async fn fail_over(world: World, loses: bool) -> Bit {
    world.sim().delay(MS, 50 * MS).await;
    let now = world.sim().now();
    // Asynchronous replication loses the last moments; synchronous loses nothing that was acknowledged.
    let kept_until = if loses { now - world.sim().draw(|rng| rng.u64(..500 * MS)) } else { now };
    // Where nothing was lost, the same history may go on.
    let begins_anew = loses || world.sim().chance(0.5);
    let mut database = world.database();
    let lost = database.fail_over(kept_until, now);
    if world.options().journal == JournalKind::Beside {
        world.authority().fail_over(kept_until, begins_anew, world.sim());
    }
    world.oracle().failed_over(&database);
    drop(database);
    world.note(NodeId::WORLD, || format!("failover, {} ms and {lost} commits lost", (now - kept_until) / MS));
    Bit::when(lost > 0 || !loses)
}

/// The replica follows the primary, some way behind.
async fn replicate(world: World) {
    loop {
        world.sim().delay(MS, 20 * MS).await;
        let lags = world.options().has(Fault::DbReplicaLag) && !world.is_healed();
        if lags && world.strikes(Fault::DbReplicaLag, 0.02) {
            world.sim().delay(10 * MS, REPLICA_LAG_MAX - 100 * MS).await;
        }
        let now = world.sim().now();
        world.database().replica_at = now;
    }
}

/// The application's recovery: writes whose invalidation nobody confirmed are invalidated again once all is well.
async fn repair(world: World) {
    let at = world.options().healed_at() + 2 * SECOND;
    world.sim().sleep_until(at).await;
    let rows: Vec<RowId> = (0..world.options().rows).map(RowId).collect();
    for row in rows {
        let database = world.database();
        let n = database.primary(row);
        let is_safe = database.row(row).versions[n as usize].safe_at.is_some();
        let (tenant, group) = (database.tenant_of(row), database.group_of(row));
        drop(database);
        // Nor is anybody going to find out that its record was lost, if nobody has by now.
        if is_safe && !world.oracle().is_missing(row, n) {
            continue;
        }
        let tenant = larder::Tenant::named(format!("t{tenant}"));
        let key = larder::key![group, row.0];
        let targets = REGIONS.map(|region| larder::Target::key(region, key.clone()).within(&tenant)).to_vec();
        world.note(NodeId::WORLD, || format!("recovery invalidates row {} version {n}", row.0));
        world.authority().append_repair(targets, world.sim());
        world.hint_all(NodeId::WORLD, &Hint::Look);
    }
}
