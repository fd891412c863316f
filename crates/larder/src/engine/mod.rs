//! The engine: drives the core's plans through the ports. It knows memory and the ports, no adapter, no type of value.
//!
//! Every hit is judged by [`Engine::judge`], whatever tier or flight it comes from. A region calls down into the
//! engine; the engine calls nobody above it. Background work belongs to the engine and ends with it.

mod announce;
mod batch;
mod breaker;
mod carry;
mod explain;
mod flights;
mod follow;
mod guard;
mod hints;
mod land;
mod limits;
mod load;
pub(crate) mod nested;
mod own;
mod read;
mod replica;
mod scope;
mod session;
mod shared;
mod tiers;
mod wait;

pub(crate) use announce::Announced;
pub use announce::Invalidated;
pub(crate) use batch::{BatchAnswers, BatchFuture, BatchLoader};
pub(crate) use limits::SourceLimit;
pub use limits::SourceLimits;
pub(crate) use load::{Answer, LoadFuture, Loader};
pub(crate) use nested::LoadState;
pub(crate) use replica::SharedHoldOff;
pub(crate) use scope::{Scope, ValueCodec};
pub use session::Reached;
pub(crate) use tiers::Tier;
use tiers::Turns;

use crate::clock::Time;
use crate::memory::{Head, Key, Memory};
use crate::observe::{JournalSnapshot, MemorySnapshot};
use crate::runtime::Runtime;
use announce::Queue;
use flights::Flights;
use follow::{Following, JOURNAL_DEADLINE};
use hints::Hinting;
use larder_core::port::{Backplane, Journal, Nanos};
use larder_core::sync::AtomicBool;
use larder_core::{Confirmed, Fences, NodeId, Orphans, Segments, Verdict, seeded_bug};
use own::Own;
use session::Strangers;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wait::Progress;

/// Writes to stores under way at once; further ones are dropped and counted: a lost fill is a miss later.
const STORE_WRITES_MAX: usize = 1024;

/// One cache of one namespace at work.
pub(crate) struct Engine {
    pub(crate) namespace: Arc<str>,
    /// What every key begins with in stores.
    namespace_key: Segments,
    node: NodeId,
    pub(crate) time: Time,
    pub(crate) fences: Fences,
    pub(crate) memory: Memory,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) journal: Arc<dyn Journal>,
    backplane: Option<Arc<dyn Backplane>>,
    /// Whether a hint to other nodes is under way, and whether one more is due after it.
    hinting: Arc<Hinting>,
    /// The position last hinted at because the application asked for what it had committed.
    synced: AtomicU64,
    flights: Flights,
    turn: tokio::sync::Mutex<()>,
    following: Following,
    queue: Queue,
    own: Own,
    progress: Progress,
    strangers: Strangers,
    orphans: Mutex<Orphans>,
    hold_offs: Mutex<Vec<SharedHoldOff>>,
    /// The largest bound a region of this namespace has, in any process.
    pub(crate) bound_max: Nanos,
    bound_min: AtomicU64,
    tightened: Arc<Notify>,
    store_writes: Arc<Semaphore>,
    store_turns: Turns,
    tasks: TaskTracker,
    /// What is carried along by those who wait for it, until it is done.
    carried: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Set before `stop`, which takes a lock to be looked at.
    stopped: AtomicBool,
    pub(crate) runtime: Runtime,
    random: AtomicU64,
}

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) namespace: Arc<str>,
    pub(crate) time: Time,
    pub(crate) memory: Memory,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) backplane: Option<Arc<dyn Backplane>>,
    pub(crate) targets_max: usize,
    pub(crate) bound_max: Nanos,
    pub(crate) runtime: Runtime,
    pub(crate) seed: u64,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Engine {
            namespace_key: Segments::builder().with(&*parts.namespace).finish(),
            namespace: parts.namespace,
            node: NodeId::new(u128::from(parts.seed)),
            time: parts.time,
            fences: Fences::new(parts.seed, parts.targets_max),
            memory: parts.memory,
            tiers: parts.tiers,
            journal: parts.journal,
            backplane: parts.backplane,
            hinting: Arc::default(),
            synced: AtomicU64::new(0),
            flights: Flights::default(),
            turn: tokio::sync::Mutex::default(),
            following: Following::default(),
            queue: Queue::default(),
            own: Own::default(),
            progress: Progress::default(),
            strangers: Strangers::default(),
            orphans: Mutex::default(),
            hold_offs: Mutex::default(),
            bound_max: parts.bound_max,
            // Without bounded regions the journal is still looked at every 10 s.
            bound_min: AtomicU64::new(30_000_000_000),
            tightened: Arc::default(),
            store_writes: Arc::new(Semaphore::new(STORE_WRITES_MAX)),
            store_turns: Turns::default(),
            stopped: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            carried: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime: parts.runtime,
            random: AtomicU64::new(parts.seed | 1),
        })
    }

    /// The rule and the lease on one entry: `confirmed` must have been loaded before the entry was looked at; the
    /// clock is read last, and that reading is returned.
    #[inline(always)]
    pub(crate) fn judge(
        &self,
        scope: &Scope,
        key: &Key,
        entry: &Head,
        confirmed: Confirmed,
    ) -> (Verdict, Nanos) {
        let born = || entry.local();
        let verdict =
            self.fences.check_local(born, &entry.dependencies, &entry.checked, || scope.path_of(key));
        larder_core::interleave::point();
        let confirmed = if seeded_bug!("lease_after_rule") { self.fences.lease().load() } else { confirmed };
        let now = if scope.bound.needs_lease() { self.time.now() } else { self.time.coarse() };
        (scope.bound.admit(confirmed, verdict, now), now)
    }

    /// Uniform in `0.0..1.0`.
    fn random(&self) -> f64 {
        (self.random_bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random_bits(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether the cache has been closed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Runs work in the background until it is done or the engine is stopped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.runtime.spawn(&self.tasks, async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Lets background work finish for up to `patience`, then stops what is left, the stores and the journal.
    /// How many invalidated targets could not be recorded.
    pub(crate) async fn close(&self, patience: Duration) -> usize {
        if self.is_stopped() {
            self.tasks.wait().await;
            return self.queue.len();
        }
        self.tasks.close();
        let finished = self.runtime.timeout(patience, self.finish_up()).await;
        if finished.is_err() {
            tracing::warn!(namespace = %self.namespace, "closing with background work unfinished");
        }
        self.stopped.store(true, Ordering::SeqCst);
        self.stop.cancel();
        self.tasks.wait().await;
        // Whatever was still being announced ends now, unless nobody polls it any more.
        self.carried.close();
        if self.runtime.timeout(JOURNAL_DEADLINE, self.carried.wait()).await.is_err() {
            tracing::warn!(namespace = %self.namespace, "closing while invalidations that nobody waits for are half-way");
        }
        self.drain_all().await;
        // What fails from here on is an error: nobody would try it again.
        let unrecorded = self.queue.close();
        if unrecorded > 0 {
            tracing::error!(namespace = %self.namespace, unrecorded, "closing with invalidations that no journal has");
        }
        for tier in &self.tiers {
            tier.close().await;
        }
        if let Some(backplane) = &self.backplane {
            backplane.close().await;
        }
        // Once it is said that this node is gone nobody waits for it: it must have nothing left to serve, and no lease.
        self.fences.lease().revoke();
        self.memory.clear();
        self.be_gone().await;
        self.journal.close().await;
        unrecorded
    }

    async fn finish_up(&self) {
        self.drain_queue().await;
        // Every permit back: every write to a store has ended. Then none is given out any more.
        let ended = self.store_writes.acquire_many(STORE_WRITES_MAX as u32).await;
        self.store_writes.close();
        drop(ended);
        while self.flights.len() > 0 {
            self.runtime.sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn memory_snapshot(&self) -> MemorySnapshot {
        let memory = &self.memory;
        MemorySnapshot::new(memory.entries(), memory.bytes(), memory.bytes_max(), memory.evicted())
    }

    pub(crate) fn journal_snapshot(&self) -> JournalSnapshot {
        let head = self.fences.head();
        let now = self.time.now();
        let since = self.fences.lease().load().since();
        let healthy = self.following.last_error.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        JournalSnapshot {
            name: self.journal.name(),
            connected: healthy && self.is_listening() != Some(false),
            caught_up: healthy && since.is_some(),
            trusted: since
                .is_some_and(|since| now.saturating_sub(since) < self.bound_min.load(Ordering::Relaxed)),
            position: head.map_or(0, |head| head.position),
            epoch: head.map_or_else(String::new, |head| format!("{:?}", head.epoch)),
            confirmed_ago: since.map(|since| Duration::from_nanos(now.saturating_sub(since))),
            applied: self.following.applied.load(Ordering::Relaxed),
            renewals: self.following.renewals.load(Ordering::Relaxed),
            renewals_failed: self.following.failed.load(Ordering::Relaxed),
            resyncs: self.following.resyncs.load(Ordering::Relaxed),
            queued: self.queue.len() as u64,
            intents_open: self.fences.open_intents().len() as u64,
            last_error: self.following.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
        let unrecorded = if self.tasks.is_closed() { 0 } else { self.queue.len() };
        if unrecorded > 0 {
            tracing::error!(namespace = %self.namespace, unrecorded, "gone, not closed, with invalidations that no journal has");
        }
    }
}
