//! Two nodes on two threads, readers and writers at random, and an oracle: every origin row has a version, every cached
//! value carries it, every read is compared with what had been acknowledged before it began. On the writer's own node a
//! write counts at once; on the other, which hears no hints, after the region's bound. The store between them loses
//! entries and goes back in time; the origin fails now and then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::MemoryJournal;
use larder::testing::{FakeJournal, FakeStore};
use larder::{Cache, Level, Load, Outcome, Pattern, Policy, Region, Target, key, tag};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rig::{Down, NS, ms, secs};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROWS: u64 = 6;
const BOUND: Duration = ms(60);
const READERS: u64 = 6;
const LASTS: Duration = secs(2);

/// The origin and what is known of it.
struct Oracle {
    versions: Vec<AtomicU64>,
    /// Acknowledged writes of each row, newest last.
    acknowledged: Vec<Mutex<VecDeque<(Instant, u64)>>>,
    reads: AtomicU64,
    hits: AtomicU64,
    behind: AtomicU64,
}

impl Oracle {
    fn new() -> Arc<Self> {
        Arc::new(Oracle {
            versions: (0..ROWS).map(|_| AtomicU64::new(1)).collect(),
            acknowledged: (0..ROWS).map(|_| Mutex::default()).collect(),
            reads: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        })
    }

    /// The newest version acknowledged at least so long before now.
    fn floor(&self, row: u64, allowed: Duration) -> u64 {
        let now = Instant::now();
        let writes = self.acknowledged[row as usize].lock().unwrap();
        writes.iter().rev().find(|(at, _)| now.duration_since(*at) >= allowed).map_or(0, |(_, v)| *v)
    }

    fn acknowledge(&self, row: u64, version: u64) {
        let mut writes = self.acknowledged[row as usize].lock().unwrap();
        // Writers of one row may be acknowledged out of order; what counts is the newest.
        let newest = writes.back().map_or(version, |(_, newest)| version.max(*newest));
        writes.push_back((Instant::now(), newest));
        if writes.len() > 10_000 {
            writes.pop_front();
        }
    }
}

fn load(
    oracle: &Arc<Oracle>,
    row: u64,
    fails: bool,
    pause: u32,
) -> impl FnOnce(Load<u64>) -> rig::Loading + use<> {
    let oracle = oracle.clone();
    move |load| {
        Box::pin(async move {
            let version = oracle.versions[row as usize].load(Ordering::SeqCst);
            load.tag(tag!["row", row]);
            turns(pause).await;
            if fails { Err(Down) } else { Ok(version.into()) }
        })
    }
}

struct Node {
    cache: Cache,
    regions: Vec<Region<u64>>,
    /// How long after its acknowledgement a write may go unseen here.
    allowed: Duration,
}

async fn node(
    journal: FakeJournal<MemoryJournal>,
    store: &FakeStore,
    level: Level,
    allowed: Duration,
) -> Node {
    let cache = Cache::builder(NS).journal(journal).store(store.clone()).build().await.unwrap();
    let plain = Policy::ttl(secs(60)).level(level);
    let restless = Policy::ttl(ms(4)).level(level).stale_while_revalidate(ms(4)).refresh_ahead(0.5);
    let safe = Policy::ttl(ms(4)).level(level).fail_safe(secs(60), ms(2)).soft_timeout(ms(1));
    let regions = [("plain", plain), ("restless", restless), ("safe", safe)]
        .map(|(name, policy)| cache.region::<u64>(name, policy).unwrap());
    Node { cache, regions: regions.to_vec(), allowed }
}

/// Lets the others go on for a while.
async fn turns(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn read_at_random(node: Arc<Node>, oracle: Arc<Oracle>, seed: u64, until: Instant) {
    let mut random = SmallRng::seed_from_u64(seed);
    while Instant::now() < until {
        let (row, region) = (random.random_range(0..ROWS), &node.regions[random.random_range(0..3)]);
        let (fails, pause) = (random.random_ratio(1, 10), random.random_range(0..20));
        let floor = oracle.floor(row, node.allowed);
        let read: Vec<Outcome<u64>> = match random.random_range(0..4) {
            0 => region.get(key![row, "x"]).await.unwrap().into_iter().collect(),
            1 => {
                let oracle = oracle.clone();
                let loader = move |batch: larder::Batch<u64>| async move {
                    batch.tag(&key![row, "x"], tag!["row", row]);
                    let version = oracle.versions[row as usize].load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Down>(batch.keys().map(|key| (key.clone(), version)).collect::<Vec<_>>())
                };
                region.get_many_or_load([key![row, "x"]], loader).await.into_iter().flatten().collect()
            }
            _ => region
                .get_or_load(key![row, "x"], load(&oracle, row, fails, pause))
                .await
                .into_iter()
                .collect(),
        };
        for outcome in read {
            let newest = oracle.versions[row as usize].load(Ordering::SeqCst);
            assert!(
                *outcome >= floor,
                "{} of row {row} is version {}; {floor} was acknowledged {:?} before ({outcome:?})",
                region.name(),
                *outcome,
                node.allowed,
            );
            oracle.reads.fetch_add(1, Ordering::Relaxed);
            let hit = matches!(outcome.source(), larder::Source::Memory | larder::Source::Store(_));
            oracle.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
            oracle.behind.fetch_add(u64::from(*outcome < newest), Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
}

async fn write_at_random(node: Arc<Node>, oracle: Arc<Oracle>, seed: u64, until: Instant) {
    let mut random = SmallRng::seed_from_u64(seed);
    while Instant::now() < until {
        let row = random.random_range(0..ROWS);
        let version = oracle.versions[row as usize].fetch_add(1, Ordering::SeqCst) + 1;
        let each = |target: &dyn Fn(&str) -> Target| node.regions.iter().map(|r| target(r.name())).collect();
        let targets: Vec<Target> = match random.random_range(0..5) {
            0 => each(&|region| Target::key(region, key![row, "x"])),
            1 => each(&|region| Target::prefix(region, key![row])),
            2 => each(&|region| Target::pattern(region, Pattern::new().exact(row).rest())),
            3 if random.random_ratio(1, 20) => vec![Target::everything()],
            _ => vec![Target::tag(tag!["row", row])],
        };
        node.cache.invalidate(targets).await.unwrap();
        oracle.acknowledge(row, version);
        turns(random.random_range(0..300)).await;
    }
}

async fn plague(store: FakeStore, seed: u64, until: Instant) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut backup = store.snapshot();
    while Instant::now() < until {
        match random.random_range(0..3) {
            0 => backup = store.snapshot(),
            1 => store.restore(&backup),
            _ => store.lose_all(),
        }
        turns(random.random_range(0..2000)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_its_level_allows() {
    let (records, store, oracle) = (MemoryJournal::new(), FakeStore::new(), Oracle::new());
    let writers = FakeJournal::new(records.clone());
    let others = FakeJournal::new(records.clone());
    others.set_deaf(true);
    let here = Arc::new(node(writers, &store, Level::Eventual, Duration::ZERO).await);
    let there = Arc::new(node(others, &store, Level::Bounded(BOUND), BOUND).await);
    let until = Instant::now() + LASTS;
    let mut tasks = Vec::new();
    for seed in 0..READERS {
        let at = if seed % 2 == 0 { &here } else { &there };
        tasks.push(tokio::spawn(read_at_random(at.clone(), oracle.clone(), seed, until)));
    }
    for seed in 100..102 {
        tasks.push(tokio::spawn(write_at_random(here.clone(), oracle.clone(), seed, until)));
    }
    tasks.push(tokio::spawn(plague(store, 200, until)));
    for task in tasks {
        task.await.unwrap();
    }
    let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (reads, hits, behind) = (counted(&oracle.reads), counted(&oracle.hits), counted(&oracle.behind));
    // A test that cannot fail proves nothing: the tiers hit, and staleness inside the bound was seen.
    assert!(reads > 100 && hits * 10 > reads && behind > 0, "{reads} reads, {hits} hits, {behind} behind");
}
