//! Nodes on a Redis journal, and what they owe their readers.

use super::{PATIENCE, pace, patient, until};
use larder::journal::RedisJournal;
use larder::testing::FakeStore;
use larder::{Cache, Invalidated, Level, Loaded, Policy, Region, Target, key, tag};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

pub const NS: &str = "booking";
pub const BOUND: Duration = Duration::from_millis(300);

/// The origin: one value, its version, and when each version was acknowledged.
#[derive(Clone, Default)]
pub struct Origin(pub Arc<Inner>);

#[derive(Default)]
pub struct Inner {
    pub version: AtomicU64,
    pub acknowledged: Mutex<Vec<(Instant, u64)>>,
}

impl Origin {
    pub fn write(&self) -> u64 {
        self.0.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn acknowledge(&self, version: u64) {
        self.0.acknowledged.lock().unwrap().push((Instant::now(), version));
    }

    /// The newest version acknowledged the bound before this moment.
    pub fn owed(&self, at: Instant) -> u64 {
        let acknowledged = self.0.acknowledged.lock().unwrap();
        let due = |when: Instant| when + BOUND <= at;
        acknowledged.iter().filter(|(when, _)| due(*when)).map(|(_, version)| *version).max().unwrap_or(0)
    }
}

/// A node: a cache and its one region.
pub struct Node {
    pub cache: Cache,
    pub region: Region<u64>,
    pub origin: Origin,
}

impl Node {
    pub async fn on(url: &str, origin: &Origin, store: Option<&FakeStore>) -> Self {
        let redis = patient(url, Duration::from_secs(2)).await;
        let builder = Cache::builder(NS).bound_max(BOUND).journal(RedisJournal::on(&redis));
        let builder = match store {
            Some(store) => builder.store(store.clone()),
            None => builder,
        };
        let cache = builder.build().await.unwrap();
        let policy = Policy::ttl(Duration::from_secs(600)).level(Level::Bounded(BOUND));
        let region = cache.region::<u64>("slots", policy).unwrap();
        Node { cache, region, origin: origin.clone() }
    }

    /// A read, judged: nothing older than what is owed at its beginning.
    pub async fn read(&self) -> u64 {
        let owed = self.origin.owed(Instant::now());
        let origin = self.origin.clone();
        let load = async move |load: larder::Load<u64>| {
            load.tag(tag!["branch", 7]);
            Ok::<_, std::io::Error>(Loaded::Value(origin.0.version.load(Ordering::SeqCst)))
        };
        let value = *self.region.get_or_load(key![1], load).await.unwrap();
        assert!(value >= owed, "read {value}, and {owed} was acknowledged the bound before");
        value
    }

    /// A write and its invalidation; whether the journal has it.
    pub async fn write(&self) -> bool {
        let version = self.origin.write();
        let said = self.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
        if matches!(said, Invalidated::Applied { .. }) {
            self.origin.acknowledge(version);
            return true;
        }
        false
    }

    pub fn epoch(&self) -> String {
        self.cache.stats().journal.epoch
    }

    pub fn is_trusted(&self) -> bool {
        let journal = self.cache.stats().journal;
        journal.last_error.is_none() && journal.confirmed_ago.is_some_and(|ago| ago < BOUND)
    }
}

/// Reads without an end on each node, until dropped. A read that is too old is the end of the test.
pub struct Readers(Vec<JoinHandle<()>>);

impl Readers {
    pub fn of(nodes: &[&Arc<Node>]) -> Self {
        Readers(
            nodes
                .iter()
                .map(|node| {
                    let node = Arc::clone(node);
                    tokio::spawn(async move {
                        let mut pace = pace(Duration::from_millis(1));
                        loop {
                            node.read().await;
                            pace.tick().await;
                        }
                    })
                })
                .collect(),
        )
    }

    pub async fn done(self) {
        for task in self.0 {
            task.abort();
            if let Err(error) = task.await {
                assert!(error.is_cancelled(), "{error}");
            }
        }
    }
}

/// All nodes read the newest value, from memory again.
pub async fn all_well(nodes: &[&Arc<Node>]) {
    let began = Instant::now();
    while !nodes[0].write().await {
        assert!(began.elapsed() < PATIENCE, "an invalidation is recorded again");
    }
    for node in nodes {
        until("trust", async || node.is_trusted()).await;
        let newest = node.origin.0.version.load(Ordering::SeqCst);
        until("everybody reads the newest", async || node.read().await == newest).await;
    }
}

pub async fn two_nodes(url: &str, origin: &Origin) -> (Arc<Node>, Arc<Node>) {
    let a = Arc::new(Node::on(url, origin, None).await);
    let b = Arc::new(Node::on(url, origin, None).await);
    for node in [&a, &b] {
        until("trust", async || node.is_trusted()).await;
    }
    (a, b)
}
