//! Readers and a writer on every node, and the judgement of every read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet, time};

use super::{
    node::BOUND,
    nodes::Node,
    oracle::Oracle,
    origin::Origin,
    scene::Scene,
    wire::{Answer, Ask},
};

/// Of which the last few are for probing.
pub(super) const KEYS: u64 = 300;
const PROBES: u64 = 8;
/// Readers of each node, at a time.
const READERS: usize = 3;
/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(4);
/// Between two tries at a node that is dead, or fails.
const BREATH: Duration = Duration::from_millis(5);
/// How long one write may take while it is asked whether all is well.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);
/// After which a row has not recovered.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(30);

/// Counted while the row runs.
#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
    staleness_us: AtomicU64,
    fault_reads: AtomicU64,
    fault_hits: AtomicU64,
    fault_slowest_us: AtomicU64,
    applied: AtomicU64,
    queued: AtomicU64,
}

/// What a row has measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) reads: u64,
    /// Reads that were answered with an error, of all.
    pub(super) failed: u64,
    /// Reads that missed a write acknowledged longer ago than the level allows.
    pub(super) stale: u64,
    pub(super) staleness_max: Duration,
    /// Reads answered while the fault was there.
    pub(super) fault_reads: u64,
    pub(super) fault_hits: u64,
    pub(super) fault_slowest: Duration,
    pub(super) fault_lasted: Duration,
    /// Writes whose invalidation was recorded, and those that had to wait for that.
    pub(super) applied: u64,
    pub(super) queued: u64,
}

struct Shared {
    nodes: Vec<Arc<Node>>,
    origin: Arc<Origin>,
    oracle: Oracle,
    counts: Counts,
    in_fault: AtomicBool,
    stop: AtomicBool,
}

/// The traffic of one row.
pub(super) struct Traffic {
    runtime: Runtime,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    fault_began: Option<Instant>,
    fault_lasted: Duration,
}

impl Traffic {
    pub(super) fn start(scene: &Scene) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let shared = Arc::new(Shared {
            nodes: scene.nodes.clone(),
            origin: Arc::clone(&scene.origin),
            oracle: Oracle::new(KEYS),
            counts: Counts::default(),
            in_fault: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for node in &shared.nodes {
            for _ in 0..READERS {
                tasks.spawn_on(read_on(Arc::clone(&shared), Arc::clone(node)), runtime.handle());
            }
            tasks.spawn_on(write_on(Arc::clone(&shared), Arc::clone(node)), runtime.handle());
        }
        Ok(Self { runtime, shared, tasks, fault_began: None, fault_lasted: Duration::ZERO })
    }

    pub(super) fn enter_fault(&mut self) {
        self.fault_began = Some(Instant::now());
        self.shared.in_fault.store(true, Relaxed);
    }

    pub(super) fn leave_fault(&mut self) {
        self.shared.in_fault.store(false, Relaxed);
        self.fault_lasted = self.fault_began.take().map(|began| began.elapsed()).unwrap_or_default();
    }

    /// How long until every node records an invalidation at once, every other one has applied it, and all of them answer
    /// from a cache again; none if that never comes.
    pub(super) fn recovery(&self) -> Option<Duration> {
        let began = Instant::now();
        let shared = Arc::clone(&self.shared);
        let all_well = async move {
            for number in 0..shared.nodes.len() {
                while !shared.is_well(number).await {
                    time::sleep(BREATH).await;
                }
            }
        };
        let patience = async { time::timeout(RECOVERY_PATIENCE, all_well).await };
        self.runtime.block_on(patience).ok().map(|()| began.elapsed())
    }

    /// Ends the traffic, lets the bound pass, and judges one more read of every key on every node: nothing may be stale
    /// for good.
    pub(super) fn finish(mut self) -> Measured {
        let shared = Arc::clone(&self.shared);
        self.runtime.block_on(async {
            shared.stop.store(true, Relaxed);
            let ended = async { while self.tasks.join_next().await.is_some() {} };
            // A node that never answers is a failure that recovery has seen.
            let _ = time::timeout(Duration::from_secs(5), ended).await;
            time::sleep(BOUND + Duration::from_millis(100)).await;
            for node in &shared.nodes {
                for key in 0..KEYS - PROBES {
                    let read = time::timeout(Duration::from_secs(5), shared.read(node, key));
                    let _ = read.await;
                }
            }
        });
        let counts = &self.shared.counts;
        Measured {
            reads: counts.reads.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            stale: counts.stale.load(Relaxed),
            staleness_max: Duration::from_micros(counts.staleness_us.load(Relaxed)),
            fault_reads: counts.fault_reads.load(Relaxed),
            fault_hits: counts.fault_hits.load(Relaxed),
            fault_slowest: Duration::from_micros(counts.fault_slowest_us.load(Relaxed)),
            fault_lasted: self.fault_lasted,
            applied: counts.applied.load(Relaxed),
            queued: counts.queued.load(Relaxed),
        }
    }
}

async fn read_on(shared: Arc<Shared>, node: Arc<Node>) {
    while !shared.stop.load(Relaxed) {
        // People ask for some things more often than for others.
        let share = fastrand::f64() * fastrand::f64();
        let key = (share * (KEYS - PROBES) as f64) as u64;
        if shared.read(&node, key).await.is_none() {
            time::sleep(BREATH).await;
        }
    }
}

async fn write_on(shared: Arc<Shared>, node: Arc<Node>) {
    let nodes = shared.nodes.len() as u64;
    let own = shared.nodes.iter().position(|other| Arc::ptr_eq(other, &node)).unwrap_or_default() as u64;
    while !shared.stop.load(Relaxed) {
        // Each key has one writer, so that versions are written in order; readers are everywhere.
        let key = fastrand::u64(0..(KEYS - PROBES) / nodes) * nodes + own;
        shared.write(&node, key).await;
        time::sleep(WRITE_EVERY * u32::try_from(nodes).unwrap_or(1)).await;
    }
}

impl Shared {
    /// Reads and judges; none if there was no answer, or an error.
    async fn read(&self, node: &Node, key: u64) -> Option<(u64, bool)> {
        let (began, in_fault) = (Instant::now(), self.in_fault.load(Relaxed));
        let answer = node.ask(Ask::Read(key)).await;
        let counts = &self.counts;
        let took = micros(began.elapsed());
        let Some(Answer::Value { version, hit }) = answer else {
            // Of the dead no answer is expected.
            if answer.is_some() {
                counts.failed.fetch_add(1, Relaxed);
            }
            return None;
        };
        counts.reads.fetch_add(1, Relaxed);
        if in_fault {
            counts.fault_reads.fetch_add(1, Relaxed);
            counts.fault_hits.fetch_add(u64::from(hit), Relaxed);
            counts.fault_slowest_us.fetch_max(took, Relaxed);
        }
        if let Some(staleness) = self.oracle.stale_for(key, version, began) {
            counts.staleness_us.fetch_max(micros(staleness), Relaxed);
            counts.stale.fetch_add(u64::from(staleness >= BOUND), Relaxed);
        }
        Some((version, hit))
    }

    /// Writes the key's next version, and lets the node say so; the version, if its invalidation was recorded.
    async fn write(&self, node: &Node, key: u64) -> Option<u64> {
        let version = self.origin.version(key).ok()? + 1;
        self.origin.write(key, version).ok()?;
        match node.ask(Ask::Written(key)).await {
            Some(Answer::Applied) => {
                self.oracle.acknowledged(key, version);
                self.counts.applied.fetch_add(1, Relaxed);
                Some(version)
            }
            Some(_) => {
                self.counts.queued.fetch_add(1, Relaxed);
                None
            }
            None => None,
        }
    }

    /// Whether a write on this node is recorded, reaches all, and is then served from their caches.
    async fn is_well(&self, number: usize) -> bool {
        let Some(node) = self.nodes.get(number) else { return true };
        let key = KEYS - PROBES + number as u64;
        let write = time::timeout(PROBE_PATIENCE, self.write(node, key)).await;
        let Ok(Some(version)) = write else { return false };
        for other in &self.nodes {
            let fresh = async {
                while self.read(other, key).await.is_none_or(|(read, hit)| read < version || !hit) {
                    time::sleep(BREATH / 5).await;
                }
            };
            if time::timeout(2 * BOUND, fresh).await.is_err() {
                return false;
            }
        }
        true
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
