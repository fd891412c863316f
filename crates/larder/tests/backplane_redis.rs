//! Hints over Redis for a journal that gives none, on every server, a cluster and behind Sentinels; and what a person sees
//! of a node's state.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod servers;

use larder::backplane::RedisBackplane;
use larder::journal::{MemoryJournal, RedisJournal};
use larder::port::Journal;
use larder::redis::Redis;
use larder::testing::FakeJournal;
use larder::{Cache, Cause, Level, Policy, Region, Target, key, tag};
use larder_rig::{Flavour, Server};
use servers::{cluster, own_word, sentinel, single, until};
use std::time::Duration;

/// Nobody would learn of anything by a renewal before a test is over.
const BOUND: Duration = Duration::from_secs(600);

fn region(cache: &Cache) -> Region<u64> {
    cache.region::<u64>("slots", Policy::ttl(BOUND).level(Level::Bounded(BOUND))).unwrap()
}

async fn fill(region: &Region<u64>) {
    let load = async |load: larder::Load<u64>| {
        load.tag(tag!["branch", 7]);
        Ok::<_, std::io::Error>(1)
    };
    region.get_or_load(key![1], load).await.unwrap();
}

/// A journal without hints, as two hosts may have it, and a backplane each.
async fn hints_arrive(url: &str) {
    let (records, namespace) = (MemoryJournal::new(), own_word());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let journal = FakeJournal::new(records.clone());
        journal.set_deaf(true);
        let backplane = RedisBackplane::on(&Redis::connect(url).await.unwrap());
        let cache = Cache::builder(&namespace).bound_max(BOUND).journal(journal).backplane(backplane);
        nodes.push(cache.build().await.unwrap());
    }
    let there = region(&nodes[1]);
    for node in &nodes {
        until("hints", async || node.stats().journal.connected).await;
    }
    for round in 0..3 {
        fill(&there).await;
        assert!(there.contains(key![1]).await.unwrap());
        nodes[0].invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
        until("a hint", async || !there.contains(key![1]).await.unwrap()).await;
        assert_eq!(nodes[1].stats().journal.applied, round + 1);
    }
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_makes_another_host_look() {
    for server in Flavour::installed().into_iter().filter_map(single) {
        hints_arrive(&server.url()).await;
    }
    if let Some(cluster) = cluster() {
        hints_arrive(&cluster.url()).await;
    }
    if let Some(sentinel) = sentinel() {
        hints_arrive(&sentinel.url()).await;
    }
}

/// How often anything was published on a server.
fn published(server: &Server) -> u64 {
    let stats = ["cmdstat_publish", "cmdstat_spublish"].map(|field| server.info(field).unwrap_or_default());
    let calls = |text: &String| text.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok();
    stats.iter().filter_map(calls).sum()
}

/// A peer's fills announce themselves as changes; every node then asks for what nobody changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_fill_is_not_announced() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::start(flavour).unwrap();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let cache = Cache::builder("fills")
        .journal(RedisJournal::on(&redis))
        .backplane(RedisBackplane::on(&redis))
        .build()
        .await
        .unwrap();
    let slots = cache.region::<u64>("slots", Policy::ttl(BOUND)).unwrap();
    fill(&slots).await;
    slots.put_as_of(slots.snapshot(), key![2], 2, [tag!["branch", 7]]).unwrap();
    assert_eq!(published(&server), 0);
    cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    until("the journal's hint and the backplane's", async || published(&server) == 2).await;
}

/// An outbox's records are written by the application; nobody but its own node's `sync` could tell the others at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_application_committed_is_hinted_at_once_when_it_syncs() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::start(flavour).unwrap();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let records = MemoryJournal::new();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let journal = FakeJournal::new(records.clone());
        journal.set_deaf(true);
        let cache = Cache::builder("outbox").bound_max(BOUND).journal(journal);
        nodes.push(cache.backplane(RedisBackplane::on(&redis)).build().await.unwrap());
    }
    let there = region(&nodes[1]);
    until("hints", async || nodes[1].stats().journal.connected).await;
    fill(&there).await;
    records.append("outbox", &[Target::tag(tag!["branch", 7])], &Cause::from("commit")).await.unwrap();
    for _ in 0..3 {
        nodes[0].sync().await.unwrap();
    }
    until("a hint", async || !there.contains(key![1]).await.unwrap()).await;
    assert_eq!(published(&server), 1);
}

/// What a person is shown while a server goes away and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_whether_it_is_connected_caught_up_and_trusted() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let bound = Duration::from_millis(300);
        let cache = Cache::builder("states").bound_max(bound);
        let cache = cache.journal(RedisJournal::connect(&server.url()).await.unwrap()).build().await.unwrap();
        let policy = Policy::ttl(BOUND).level(Level::Bounded(bound));
        let _slots = cache.region::<u64>("slots", policy).unwrap();
        let states = || {
            let journal = cache.stats().journal;
            (journal.connected, journal.caught_up, journal.trusted)
        };
        until("all well", async || states() == (true, true, true)).await;
        server.kill();
        until("nothing is", async || states() == (false, false, false)).await;
        server.restart().unwrap();
        until("all well again", async || states() == (true, true, true)).await;
    }
}
