//! What the behaviour tests share: an origin with versioned values whose loads can be held, and a cache on a clock,
//! a journal and a store that do what a test tells them.
//!
//! tokio's paused timers and the cache's clock are separate: [`Rig::pass`] moves both, [`Rig::lapse`] only the
//! cache's, so that no timer (the follower's) gets a turn in between.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a rig that fails is a failed test")]

use larder::journal::MemoryJournal;
use larder::testing::{FakeJournal, FakeStore, ManualClock};
use larder::{
    Batch, Cache, CacheBuilder, Error, Level, Load, Loaded, Outcome, Policy, Region, Segments, Tag, key,
};
use larder_core::port::BoxFuture;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

pub const NS: &str = "booking";
pub const TTL: Duration = Duration::from_secs(60);

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One value that changes: every write raises its version, every load reads it first and answers later.
#[derive(Clone, Default)]
pub struct Origin(Arc<Inner>);

struct Inner {
    version: AtomicU64,
    loads: AtomicU64,
    answer: Mutex<Answer>,
    tags: Mutex<Vec<Tag>>,
    batches: Mutex<Vec<Vec<Segments>>>,
    held: AtomicBool,
    arrived: Semaphore,
    leave: Semaphore,
}

/// What the origin does with a load.
#[derive(Clone, Default)]
pub enum Answer {
    #[default]
    Version,
    Absent,
    NotModified,
    Declined,
    Error,
    Panic,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            version: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            answer: Mutex::default(),
            tags: Mutex::default(),
            batches: Mutex::default(),
            held: AtomicBool::new(false),
            arrived: Semaphore::new(0),
            leave: Semaphore::new(0),
        }
    }
}

/// The error of an origin that fails.
#[derive(Debug)]
pub struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin is down")
    }
}

impl std::error::Error for Down {}

pub type Loading = BoxFuture<'static, Result<Loaded<u64>, Down>>;
pub type BatchLoading = BoxFuture<'static, Result<Vec<(Segments, Loaded<u64>)>, Down>>;

impl Origin {
    /// A committed write; returns the version it made.
    pub fn write(&self) -> u64 {
        self.0.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn will(&self, answer: Answer) {
        *self.0.answer.lock().unwrap() = answer;
    }

    /// Loads from now on carry this tag.
    pub fn tag(&self, tag: Tag) {
        self.0.tags.lock().unwrap().push(tag);
    }

    pub fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// The keys each batch load was asked for.
    pub fn batches(&self) -> Vec<Vec<Segments>> {
        self.0.batches.lock().unwrap().clone()
    }

    /// Loads that begin from now on stop after having read the version, until [`Origin::release`].
    pub fn hold(&self) {
        self.0.held.store(true, Ordering::SeqCst);
    }

    /// Loads that begin from now on run through.
    pub fn unhold(&self) {
        self.0.held.store(false, Ordering::SeqCst);
    }

    /// Waits until one more load has read its version and is held.
    pub async fn reached(&self) {
        self.0.arrived.acquire().await.unwrap().forget();
    }

    /// Lets one held load go on.
    pub fn release(&self) {
        self.0.leave.add_permits(1);
    }

    async fn ask(&self) -> Result<Loaded<u64>, Down> {
        let inner = &*self.0;
        inner.loads.fetch_add(1, Ordering::SeqCst);
        let version = inner.version.load(Ordering::SeqCst);
        let answer = inner.answer.lock().unwrap().clone();
        if inner.held.load(Ordering::SeqCst) {
            inner.arrived.add_permits(1);
            inner.leave.acquire().await.unwrap().forget();
        }
        match answer {
            Answer::Version => Ok(Loaded::Value(version)),
            Answer::Absent => Ok(Loaded::Absent),
            Answer::NotModified => Ok(Loaded::NotModified),
            Answer::Declined => Ok(Loaded::Failed("declined".to_owned())),
            Answer::Error => Err(Down),
            Answer::Panic => panic!("the loader panics"),
        }
    }

    /// A loader of one key.
    pub fn load(&self) -> impl FnOnce(Load<u64>) -> Loading + Clone + Send + 'static {
        let origin = self.clone();
        move |load| {
            Box::pin(async move {
                load.tags(origin.0.tags.lock().unwrap().iter().cloned());
                origin.ask().await
            })
        }
    }

    /// A loader of many keys.
    pub fn load_many(&self) -> impl FnOnce(Batch<u64>) -> BatchLoading + Clone + Send + 'static {
        let origin = self.clone();
        move |batch| {
            Box::pin(async move {
                let keys: Vec<Segments> = batch.keys().cloned().collect();
                origin.0.batches.lock().unwrap().push(keys.clone());
                for key in &keys {
                    origin.0.tags.lock().unwrap().iter().for_each(|tag| batch.tag(key, tag.clone()));
                }
                let answer = origin.ask().await?;
                Ok(keys.into_iter().map(|key| (key, answer.clone())).collect())
            })
        }
    }
}

/// A cache and everything it stands on.
pub struct Rig {
    pub clock: ManualClock,
    pub records: MemoryJournal,
    pub journal: FakeJournal<MemoryJournal>,
    pub store: FakeStore,
    pub origin: Origin,
    pub cache: Cache,
}

impl Rig {
    /// Memory and a journal.
    pub async fn new() -> Self {
        Self::of(|builder, _| builder).await
    }

    /// Memory, a journal, and a store.
    pub async fn with_store() -> Self {
        Self::of(|builder, store| builder.store(store.clone())).await
    }

    pub async fn of(build: impl FnOnce(CacheBuilder, &FakeStore) -> CacheBuilder) -> Self {
        let clock = ManualClock::default();
        let records = MemoryJournal::new();
        let journal = FakeJournal::new(records.clone());
        let store = FakeStore::new();
        let builder = Cache::builder(NS).clock(Arc::new(clock.clone())).journal(journal.clone());
        let cache = build(builder, &store).build().await.unwrap();
        Rig { clock, records, journal, store, origin: Origin::default(), cache }
    }

    /// Another process on the same journal and store: with empty memory, and no faults of its own.
    pub async fn another(&self) -> Cache {
        let builder = Cache::builder(NS).clock(Arc::new(self.clock.clone())).journal(self.records.clone());
        builder.store(self.store.clone()).build().await.unwrap()
    }

    pub fn region(&self, policy: Policy) -> Region<u64> {
        self.cache.region("slots", policy).unwrap()
    }

    /// Lets time pass, for the cache's clock and for timers.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
        settle().await;
    }

    /// Lets time pass for the cache's clock alone: leases lapse and nobody has renewed them yet.
    pub fn lapse(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub fn stats(&self) -> larder::observe::RegionSnapshot {
        *self.cache.stats().region("slots").unwrap()
    }

    /// Waits until so many reads follow a load of another's.
    pub async fn followers(&self, n: u64) {
        until(|| self.stats().counts.flights_joined >= n).await;
    }

    /// Waits until the writes to the store that are under way are in it.
    pub async fn stored(&self, entries: usize) {
        until(|| self.store.keys().len() >= entries).await;
    }
}

/// Reads the one key most tests are about.
pub async fn load(rig: &Rig, region: &Region<u64>) -> Result<Outcome<u64>, Error> {
    region.get_or_load(key![1], rig.origin.load()).await
}

/// A rig with a store, and a region in which that key is loaded and stored.
pub async fn loaded(policy: Policy) -> (Rig, Region<u64>) {
    let rig = Rig::with_store().await;
    let region = rig.region(policy);
    load(&rig, &region).await.unwrap();
    rig.stored(1).await;
    (rig, region)
}

/// Gives all tasks that can run a turn, several times over.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Waits for something other tasks bring about without any time passing.
pub async fn until(what: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if what() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("waited for something that does not happen");
}

/// A minute, and whatever staleness: what is tested is not the lease.
pub fn eventual() -> Policy {
    Policy::ttl(TTL).level(Level::Eventual)
}

/// A minute, and at most one second stale.
pub fn bounded() -> Policy {
    Policy::ttl(TTL).level(Level::Bounded(secs(1)))
}
