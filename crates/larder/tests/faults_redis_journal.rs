//! What happens to a Redis that is a journal, through whole caches: emptied, restored from an old dump, flushed, evicted,
//! failed over with its newest records lost, frozen, cut off. No read that begins later than the bound after a write was
//! acknowledged returns anything older, nobody repairs anything, and everything goes on.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod servers;

use larder::journal::RedisJournal;
use larder::port::Journal;
use larder::redis::Redis;
use larder::testing::FakeStore;
use larder::{Cause, Target, key};
use larder_rig::{Flavour, Proxy, Sentinel, Server};
use servers::node::{BOUND, NS, Node, Origin, Readers, all_well, two_nodes};
use servers::{pace, until};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What is done to a server while nodes read and write; the epoch must be another one afterwards.
async fn history_is_lost(lose: impl Fn(&Server)) {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let origin = Origin::default();
        let (a, b) = two_nodes(&server.url(), &origin).await;
        for _ in 0..3 {
            assert!(a.write().await && b.write().await);
        }
        assert_eq!((a.read().await, b.epoch()), (6, a.epoch()));
        let before = a.epoch();
        let readers = Readers::of(&[&a, &b]);
        assert!(a.write().await);
        lose(&server);
        until("another epoch", async || a.epoch() != before && a.epoch() == b.epoch()).await;
        all_well(&[&a, &b]).await;
        all_well(&[&b, &a]).await;
        readers.done().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_empty() {
    history_is_lost(|server| server.restart_empty().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushall() {
    history_is_lost(|server| drop(server.ask(&["FLUSHALL"]).unwrap())).await;
}

/// `allkeys-lru` took the records and left the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_are_evicted_and_the_head_is_not() {
    history_is_lost(|server| {
        // The nodes are up to date: somebody else's record is what is missing.
        let key = "{larder:booking}:head";
        let head = server.ask(&["HGET", key, "head"]).unwrap().text();
        let next = head[33..49].parse::<u64>().unwrap() + 1;
        let head = format!("{}{next:016}{:016x}{}", &head[..33], 7, &head[65..]);
        server.ask(&["HSET", key, "head", &head]).unwrap();
        server.ask(&["DEL", "{larder:booking}:log"]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_is_evicted_and_the_records_are_not() {
    history_is_lost(|server| drop(server.ask(&["DEL", "{larder:booking}:head"]).unwrap())).await;
}

/// The dump knows nothing of the last records, and their positions are handed out again before anybody looks. What a
/// store holds of the time before them must not come back, on a node that has never seen them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restored_from_an_old_dump() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let (origin, store) = (Origin::default(), FakeStore::new());
        let a = Arc::new(Node::on(&server.url(), &origin, Some(&store)).await);
        assert!(a.write().await);
        assert_eq!(a.read().await, 1);
        until("the store has the first version", async || a.cache.stats().stores[0].counts.puts > 0).await;
        let (stored, dump, before) = (store.snapshot(), server.dump().unwrap(), a.epoch());
        assert!(a.write().await && a.write().await);
        for round in 0..2 {
            server.restart_from(&dump).unwrap();
            // Somebody else is quicker than any node.
            let other = RedisJournal::connect(&server.url()).await.unwrap();
            let named = [Target::key("slots", key![99])];
            for _ in 0..2 {
                other.append(NS, &named, &Cause::from("elsewhere")).await.unwrap();
            }
            let seen = a.epoch();
            until("another epoch", async || a.epoch() != before && (round == 0 || a.epoch() != seen)).await;
            store.restore(&stored);
            let fresh = Arc::new(Node::on(&server.url(), &origin, Some(&store)).await);
            assert_eq!(
                fresh.read().await,
                3,
                "round {round}: a record that is lost had named what the store holds"
            );
            all_well(&[&a, &fresh]).await;
            origin.0.version.store(3, Ordering::SeqCst);
            origin.0.acknowledged.lock().unwrap().retain(|(_, version)| *version <= 3);
        }
    }
}

/// The replica hears nothing more of its master, which goes on taking records; then the master dies.
async fn fail_over_losing_the_tail(sentinel: &Sentinel, then: impl AsyncFn()) {
    let replica = sentinel.replica().unwrap();
    replica.ask(&["CONFIG", "SET", "masterauth", "wrong"]).unwrap();
    replica.ask(&["CLIENT", "KILL", "TYPE", "master"]).unwrap();
    until("the replica is cut off", async || replica.info("master_link_status").unwrap() == "down").await;
    then().await;
    sentinel.kill_master().unwrap();
    until("a new master", async || replica.info("role").is_ok_and(|role| role == "master")).await;
    replica.ask(&["CONFIG", "SET", "masterauth", ""]).unwrap();
}

/// Both nodes have applied the record that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_the_newest_records() {
    for flavour in Flavour::installed() {
        let sentinel = Sentinel::start(flavour).unwrap();
        let origin = Origin::default();
        let (a, b) = two_nodes(&sentinel.url(), &origin).await;
        assert!(a.write().await);
        assert_eq!((a.read().await, b.read().await), (1, 1));
        let before = a.epoch();
        let readers = Readers::of(&[&a, &b]);
        fail_over_losing_the_tail(&sentinel, async || {
            assert!(a.write().await && b.write().await);
            let position = a.cache.stats().journal.position.max(b.cache.stats().journal.position);
            let applied = |node: &Node| node.cache.stats().journal.position == position;
            until("both have applied it", async || applied(&a) && applied(&b)).await;
        })
        .await;
        until("another epoch", async || a.epoch() != before && a.epoch() == b.epoch()).await;
        all_well(&[&a, &b]).await;
        readers.done().await;
    }
}

/// A server that does not answer for longer than the lease, whose connections all stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let origin = Origin::default();
        let (a, b) = two_nodes(&server.url(), &origin).await;
        assert!(a.write().await);
        let (before, readers) = (a.epoch(), Readers::of(&[&a, &b]));
        server.pause();
        // Queued: nobody has been told, so nothing is owed.
        assert!(!b.write().await);
        until("distrust", async || !a.is_trusted() && !b.is_trusted()).await;
        server.resume();
        all_well(&[&a, &b]).await;
        until("the queue is empty", async || b.cache.stats().journal.queued == 0).await;
        assert_eq!(a.epoch(), before, "nothing was lost");
        readers.done().await;
    }
}

/// One node cannot reach the server; the other goes on writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let proxy = Proxy::start(server.address()).unwrap();
        let origin = Origin::default();
        let a = Arc::new(Node::on(&proxy.url(), &origin, None).await);
        let b = Arc::new(Node::on(&server.url(), &origin, None).await);
        all_well(&[&a, &b]).await;
        let readers = Readers::of(&[&a, &b]);
        proxy.hold(true);
        let mut pace = pace(BOUND / 10);
        for _ in 0..20 {
            assert!(b.write().await);
            pace.tick().await;
        }
        proxy.hold(false);
        all_well(&[&a, &b]).await;
        readers.done().await;
    }
}

/// The journal's hints are lost for good: the lease alone keeps the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_are_killed_again_and_again() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let origin = Origin::default();
        let (a, b) = two_nodes(&server.url(), &origin).await;
        let readers = Readers::of(&[&a, &b]);
        let mut pace = pace(BOUND / 10);
        for _ in 0..20 {
            server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
            assert!(b.write().await);
            pace.tick().await;
        }
        all_well(&[&a, &b]).await;
        readers.done().await;
    }
}

/// Memory is full and nothing may be evicted: what is written to be kept is refused, an invalidation is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_still_takes_invalidations() {
    for flavour in Flavour::installed() {
        let server = Server::configure(flavour).setting("maxmemory", "1").start().unwrap();
        let origin = Origin::default();
        assert!(server.ask(&["SET", "payload", "x"]).is_err(), "full from the start");
        let (a, b) = two_nodes(&server.url(), &origin).await;
        let readers = Readers::of(&[&a, &b]);
        for _ in 0..10 {
            assert!(a.write().await);
        }
        all_well(&[&a, &b]).await;
        readers.done().await;
    }
}

/// What the server's settings say is looked at once, and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_is_told_of() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::configure(flavour)
        .setting("maxmemory", "100mb")
        .setting("maxmemory-policy", "allkeys-lru")
        .user("modest", "on >pw ~{larder:* &{larder:* +evalsha +eval +hello +client +subscribe +ping")
        .start()
        .unwrap();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let journal = RedisJournal::on(&redis);
    assert!(journal.durability().is_none(), "not asked yet");
    journal.history(NS).await.unwrap();
    let found = journal.durability().unwrap();
    assert_eq!(found.eviction.as_deref(), Some("allkeys-lru"));
    assert_eq!(found.risks().len(), 2, "{:?}", found.risks());
}

/// Records that come with hints renew no lease. Many of them, one right after the other, kept the follower from asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_without_an_end_do_not_put_off_the_renewal() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let origin = Origin::default();
        let (a, b) = two_nodes(&server.url(), &origin).await;
        let (before, began) = (a.cache.stats().journal, Instant::now());
        let mut written = 0;
        while began.elapsed() < BOUND * 6 {
            assert!(b.write().await);
            written += 1;
            assert!(a.is_trusted(), "after {written} records");
        }
        let after = a.cache.stats().journal;
        let renewals = after.renewals - before.renewals;
        assert!(renewals >= 6, "{renewals} renewals");
        assert!(
            renewals < written / 4,
            "{renewals} questions for {written} records: most came with their hints"
        );
    }
}
