//! The Redis store when the way to the server, or the server, fails: what was promised in time is answered in time, no
//! answer reaches another's question, and everything works again without anybody doing anything.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis_rig;

use larder::journal::RedisJournal;
use larder::redis::{Redis, RedisOptions};
use larder::store::RedisStore;
use larder::{Cache, Cause, Load, Policy, key};
use larder_core::Target;
use larder_core::port::{Journal, Store, StoreError, Stored};
use larder_rig::{Cluster, Flavour, Proxy, Sentinel, Server, Setup};
use redis_rig::{connect, start, until};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(200);
/// The machine may be busy with other things.
const SLACK: Duration = Duration::from_secs(2);
const FAR: u64 = 32_503_680_000_000;

fn entry(key: &[u8], bytes: Vec<u8>) -> Stored {
    Stored { key: key.to_vec(), bytes, expires_ms: FAR }
}

/// A value that says whose it is.
fn value_of(key: &[u8], length: usize) -> Vec<u8> {
    key.iter().copied().chain(std::iter::repeat(b'.')).take(key.len() + length).collect()
}

fn is_of(value: &[u8], key: &[u8]) -> bool {
    value.starts_with(key) && value[key.len()..].iter().all(|byte| *byte == b'.')
}

/// One write and one read, each of which must end in time, well or not.
async fn once(store: &RedisStore, key: &[u8], length: usize) -> Result<(), StoreError> {
    // Large values are given four times as long.
    let most = if length < 100_000 { DEADLINE } else { DEADLINE * 4 } * 2 + SLACK;
    let began = Instant::now();
    let put = store.put_many(vec![entry(key, value_of(key, length))]).await;
    assert!(began.elapsed() < most, "a write took {:?}", began.elapsed());
    let began = Instant::now();
    let found = store.get_many(&[key.to_vec()]).await;
    assert!(began.elapsed() < most, "a read took {:?}", began.elapsed());
    if let Some(value) = found?.remove(0) {
        assert!(is_of(&value, key), "an answer to another's question");
    }
    put
}

async fn works(what: &str, store: &RedisStore) {
    until(what, async || once(store, b"works", 10).await).await;
    assert!(store.get_many(&[b"works".to_vec()]).await.unwrap()[0].is_some());
}

/// Many at once, of all sizes, many of them dropped half way, until told to stop.
fn traffic(store: &Arc<RedisStore>) -> Traffic {
    let stop = Arc::new(AtomicUsize::new(0));
    let tasks = (0..16u32).map(|task| {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut answered = 0u32;
            for round in 0u32.. {
                if stop.load(Ordering::Relaxed) == 1 {
                    break;
                }
                let key = format!("key {task} {}", round % 7).into_bytes();
                let length = [0, 10, 1_000, 50_000, 200_000][(round % 5) as usize];
                if round % 3 == 0 {
                    // Dropped while it is on its way.
                    let hurry = Duration::from_micros(u64::from(round % 400));
                    let _ = tokio::time::timeout(hurry, once(&store, &key, length)).await;
                } else if once(&store, &key, length).await.is_ok() {
                    answered += 1;
                }
                tokio::task::yield_now().await;
            }
            answered
        })
    });
    Traffic { tasks: tasks.collect(), stop }
}

struct Traffic {
    tasks: Vec<tokio::task::JoinHandle<u32>>,
    stop: Arc<AtomicUsize>,
}

impl Traffic {
    /// How many were answered well.
    async fn stop(self) -> u32 {
        self.stop.store(1, Ordering::Relaxed);
        let mut answered = 0;
        for task in self.tasks {
            answered += task.await.expect("every answer was the right one, and in time");
        }
        answered
    }
}

struct Bench {
    server: Server,
    proxy: Proxy,
    redis: Redis,
    store: Arc<RedisStore>,
}

async fn bench() -> Bench {
    let server = start(Flavour::Redis7);
    let proxy = Proxy::start(server.address()).unwrap();
    let redis = connect(&proxy.url(), DEADLINE).await;
    let store = Arc::new(RedisStore::on(&redis));
    works("at first", &store).await;
    Bench { server, proxy, redis, store }
}

/// What the store does while a fault lasts, and once it is over.
async fn through(fault: &str, inflict: impl Fn(&Bench), heal: impl Fn(&Bench), answers: bool) {
    let bench = bench().await;
    inflict(&bench);
    let mut well = 0;
    for _ in 0..5 {
        well += u32::from(once(&bench.store, b"during", 10).await.is_ok());
    }
    assert_eq!(well > 0, answers, "{fault}: {well} of 5 were answered well");
    heal(&bench);
    works(fault, &bench.store).await;
    assert_eq!(bench.redis.status().connected, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_beyond_the_deadline() {
    through("late", |b| b.proxy.delay(DEADLINE * 3), |b| b.proxy.heal(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_crumbs() {
    through("crumbs", |b| b.proxy.slice(true), |b| b.proxy.heal(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_holds_everything_back() {
    through("held", |b| b.proxy.hold(true), |b| b.proxy.heal(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything() {
    through("swallowed", |b| b.proxy.swallow(true), |b| b.proxy.heal(), false).await;
}

/// The connection is dead and nobody says so; the next one is as good as ever, and is made without being asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_only_half_open() {
    let bench = bench().await;
    bench.proxy.half_open();
    let began = Instant::now();
    assert!(once(&bench.store, b"first", 10).await.is_err());
    assert!(began.elapsed() >= DEADLINE, "{:?}: it cannot have known", began.elapsed());
    works("half open", &bench.store).await;
}

/// Nobody uses it meanwhile: it is noticed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_noticed_without_traffic() {
    let bench = bench().await;
    let made = bench.redis.status().connections_made;
    bench.proxy.half_open();
    until("a new connection", async || match bench.redis.status() {
        status if status.connections_made > made && status.connected == 1 => Ok(()),
        status => Err(status),
    })
    .await;
    assert!(once(&bench.store, b"first", 10).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_where_nobody_listens_is_known_at_once() {
    let bench = bench().await;
    bench.proxy.refuse(true);
    bench.proxy.reset();
    until("refused", async || match once(&bench.store, b"k", 1).await {
        Err(error) if error.to_string().contains("not sent") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let began = Instant::now();
    for _ in 0..100 {
        assert!(once(&bench.store, b"k", 1).await.is_err());
    }
    assert!(began.elapsed() < DEADLINE * 20, "a hundred refusals took {:?}", began.elapsed());
    bench.proxy.heal();
    works("listening again", &bench.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server() {
    through("frozen", |b| b.server.pause(), |b| b.server.resume(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server() {
    // Nobody can end it: whoever asks is paused as well.
    let pause = |b: &Bench| {
        b.server.ask(&["CLIENT", "PAUSE", "3000", "ALL"]).unwrap();
    };
    through("paused", pause, |_| {}, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_more_data_still_answers_reads() {
    let bench = bench().await;
    bench.server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    bench.server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let full = bench.store.put_many(vec![entry(b"k", b"v".to_vec())]).await.unwrap_err();
    assert!(full.to_string().contains("OOM") && !full.is_refused(), "{full}");
    assert!(bench.store.get_many(&[b"works".to_vec()]).await.unwrap()[0].is_some());
    bench.server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    works("room again", &bench.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_comes_back_empty() {
    let bench = bench().await;
    bench.server.kill();
    until("gone", async || match once(&bench.store, b"k", 1).await {
        Err(_) if bench.redis.status().connected == 0 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    bench.server.restart_empty().unwrap();
    until("back", async || bench.store.get_many(&[b"works".to_vec()]).await).await;
    assert_eq!(bench.store.get_many(&[b"works".to_vec()]).await.unwrap(), [None]);
    works("back", &bench.store).await;
}

/// Commands are dropped half way, connections end in the middle of answers, and no answer is ever another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_ever_anothers() {
    let bench = bench().await;
    let traffic = traffic(&bench.store);
    for round in 0..12 {
        let ask = |words: &[&str]| drop(bench.server.ask(words));
        match round % 6 {
            0 => bench.proxy.slice(true),
            1 => bench.proxy.reset(),
            2 => bench.proxy.cut(),
            3 => ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
            4 => ask(&["CLIENT", "PAUSE", "150", "ALL"]),
            _ => bench.proxy.half_open(),
        }
        tokio::time::timeout(Duration::from_millis(150), std::future::pending::<()>()).await.unwrap_err();
        bench.proxy.heal();
    }
    works("after all of it", &bench.store).await;
    let answered = traffic.stop().await;
    assert!(answered > 100, "only {answered} were answered well: nothing was tried");
}

/// Connects to a set of servers, believing its authority if it has one.
async fn join(url: &str, authority: Option<PathBuf>) -> Redis {
    let options = RedisOptions::parse(url).unwrap().deadline(DEADLINE);
    Redis::connect_with(match authority {
        Some(path) => options.root_certificates(std::fs::read(path).unwrap()),
        None => options,
    })
    .await
}

/// The journal goes on: on the same connections, for whoever comes now.
async fn takes_records(what: &str, redis: &Redis) {
    let (journal, target) = (RedisJournal::on(redis), [Target::key("r", key![1])]);
    let (cause, namespace) = (Cause::new("booked"), "failing");
    let appended = until(what, async || journal.append(namespace, &target, &cause).await).await;
    let history = until(what, async || journal.history(namespace).await).await;
    assert!(history.head.position >= appended.position, "{what}");
}

async fn failovers_are_followed(set: Sentinel) {
    let redis = join(&set.url(), set.authority()).await;
    let store = Arc::new(RedisStore::on(&redis));
    works("at first", &store).await;
    takes_records("at first", &redis).await;
    let traffic = traffic(&store);
    set.hand_over().unwrap();
    works("handed over", &store).await;
    set.settle().unwrap();
    set.kill_master().unwrap();
    works("after the master's death", &store).await;
    takes_records("after the master's death", &redis).await;
    assert!(traffic.stop().await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_behind_sentinel_is_followed() {
    failovers_are_followed(Sentinel::start(Flavour::Redis7).unwrap()).await;
}

/// Whoever listens to the Sentinels is cut off again and again while the master hands over: `+switch-master` goes unheard, and the
/// old master lives on as a replica. It says so to the first write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_no_sentinel_tells_of_is_followed() {
    let set = Sentinel::start(Flavour::Redis7).unwrap();
    let redis = join(&set.url(), set.authority()).await;
    let store = RedisStore::on(&redis);
    works("at first", &store).await;
    let deaf = AtomicBool::new(true);
    let killed = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            let mut killed = 0;
            while deaf.load(Ordering::Relaxed) {
                for sentinel in set.sentinels() {
                    let said = sentinel.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                    killed += said.ok().and_then(|said| said.number()).unwrap_or_default();
                }
            }
            killed
        });
        set.hand_over().unwrap();
        deaf.store(false, Ordering::Relaxed);
        killing.join().unwrap()
    });
    assert!(killed > 0, "nobody was listening");
    works("handed over, and nobody was told", &store).await;
    takes_records("handed over, and nobody was told", &redis).await;
}

/// The servers and the Sentinels speak TLS to each other and to us; a new master's certificate is looked at like the first's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_behind_sentinel_is_followed_over_tls() {
    let set = Sentinel::arranged(Flavour::Redis7, Setup::tls).unwrap();
    assert!(set.url().starts_with("rediss+sentinel://"));
    let store = RedisStore::on(&connect(&set.url(), DEADLINE).await);
    once(&store, b"k", 1).await.expect_err("an authority that nobody believes");
    failovers_are_followed(set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_and_fails_over_is_followed() {
    moves_and_failovers_are_followed(Cluster::start(Flavour::Redis7).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_and_fails_over_is_followed_over_tls() {
    let cluster = Cluster::arranged(Flavour::Redis7, Setup::tls).unwrap();
    assert!(cluster.url().starts_with("rediss+cluster://"));
    moves_and_failovers_are_followed(cluster).await;
}

async fn moves_and_failovers_are_followed(cluster: Cluster) {
    let redis = join(&cluster.url(), cluster.authority()).await;
    takes_records("at first", &redis).await;
    let store = Arc::new(RedisStore::on(&redis));
    works("at first", &store).await;
    let keys: Vec<Vec<u8>> = (0..200u32).map(|n| format!("k{n}").into_bytes()).collect();
    let entries: Vec<Stored> = keys.iter().map(|key| entry(key, value_of(key, 3))).collect();
    store.put_many(entries.clone()).await.unwrap();
    let all_there = async |what: &str| {
        let found = until(what, async || store.get_many(&keys).await).await;
        assert!(found.iter().flatten().zip(&keys).count() <= keys.len());
        for (found, key) in found.iter().zip(&keys) {
            assert!(found.as_ref().is_none_or(|value| is_of(value, key)), "{what}: another's value");
        }
        found.iter().flatten().count()
    };
    assert_eq!(all_there("all").await, 200);
    // Half way through a move, some answers are ASK; after it, MOVED.
    let slot = cluster.slot(b"larder:v:k7").unwrap();
    let step = cluster.begin_move(slot).unwrap();
    assert_eq!(all_there("moving").await, 200);
    step.carry().unwrap();
    assert_eq!(all_there("carried").await, 200);
    step.finish().unwrap();
    assert_eq!(all_there("moved").await, 200);
    store.put_many(entries.clone()).await.unwrap();
    let traffic = traffic(&store);
    cluster.hand_over(slot).unwrap();
    until("handed over", async || store.put_many(entries.clone()).await).await;
    assert_eq!(all_there("handed over").await, 200);
    cluster.kill_master(cluster.slot(b"larder:v:k1").unwrap()).unwrap();
    until("failed over", async || store.put_many(entries.clone()).await).await;
    assert_eq!(all_there("failed over").await, 200);
    takes_records("failed over", &redis).await;
    assert!(traffic.stop().await > 0);
}

/// A breaker is one for the whole store: single reads from a shard without a server opened it for all the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_gone_does_not_cost_the_others() {
    let arrange = |setup: Setup| setup.setting("cluster-require-full-coverage", "no");
    let cluster = Cluster::arranged(Flavour::Redis7, arrange).unwrap();
    let cache = Cache::builder("shards").store(RedisStore::on(&connect(&cluster.url(), DEADLINE).await));
    let cache = cache.build().await.unwrap();
    let region = cache.region::<u64>("r", Policy::ttl(Duration::from_secs(600))).unwrap();
    let store = || cache.stats().stores.remove(0).counts;
    for n in 0..60u64 {
        region.get_or_load(key![n], async move |_: Load<u64>| Ok::<_, std::io::Error>(n)).await.unwrap();
    }
    until("stored", async || if store().puts >= 60 { Ok(()) } else { Err(store()) }).await;
    for server in [cluster.replica(0).unwrap(), cluster.master(0).unwrap()] {
        server.kill();
    }
    let redis = connect(&cluster.url(), DEADLINE).await;
    until("known to be gone", async || match redis.status() {
        status if status.connected == 2 => Ok(()),
        status => Err(status.connected),
    })
    .await;
    // Another node, with nothing in memory.
    let other = Cache::builder("shards").store(RedisStore::on(&redis)).build().await.unwrap();
    let region = other.region::<u64>("r", Policy::ttl(Duration::from_secs(600))).unwrap();
    let counts = || other.stats().stores.remove(0).counts;
    let mut gone = Vec::new();
    for n in 0..60u64 {
        let before = counts().errors;
        region.get(key![n]).await.unwrap();
        gone.extend((counts().errors > before).then_some(n));
    }
    assert!(gone.len() > 3 && gone.len() < 60, "some were on that shard: {gone:?}");
    for n in gone {
        region.get(key![n]).await.unwrap();
    }
    assert_eq!(counts().short_circuited, 0, "{:?}", counts());
}
