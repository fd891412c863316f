//! Where the Redis journal's claim ends: the traces of docs/concepts/redis-journal.md. These tests pass when the read *is*
//! too old: should one fail, the claim has grown, and the page has to say so.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod servers;

use larder_rig::{Flavour, Proxy, Server};
use servers::node::{BOUND, Node, Origin, all_well};
use servers::{pace, until};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The bound has passed, and some.
async fn past_the_bound() {
    let began = Instant::now();
    until("the bound has passed", async || began.elapsed() > BOUND * 2).await;
}

/// A replica of a server, in step with it.
async fn replica_of(server: &Server, flavour: Flavour) -> Server {
    let replica = Server::start(flavour).unwrap();
    replica.ask(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]).unwrap();
    let in_step = || {
        let offset = |server: &Server| server.info("master_repl_offset").unwrap();
        replica.info("master_link_status").is_ok_and(|status| status == "up")
            && offset(&replica) == offset(server)
    };
    until("the replica is in step", async || in_step()).await;
    replica
}

/// A writer's record is acknowledged and lost, and the writer, the only one who knew of it, dies too. What is left is a
/// history that is whole and right as far as anybody can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_tail_that_nobody_knew_is_not_noticed() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::start(flavour).unwrap();
    let proxy = Proxy::start(server.address()).unwrap();
    let origin = Origin::default();
    let reader = Arc::new(Node::on(&proxy.url(), &origin, None).await);
    let writer = Arc::new(Node::on(&server.url(), &origin, None).await);
    all_well(&[&writer, &reader]).await;
    let position = |node: &Node| node.cache.stats().journal.position;
    until("both have applied it", async || position(&reader) == position(&writer)).await;
    let old = reader.read().await;
    let dump = server.dump().unwrap();
    let epoch = reader.epoch();

    proxy.swallow(true);
    assert!(writer.write().await, "acknowledged");
    drop(writer);
    server.restart_from(&dump).unwrap();
    proxy.cut();
    proxy.swallow(false);

    until("the reader trusts the journal again", async || reader.is_trusted()).await;
    past_the_bound().await;
    assert!(reader.is_trusted());
    assert_eq!(reader.epoch(), epoch, "nobody knows that anything was lost");
    let seen = reader.region.get(larder::key![1]).await.unwrap();
    assert_eq!(seen.as_deref(), Some(&old), "the old value, from memory, long after the bound");
}

/// Two servers take themselves for the master. Each is right to its own clients. Once the old one follows the new one it
/// refuses, and once what it confirmed last has lapsed the bound holds again, before anybody has turned to the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_brain_breaks_the_bound_while_it_lasts() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let old_master = Server::start(flavour).unwrap();
    let origin = Origin::default();
    let reader = Arc::new(Node::on(&old_master.url(), &origin, None).await);
    all_well(&[&reader]).await;
    let old = reader.read().await;
    let new_master = replica_of(&old_master, flavour).await;

    new_master.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let writer = Arc::new(Node::on(&new_master.url(), &origin, None).await);
    assert!(writer.write().await, "acknowledged");
    past_the_bound().await;
    assert!(reader.is_trusted(), "its server says that nothing is new");
    let seen = reader.region.get(larder::key![1]).await.unwrap();
    assert_eq!(seen.as_deref(), Some(&old), "the old value, from memory, long after the bound");

    old_master.ask(&["REPLICAOF", "127.0.0.1", &new_master.port().to_string()]).unwrap();
    // Not at once: what the old master confirmed last holds for the bound.
    let has_lapsed = |ago: Option<Duration>| ago.is_none_or(|ago| ago > BOUND);
    until("its lease has lapsed", async || has_lapsed(reader.cache.stats().journal.confirmed_ago)).await;
    let mut pace = pace(Duration::from_millis(5));
    let began = Instant::now();
    while began.elapsed() < BOUND * 2 {
        assert_eq!(reader.read().await, old + 1, "from the origin");
        pace.tick().await;
    }
}

/// A replica that lags would renew a lease with what it has. So it must refuse to be asked at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_renews_no_lease() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let origin = Origin::default();
        let writer = Arc::new(Node::on(&server.url(), &origin, None).await);
        assert!(writer.write().await);
        let replica = replica_of(&server, flavour).await;
        let reader = Arc::new(Node::on(&replica.url(), &origin, None).await);
        past_the_bound().await;
        let journal = reader.cache.stats().journal;
        assert!(journal.renewals == 0 && journal.confirmed_ago.is_none(), "{journal:?}");
        assert!(!reader.write().await, "queued");
    }
}
