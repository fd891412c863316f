//! Flights among nodes: one loader runs for all nodes that share a store; whatever goes wrong with that, loads go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::testing::FakeStore;
use larder::{Cache, Error, Outcome, Policy, Region, Source, key};
use larder_core::port::{Claim, Holder, SharedFlights};
use larder_core::{Epoch, Link};
use rig::{Answer, Rig, TTL, bounded, eventual, ms, secs, settle, until};
use std::time::Duration;
use tokio::task::JoinHandle;

const NODES: usize = 5;
const READERS: usize = 1000;
/// After this long a node that leads a flight and has died is noticed.
const LEASE: Duration = Duration::from_secs(1);

type Reading = JoinHandle<Result<Outcome<u64>, Error>>;

/// Nodes on one journal and one store; node 0 is the rig's own.
struct Nodes {
    rig: Rig,
    caches: Vec<Cache>,
    regions: Vec<Region<u64>>,
}

impl Nodes {
    async fn new(nodes: usize, policy: Policy) -> Self {
        let rig = Rig::with_store().await;
        let mut caches = vec![rig.cache.clone()];
        for _ in 1..nodes {
            caches.push(rig.another().await);
        }
        let regions = caches.iter().map(|cache| cache.region("slots", policy.clone()).unwrap()).collect();
        Nodes { rig, caches, regions }
    }

    fn read(&self, node: usize) -> Reading {
        let (region, loader) = (self.regions[node].clone(), self.rig.origin.load());
        tokio::spawn(async move { region.get_or_load(key![1], loader).await })
    }

    /// Begins a load on node 0 and waits until it has read the origin.
    async fn begin(&self) -> Reading {
        self.rig.origin.hold();
        let reading = self.read(0);
        self.rig.origin.reached().await;
        reading
    }

    fn counts(&self, node: usize) -> larder::observe::Counts {
        self.caches[node].stats().region("slots").unwrap().counts
    }

    /// Waits until a node waits for another's load.
    async fn waits(&self, node: usize) {
        until(|| self.counts(node).loads_awaited > 0).await;
    }

    fn loads(&self) -> u64 {
        self.rig.origin.loads()
    }
}

async fn value(reading: Reading) -> (u64, Source) {
    let outcome = reading.await.unwrap().unwrap();
    (*outcome, outcome.source())
}

/// A node that died right after it had begun to load the key under which the store has something.
async fn dead_node(store: &FakeStore) {
    let key = store.keys().remove(0);
    store.lose_all();
    store.forget_flights();
    let stamp = Link { epoch: Epoch::new(0), position: 0, nonce: 0 };
    let claim = Claim { key, holder: Holder::new(77), stamp, past: None };
    store.claim_many(&[claim], LEASE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_on_each_of_five_nodes_run_the_loader_once() {
    for policy in [eventual(), bounded()] {
        let nodes = Nodes::new(NODES, policy).await;
        nodes.rig.origin.hold();
        let readers: Vec<Reading> = (0..NODES * READERS).map(|n| nodes.read(n % NODES)).collect();
        let joined = |node: usize| nodes.counts(node).flights_joined;
        until(|| (0..NODES).map(joined).sum::<u64>() == (NODES * (READERS - 1)) as u64).await;
        until(|| (0..NODES).map(|node| nodes.counts(node).loads_awaited).sum::<u64>() == 4).await;
        nodes.rig.origin.release();
        let mut loaders = 0;
        for reader in readers {
            let (value, source) = value(reader).await;
            assert_eq!(value, 1);
            loaders += usize::from(source == Source::Loader);
        }
        assert_eq!((nodes.loads(), loaders), (1, 1));
        assert_eq!((0..NODES).map(|node| nodes.counts(node).loads_spared).sum::<u64>(), 4);
        assert_eq!(nodes.rig.store.flights_led(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_takes_longer_than_its_lease_is_waited_for() {
    let nodes = Nodes::new(2, bounded()).await;
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    for _ in 0..50 {
        nodes.rig.pass(ms(200)).await;
    }
    assert_eq!(nodes.loads(), 1);
    nodes.rig.origin.release();
    assert_eq!(value(first).await, (1, Source::Loader));
    assert_eq!(value(second).await, (1, Source::Flight));
}

#[tokio::test(start_paused = true)]
async fn when_the_node_that_loads_dies_another_takes_over_within_the_lease() {
    let nodes = Nodes::new(3, eventual()).await;
    value(nodes.read(0)).await;
    nodes.rig.stored(1).await;
    dead_node(&nodes.rig.store).await;
    let readers = [nodes.read(1), nodes.read(2)];
    nodes.waits(1).await;
    nodes.waits(2).await;
    nodes.rig.pass(LEASE - ms(1)).await;
    assert_eq!(nodes.loads(), 1, "it may yet be alive");
    nodes.rig.pass(ms(1)).await;
    for reader in readers {
        assert_eq!(value(reader).await.0, 1);
    }
    assert_eq!(nodes.loads(), 2, "one of the two");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_dropped_in_the_middle_of_a_load_is_as_good_as_dead() {
    let mut nodes = Nodes::new(2, eventual()).await;
    nodes.rig.origin.hold();
    let dying = nodes.read(1);
    nodes.rig.origin.reached().await;
    let waiting = nodes.read(0);
    nodes.waits(0).await;
    dying.abort();
    nodes.regions.truncate(1);
    nodes.caches.truncate(1);
    nodes.rig.origin.unhold();
    settle().await;
    nodes.rig.pass(LEASE).await;
    assert_eq!(value(waiting).await, (1, Source::Loader));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_woken_before_the_entry_is_in_the_store() {
    let nodes = Nodes::new(2, bounded()).await;
    let hold = nodes.rig.store.hold_puts();
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    nodes.rig.origin.unhold();
    nodes.rig.origin.release();
    value(first).await;
    hold.reached_by(1).await;
    settle().await;
    drop(hold);
    assert_eq!(value(second).await, (1, Source::Flight));
    assert_eq!(nodes.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_a_moment_after_the_landing_looks_before_it_loads() {
    // Node 1 has looked into the store before the entry was there, and asks who loads after it was.
    let nodes = Nodes::new(2, bounded()).await;
    let claims = nodes.rig.store.hold_claims();
    let second = nodes.read(1);
    claims.reached_by(1).await;
    let first = nodes.read(0);
    claims.reached_by(2).await;
    drop(claims);
    assert_eq!((value(first).await.0, value(second).await.0), (1, 1));
    assert_eq!(nodes.loads(), 1);
    assert_eq!((0..2).map(|node| nodes.counts(node).loads_spared).sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_is_lost_costs_a_moment() {
    let nodes = Nodes::new(2, bounded()).await;
    nodes.rig.store.set_drops_wakes(true);
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    nodes.rig.origin.release();
    value(first).await;
    nodes.rig.pass(LEASE).await;
    assert_eq!(value(second).await, (1, Source::Flight));
    assert_eq!(nodes.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lets_everybody_lead_costs_loads() {
    let nodes = Nodes::new(NODES, bounded()).await;
    nodes.rig.store.set_grants_to_all(true);
    nodes.rig.origin.hold();
    let readers: Vec<Reading> = (0..NODES).map(|node| nodes.read(node)).collect();
    for _ in 0..NODES {
        nodes.rig.origin.reached().await;
        nodes.rig.origin.release();
    }
    for reader in readers {
        assert_eq!(value(reader).await, (1, Source::Loader));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgets_who_leads_costs_a_load() {
    let nodes = Nodes::new(3, bounded()).await;
    let first = nodes.begin().await;
    nodes.rig.store.forget_flights();
    let second = nodes.read(1);
    nodes.rig.origin.reached().await;
    // Node 0 is told that it leads no more; its load goes on.
    nodes.rig.pass(ms(500)).await;
    let third = nodes.read(2);
    nodes.waits(2).await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    for reader in [first, second, third] {
        assert_eq!(value(reader).await.0, 1);
    }
    assert_eq!(nodes.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_every_node_loads_once() {
    let nodes = Nodes::new(NODES, bounded()).await;
    nodes.rig.store.set_failing(true);
    nodes.rig.origin.hold();
    let readers: Vec<Reading> = (0..NODES * 10).map(|n| nodes.read(n % NODES)).collect();
    for _ in 0..NODES {
        nodes.rig.origin.reached().await;
        nodes.rig.origin.release();
    }
    for reader in readers {
        assert_eq!(value(reader).await.0, 1);
    }
    assert_eq!(nodes.loads(), NODES as u64);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_failed_to_answer_a_read_is_not_asked_who_loads() {
    // Whoever waited for its deadline once would wait for another.
    let nodes = Nodes::new(2, bounded()).await;
    nodes.rig.store.fail_next(1);
    assert_eq!(value(nodes.read(0)).await, (1, Source::Loader));
    assert_eq!(nodes.rig.store.calls().claims, 0);
    settle().await;
    assert_eq!(value(nodes.read(1)).await, (1, Source::Store(0)));
    nodes.rig.pass(TTL).await;
    assert_eq!(value(nodes.read(1)).await, (1, Source::Loader));
    assert_eq!(nodes.rig.store.calls().claims, 1, "it answers again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_say_who_loads_holds_a_load_up_for_a_moment() {
    let nodes = Nodes::new(2, bounded()).await;
    let _claims = nodes.rig.store.hold_claims();
    let readers = [nodes.read(0), nodes.read(1)];
    settle().await;
    assert_eq!(nodes.loads(), 0);
    nodes.rig.pass(ms(500)).await;
    for reader in readers {
        assert_eq!(value(reader).await, (1, Source::Loader));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_fails_for_its_own_node() {
    let nodes = Nodes::new(3, bounded()).await;
    let first = nodes.begin().await;
    let others = [nodes.read(1), nodes.read(2)];
    nodes.waits(1).await;
    nodes.waits(2).await;
    nodes.rig.origin.unhold();
    // What the held load answers was decided when it began.
    nodes.rig.origin.release();
    value(first).await;
    for other in others {
        value(other).await;
    }
    assert_eq!(nodes.loads(), 1);

    nodes.regions[0].invalidate(key![1]).await.unwrap();
    for cache in &nodes.caches {
        cache.sync().await.unwrap();
    }
    nodes.rig.pass(LEASE).await;
    nodes.rig.origin.will(Answer::Error);
    let first = nodes.begin().await;
    let others = [nodes.read(1), nodes.read(2)];
    until(|| (1..3).all(|node| nodes.counts(node).loads_awaited == 2)).await;
    nodes.rig.origin.will(Answer::Version);
    nodes.rig.origin.release();
    assert!(first.await.unwrap().is_err_and(|error| error.is_load()));
    // All at once, not one after the other.
    nodes.rig.origin.reached().await;
    nodes.rig.origin.reached().await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    for other in others {
        assert_eq!(value(other).await, (1, Source::Loader));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_kept_is_loaded_by_each() {
    let nodes = Nodes::new(2, Policy::ttl(Duration::ZERO).level(larder::Level::Eventual)).await;
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    nodes.rig.origin.unhold();
    nodes.rig.origin.release();
    assert_eq!(value(first).await, (1, Source::Loader));
    assert_eq!(value(second).await, (1, Source::Loader));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_overtaken_is_not_waited_for() {
    let nodes = Nodes::new(3, bounded()).await;
    let old = nodes.begin().await;
    let early = nodes.read(2);
    nodes.waits(2).await;
    nodes.rig.origin.write();
    nodes.regions[1].invalidate(key![1]).await.unwrap();
    for cache in &nodes.caches {
        cache.sync().await.unwrap();
    }
    // Node 1 takes the flight over at once, though node 0 still loads; on node 2, whoever comes now joins that.
    let new = nodes.read(1);
    nodes.rig.origin.reached().await;
    let late = nodes.read(2);
    settle().await;
    assert_eq!(nodes.loads(), 2);
    assert_eq!(nodes.counts(2).flights_joined, 0, "the flight that waits for the old load is not joined");
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    assert_eq!(value(old).await, (1, Source::Loader), "begun before the write was acknowledged");
    assert_eq!(value(new).await, (2, Source::Loader));
    assert_eq!(value(late).await, (2, Source::Flight));
    assert_eq!(value(early).await, (2, Source::Flight));
    assert_eq!(nodes.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_a_load_that_was_overtaken_loads_with_the_others() {
    let nodes = Nodes::new(NODES, bounded()).await;
    let old = nodes.begin().await;
    let waiting: Vec<Reading> = (1..NODES).map(|node| nodes.read(node)).collect();
    for node in 1..NODES {
        nodes.waits(node).await;
    }
    nodes.rig.origin.write();
    nodes.rig.cache.invalidate([nodes.regions[0].target(key![1])]).await.unwrap();
    for cache in &nodes.caches {
        cache.sync().await.unwrap();
    }
    nodes.rig.origin.release();
    value(old).await;
    nodes.rig.origin.reached().await;
    settle().await;
    nodes.rig.origin.release();
    for reader in waiting {
        assert_eq!(value(reader).await.0, 2);
    }
    assert_eq!(nodes.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_catches_up_with_what_was_brought() {
    let nodes = Nodes::new(2, eventual()).await;
    nodes.regions[0].invalidate(key![1]).await.unwrap();
    // Node 1 may not have heard of that record, which node 0's load is stamped with.
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    nodes.rig.origin.release();
    value(first).await;
    assert_eq!(value(second).await, (1, Source::Flight));
    assert_eq!(nodes.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_fallback_waits_for_another_node_no_longer_than_for_itself() {
    let policy = bounded().fail_safe(TTL * 100, secs(1)).soft_timeout(ms(100));
    let nodes = Nodes::new(2, policy).await;
    value(nodes.read(0)).await;
    nodes.rig.stored(1).await;
    value(nodes.read(1)).await;
    nodes.rig.pass(TTL).await;
    nodes.rig.origin.write();
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    nodes.rig.pass(ms(100)).await;
    for reader in [first, second] {
        let outcome = reader.await.unwrap().unwrap();
        assert_eq!((*outcome, outcome.freshness()), (1, larder::Freshness::OriginSlow));
    }
    nodes.rig.origin.release();
    until(|| nodes.counts(1).loads_spared == 1).await;
    settle().await;
    assert_eq!(value(nodes.read(1)).await, (2, Source::Memory));
    assert_eq!(nodes.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_wait_no_longer_than_a_load_of_their_own_may_take() {
    let nodes = Nodes::new(2, eventual().hard_timeout(secs(3))).await;
    value(nodes.read(0)).await;
    nodes.rig.stored(1).await;
    dead_node(&nodes.rig.store).await;
    let waiting = nodes.read(1);
    nodes.waits(1).await;
    for _ in 0..12 {
        nodes.rig.pass(ms(250)).await;
    }
    assert_eq!(value(waiting).await, (1, Source::Loader));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_runs_on_one_node() {
    let nodes = Nodes::new(NODES, eventual().stale_while_revalidate(TTL)).await;
    value(nodes.read(0)).await;
    nodes.rig.stored(1).await;
    for node in 1..NODES {
        value(nodes.read(node)).await;
    }
    nodes.rig.pass(TTL + ms(1)).await;
    nodes.rig.origin.write();
    nodes.rig.origin.hold();
    for node in 0..NODES {
        assert_eq!(value(nodes.read(node)).await, (1, Source::Memory));
    }
    until(|| (0..NODES).map(|node| nodes.counts(node).loads_awaited).sum::<u64>() == 4).await;
    nodes.rig.origin.release();
    until(|| (0..NODES).map(|node| nodes.counts(node).loads_spared).sum::<u64>() == 4).await;
    settle().await;
    for node in 0..NODES {
        assert_eq!(value(nodes.read(node)).await, (2, Source::Memory));
    }
    assert_eq!(nodes.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_reader_is_gone_loads_on_for_the_other_nodes() {
    let nodes = Nodes::new(2, bounded()).await;
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.waits(1).await;
    first.abort();
    settle().await;
    nodes.rig.origin.release();
    assert_eq!(value(second).await, (1, Source::Flight));
    assert_eq!(nodes.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_inside_a_load_waits_for_no_other_node() {
    // It may hold what the other node waits for.
    let nodes = Nodes::new(2, bounded()).await;
    let first = nodes.begin().await;
    let (region, inner) = (nodes.regions[1].clone(), nodes.rig.origin.load());
    let outer = tokio::spawn(async move {
        let handle = region.clone();
        let load = async move |_load: larder::Load<u64>| {
            handle.get_or_load(key![1], inner).await.map(|inner| *inner + 10)
        };
        region.get_or_load(key!["outer"], load).await
    });
    nodes.rig.origin.reached().await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    assert_eq!(value(outer).await, (11, Source::Loader));
    assert_eq!(value(first).await, (1, Source::Loader));
}

#[tokio::test(start_paused = true)]
async fn batches_share_their_keys_one_by_one() {
    let nodes = Nodes::new(2, bounded()).await;
    nodes.rig.origin.hold();
    let batch = |node: usize, keys: [u64; 3]| {
        let (region, loader) = (nodes.regions[node].clone(), nodes.rig.origin.load_many());
        tokio::spawn(async move { region.get_many_or_load(keys.map(|n| key![n]), loader).await })
    };
    let calls = nodes.rig.store.calls();
    let first = batch(0, [1, 2, 3]);
    nodes.rig.origin.reached().await;
    let second = batch(1, [2, 3, 4]);
    nodes.rig.origin.reached().await;
    assert_eq!(nodes.counts(1).loads_awaited, 2);
    assert_eq!(nodes.rig.store.calls().claims - calls.claims, 2, "one question a batch");
    let single = nodes.read(1);
    settle().await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    for batch in [first, second] {
        assert!(batch.await.unwrap().iter().all(|read| read.as_ref().is_ok_and(|outcome| **outcome == 1)));
    }
    assert_eq!(value(single).await.0, 1);
    assert_eq!(nodes.rig.origin.batches(), [vec![key![1], key![2], key![3]], vec![key![4]]]);
    until(|| nodes.rig.store.flights_led() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_loads_what_the_other_node_did_not_bring() {
    let nodes = Nodes::new(2, bounded()).await;
    nodes.rig.origin.will(Answer::Error);
    let first = nodes.begin().await;
    let (region, loader) = (nodes.regions[1].clone(), nodes.rig.origin.load_many());
    let batch = tokio::spawn(async move { region.get_many_or_load([key![1], key![2]], loader).await });
    nodes.rig.origin.reached().await;
    nodes.rig.origin.unhold();
    nodes.rig.origin.will(Answer::Version);
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    assert!(first.await.unwrap().is_err());
    let reads = batch.await.unwrap();
    assert!(reads[0].as_ref().is_ok_and(|outcome| **outcome == 1), "{:?}", reads[0].as_ref().err());
    assert_eq!(nodes.rig.origin.batches(), [vec![key![2]], vec![key![1]]]);
}

#[tokio::test(start_paused = true)]
async fn regions_may_load_on_each_node() {
    let nodes = Nodes::new(2, bounded().own_flights()).await;
    let first = nodes.begin().await;
    let second = nodes.read(1);
    nodes.rig.origin.reached().await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    assert_eq!((value(first).await.1, value(second).await.1), (Source::Loader, Source::Loader));
    assert_eq!(nodes.rig.store.calls().claims, 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_expired_while_it_loads_is_not_waited_for() {
    let nodes = Nodes::new(1, eventual()).await;
    let first = nodes.begin().await;
    nodes.regions[0].expire(key![1]).await.unwrap();
    let second = nodes.read(0);
    nodes.rig.origin.reached().await;
    nodes.rig.origin.release();
    nodes.rig.origin.release();
    assert_eq!((value(first).await.1, value(second).await.1), (Source::Loader, Source::Loader));
}
