//! Loads among nodes on Redis and Valkey: the suite, and whole caches that share a server which may be killed.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod redis_rig;

use larder::journal::MemoryJournal;
use larder::store::RedisStore;
use larder::testing::store_suite::StoreBench;
use larder::{Cache, Error, Outcome, Policy, Region, Source, key};
use larder_rig::{Cluster, Flavour, Server};
use redis_rig::{STORE_RIGHTS, as_larder, connect, start, wait};
use std::any::Any;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What a store needs to share flights, beside what it needs to be a store.
const FLIGHT_RIGHTS: &str = "+eval +evalsha +append +pttl";
/// For a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);
/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);
const URL: &str = "LARDER_TEST_REDIS";

fn bench(url: &str, keep: impl Any + Send + Sync) -> StoreBench {
    StoreBench { store: Arc::new(RedisStore::on(&wait(connect(url, DEADLINE)))), keep: Box::new(keep) }
}

fn single(flavour: Flavour) -> StoreBench {
    let server = start(flavour);
    bench(&server.url(), server)
}

fn redis_7() -> StoreBench {
    single(Flavour::Redis7)
}

fn redis_8() -> StoreBench {
    single(Flavour::Redis8)
}

fn valkey_9() -> StoreBench {
    single(Flavour::Valkey9)
}

fn least_rights() -> StoreBench {
    let rights = format!("{STORE_RIGHTS} {FLIGHT_RIGHTS}");
    let server = Server::configure(Flavour::Redis7).user("larder", &rights).start().unwrap();
    bench(&as_larder(&server.url()), server)
}

fn cluster() -> StoreBench {
    static CLUSTER: OnceLock<Arc<tokio::sync::Mutex<Cluster>>> = OnceLock::new();
    let start = || Arc::new(tokio::sync::Mutex::new(Cluster::start(Flavour::Redis7).unwrap()));
    let cluster = wait(Arc::clone(CLUSTER.get_or_init(start)).lock_owned());
    for slot in [0, 8_000, 16_383] {
        cluster.master(slot).unwrap().ask(&["FLUSHALL"]).unwrap();
    }
    bench(&cluster.url(), cluster)
}

mod on_redis_7 {
    larder::flights_suite!(super::redis_7);
}
mod on_redis_8 {
    larder::flights_suite!(super::redis_8);
}
mod on_valkey_9 {
    larder::flights_suite!(super::valkey_9);
}
mod with_the_least_rights {
    larder::flights_suite!(super::least_rights);
}
mod on_a_cluster {
    larder::flights_suite!(super::cluster);
}

/// Nodes on one server, with one journal.
struct Nodes {
    caches: Vec<Cache>,
    regions: Vec<Region<u64>>,
    loads: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

type Reading = JoinHandle<Result<Outcome<u64>, Error>>;

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(60))
}

impl Nodes {
    async fn new(url: &str, nodes: usize, deadline: Duration) -> Self {
        let journal = MemoryJournal::new();
        let mut caches = Vec::new();
        for _ in 0..nodes {
            // Connections of its own, as in a process of its own.
            let store = RedisStore::on(&connect(url, deadline).await);
            let builder = Cache::builder("nodes").journal(journal.clone()).store(store);
            caches.push(builder.build().await.unwrap());
        }
        let regions = caches.iter().map(|cache| cache.region("slots", policy()).unwrap()).collect();
        Nodes { caches, regions, loads: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    fn read(&self, node: usize) -> Reading {
        let (region, loads, gate) = (self.regions[node].clone(), self.loads.clone(), self.gate.clone());
        tokio::spawn(async move {
            let load = async move |_| {
                let nth = loads.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.map(|_| nth)
            };
            region.get_or_load(key![1], load).await
        })
    }

    fn count(&self, of: impl Fn(&larder::observe::Counts) -> u64) -> u64 {
        self.caches.iter().map(|cache| of(&cache.stats().region("slots").unwrap().counts)).sum()
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// Lets every load end.
    fn open(&self) {
        self.gate.add_permits(1_000_000);
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < HANG, "still not so: {what}");
        tokio::task::yield_now().await;
    }
}

async fn all(readers: Vec<Reading>) -> Vec<(u64, Source)> {
    let mut outcomes = Vec::new();
    for reader in readers {
        let outcome = tokio::time::timeout(HANG, reader).await.expect("answered").unwrap().unwrap();
        outcomes.push((*outcome, outcome.source()));
    }
    outcomes
}

async fn one_loader_for_all(url: &str, nodes: usize, readers: u64) {
    let nodes = Nodes::new(url, nodes, DEADLINE).await;
    let count = nodes.caches.len() as u64;
    let readers: Vec<Reading> = (0..count * readers).map(|n| nodes.read((n % count) as usize)).collect();
    let waiting = readers.len() as u64 - count;
    until("all wait", || {
        nodes.count(|c| c.flights_joined) == waiting && nodes.count(|c| c.loads_awaited) == count - 1
    })
    .await;
    let landed = Instant::now();
    nodes.open();
    let outcomes = all(readers).await;
    let took = landed.elapsed();
    assert_eq!(nodes.loads(), 1);
    assert!(outcomes.iter().all(|(value, _)| *value == 0));
    assert_eq!(outcomes.iter().filter(|(_, source)| *source == Source::Loader).count(), 1);
    assert_eq!(nodes.count(|c| c.loads_spared), count - 1);
    // Woken, not found out by asking again after a second.
    assert!(took < Duration::from_millis(900), "{took:?}");
    for cache in &nodes.caches {
        cache.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_run_the_loader_once() {
    let server = start(Flavour::Redis7);
    one_loader_for_all(&server.url(), 2, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_with_a_thousand_readers_each_run_the_loader_once() {
    for flavour in Flavour::installed() {
        let server = start(flavour);
        one_loader_for_all(&server.url(), 5, 1000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_on_a_cluster_run_the_loader_once() {
    let cluster = Cluster::start(Flavour::Redis7).unwrap();
    one_loader_for_all(&cluster.url(), 5, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_server_is_killed_in_the_middle_whoever_waits_loads() {
    let server = start(Flavour::Redis7);
    let nodes = Nodes::new(&server.url(), 2, Duration::from_millis(500)).await;
    let first = nodes.read(0);
    until("node 0 loads", || nodes.loads() == 1).await;
    let second = nodes.read(1);
    until("node 1 waits", || nodes.count(|c| c.loads_awaited) == 1).await;
    server.kill();
    until("node 1 loads", || nodes.loads() == 2).await;
    nodes.open();
    assert_eq!(all(vec![first, second]).await, [(0, Source::Loader), (1, Source::Loader)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_holds_up_a_load_for_no_longer_than_its_deadlines() {
    let server = start(Flavour::Redis7);
    let nodes = Nodes::new(&server.url(), 2, Duration::from_millis(300)).await;
    server.pause();
    nodes.open();
    let began = Instant::now();
    assert_eq!(all(vec![nodes.read(0), nodes.read(1)]).await.len(), 2);
    // A read of the store, and a claim.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    server.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_empty_forgets_who_loads() {
    let server = start(Flavour::Redis7);
    let nodes = Nodes::new(&server.url(), 3, DEADLINE).await;
    let first = nodes.read(0);
    until("node 0 loads", || nodes.loads() == 1).await;
    server.ask(&["FLUSHALL"]).unwrap();
    let second = nodes.read(1);
    until("another loads, or waits", || nodes.loads() == 2 || nodes.count(|c| c.loads_awaited) == 1).await;
    nodes.open();
    let outcomes = all(vec![first, second]).await;
    assert!(outcomes.iter().all(|(value, _)| *value < nodes.loads()), "{outcomes:?}");
}

/// Loads a key and never ends, until it is killed. Does nothing unless told where the server is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_loads_without_an_end() {
    let Ok(url) = std::env::var(URL) else { return };
    let nodes = Nodes::new(&url, 1, DEADLINE).await;
    let reading = nodes.read(0);
    until("it loads", || nodes.loads() == 1).await;
    println!("> loads");
    let _ = reading.await;
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_process_that_loads_is_killed_one_of_the_others_takes_over() {
    let server = start(Flavour::Redis7);
    let nodes = Nodes::new(&server.url(), 3, DEADLINE).await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_loads_without_an_end", "--nocapture", "--test-threads=1"])
        .env(URL, server.url())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Process(child.unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).any(|line| line.ends_with("> loads"));
    assert!(said, "the child loads");
    let readers: Vec<Reading> = (0..3).map(|node| nodes.read(node)).collect();
    until("all wait", || nodes.count(|c| c.loads_awaited) == 3).await;
    // It goes on leading for as long as it lives.
    let waited = Instant::now();
    until("its lead was prolonged", || {
        assert_eq!(nodes.loads(), 0);
        waited.elapsed() > Duration::from_millis(1500)
    })
    .await;
    let killed = Instant::now();
    drop(child);
    until("one of the others loads", || nodes.loads() == 1).await;
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    nodes.open();
    assert_eq!(all(readers).await.len(), 3);
    assert_eq!(nodes.loads(), 1, "one of the three");
}
