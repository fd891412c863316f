//! A journal that cannot be reached, stalls, forgets its answers, or has another history than the node remembers:
//! bounded regions go to the origin, eventual ones go on serving, and nothing invalidated comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::MemoryJournal;
use larder::testing::FakeJournal;
use larder::{Cache, Region, Source, Target, key, tag};
use larder_core::port::Journal;
use rig::{NS, Rig, bounded, eventual, ms, secs, settle};
use std::sync::Arc;

async fn load(rig: &Rig, region: &Region<u64>) -> larder::Outcome<u64> {
    region.get_or_load(key![1], rig.origin.load()).await.unwrap()
}

/// What another process records, behind this one's back.
async fn elsewhere(rig: &Rig, target: Target) {
    rig.records.append(NS, &[target], &"elsewhere".into()).await.unwrap();
}

/// A rig whose node hears of nothing unless it asks.
async fn deaf() -> (Rig, Region<u64>) {
    let rig = Rig::new().await;
    rig.journal.set_deaf(true);
    let region = rig.region(bounded());
    (rig, region)
}

#[tokio::test(start_paused = true)]
async fn within_the_bound_a_read_may_be_older_than_a_write_and_after_it_never() {
    let (rig, region) = deaf().await;
    assert_eq!(*load(&rig, &region).await, 1);
    rig.origin.write();
    elsewhere(&rig, Target::key("slots", key![1])).await;
    rig.lapse(ms(999));
    assert_eq!(*load(&rig, &region).await, 1, "inside the bound a hit asks nobody");
    rig.lapse(ms(1));
    let read = load(&rig, &region).await;
    assert_eq!((*read, read.source()), (2, Source::Loader));
    assert_eq!(rig.stats().counts.misses_invalidated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_lease_is_renewed_on_the_spot_and_the_hit_stays_one() {
    let (rig, region) = deaf().await;
    load(&rig, &region).await;
    settle().await;
    rig.lapse(secs(5));
    let renewals = rig.cache.stats().journal.renewals;
    let read = load(&rig, &region).await;
    assert_eq!((*read, read.source()), (1, Source::Memory));
    assert_eq!(rig.cache.stats().journal.renewals, renewals + 1);
    assert_eq!((rig.stats().hits(), rig.stats().misses()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_follower_keeps_the_lease_without_anyone_reading() {
    let rig = Rig::new().await;
    rig.region(bounded());
    settle().await;
    for _ in 0..20 {
        rig.pass(ms(350)).await;
        let age = rig.cache.stats().journal.confirmed_ago.unwrap();
        assert!(age < secs(1), "not renewed for {age:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_journal_bounded_regions_load_and_share_loads_and_eventual_ones_serve() {
    let (rig, region) = deaf().await;
    let steady = rig.cache.region::<u64>("steady", eventual()).unwrap();
    load(&rig, &region).await;
    steady.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.journal.set_unreachable(true);
    rig.lapse(secs(2));
    rig.origin.write();
    rig.origin.hold();
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (region, loader) = (region.clone(), rig.origin.load());
            tokio::spawn(async move { region.get_or_load(key![1], loader).await })
        })
        .collect();
    rig.origin.reached().await;
    rig.followers(49).await;
    rig.lapse(ms(1));
    rig.origin.release();
    settle().await;
    // Those whose read began in the very same tick as the load cannot tell that it is theirs; they share another.
    for _ in 0..50 {
        rig.origin.release();
    }
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 2);
    }
    assert_eq!(rig.origin.loads(), 2 + 2, "two to begin with, and two for fifty readers");
    assert_eq!(rig.stats().counts.misses_unconfirmed, 50);
    let hit = steady.get_or_load(key![1], rig.origin.load()).await.unwrap();
    assert_eq!((*hit, hit.source()), (1, Source::Memory));
    assert!(rig.cache.stats().journal.last_error.is_some());

    rig.journal.set_unreachable(false);
    rig.origin.unhold();
    let read = load(&rig, &region).await;
    assert_eq!(
        (*read, read.source()),
        (2, Source::Memory),
        "reachable again: what was loaded meanwhile is good"
    );
    assert!(rig.cache.stats().journal.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_the_journal_the_fail_safe_serves_what_it_cannot_confirm_and_says_so() {
    let rig = Rig::new().await;
    rig.journal.set_deaf(true);
    let region = rig.region(bounded().fail_safe(secs(3600), secs(10)));
    load(&rig, &region).await;
    rig.journal.set_unreachable(true);
    rig.lapse(secs(2));
    rig.origin.will(rig::Answer::Error);
    let read = load(&rig, &region).await;
    assert!(read.is_degraded() && read.is_stale());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_hangs_delays_each_reader_once_and_not_one_after_the_other() {
    let (rig, region) = deaf().await;
    load(&rig, &region).await;
    rig.lapse(secs(2));
    let hold = rig.journal.hold_reads();
    let began = tokio::time::Instant::now();
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (region, loader) = (region.clone(), rig.origin.load());
            tokio::spawn(async move { region.get_or_load(key![1], loader).await })
        })
        .collect();
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 1);
    }
    let took = began.elapsed();
    assert!(took <= secs(3), "fifty readers waited {took:?} for a journal that does not answer");
    drop(hold);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_hangs_delays_a_batch_as_long_as_a_single_read() {
    // Each key of a batch used to ask for the lease again: five hundred keys waited five hundred times.
    let (rig, region) = deaf().await;
    let keys: Vec<_> = (0..20_u64).map(|n| key![n]).collect();
    region.get_many_or_load(keys.clone(), rig.origin.load_many()).await;
    rig.lapse(secs(2));
    let hold = rig.journal.hold_reads();
    let began = tokio::time::Instant::now();
    for read in region.get_many_or_load(keys, rig.origin.load_many()).await {
        assert_eq!(*read.unwrap(), 1);
    }
    let took = began.elapsed();
    assert!(took <= secs(3), "a batch waited {took:?} for a journal that does not answer");
    drop(hold);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_makes_everything_a_miss_once_and_then_all_is_well() {
    let rig = Rig::with_store().await;
    rig.journal.set_deaf(true);
    let region = rig.region(bounded());
    load(&rig, &region).await;
    rig.stored(1).await;
    let epoch = rig.records.history(NS).await.unwrap().head.epoch;
    rig.records.roll(NS, epoch).await.unwrap();
    rig.lapse(secs(2));
    rig.origin.write();
    let read = load(&rig, &region).await;
    assert_eq!((*read, read.source()), (2, Source::Loader), "neither memory's nor the store's");
    assert_eq!(rig.stats().counts.misses_below_floor, 1);
    assert_eq!(rig.cache.stats().journal.resyncs, 1);
    assert_ne!(rig.cache.stats().journal.epoch, format!("{epoch:?}"));
    assert_eq!(load(&rig, &region).await.source(), Source::Memory);
    region.invalidate(key![1]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn records_that_were_dropped_before_they_were_read_cost_misses_and_lose_nothing() {
    let records = MemoryJournal::keeping(4);
    let rig = Rig::new().await;
    let journal = FakeJournal::new(records.clone());
    journal.set_deaf(true);
    let builder = Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(journal);
    let cache = builder.build().await.unwrap();
    let region = cache.region::<u64>("slots", bounded()).unwrap();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    region.get_or_load(key![2], rig.origin.load()).await.unwrap();
    let named = [Target::key("slots", key![1])];
    records.append(NS, &named, &"elsewhere".into()).await.unwrap();
    for n in 0..10_u64 {
        records.append(NS, &[Target::tag(tag![n])], &"elsewhere".into()).await.unwrap();
    }
    rig.origin.write();
    rig.lapse(secs(2));
    assert_eq!(*region.get_or_load(key![1], rig.origin.load()).await.unwrap(), 2);
    assert!(region.get(key![2]).await.unwrap().is_none(), "the node cannot know what was dropped");
    assert_eq!((cache.stats().journal.resyncs, cache.stats().journal.position), (1, 11));
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_proves_wrong_costs_a_renewal() {
    let (rig, region) = deaf().await;
    load(&rig, &region).await;
    rig.journal.set_unreachable(true);
    rig.clock.doubt_once();
    assert!(rig.cache.sync().await.is_err());
    assert_eq!(rig.cache.stats().journal.confirmed_ago, None, "measured with a wrong clock: worth nothing");
    rig.origin.write();
    assert_eq!(*load(&rig, &region).await, 2);
    rig.journal.set_unreachable(false);
    assert_eq!(load(&rig, &region).await.source(), Source::Memory);
}

#[tokio::test(start_paused = true)]
async fn a_cache_built_without_its_journal_begins_to_keep_once_it_is_there() {
    let rig = Rig::new().await;
    let journal = FakeJournal::new(rig.records.clone());
    journal.set_unreachable(true);
    let builder = Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(journal.clone());
    let cache = builder.build().await.unwrap();
    for policy in [bounded(), eventual()] {
        let region = cache.region::<u64>(&policy_name(&policy), policy).unwrap();
        for _ in 0..2 {
            let read = region.get_or_load(key![1], rig.origin.load()).await.unwrap();
            assert_eq!(read.source(), Source::Loader);
        }
    }
    journal.set_unreachable(false);
    cache.sync().await.unwrap();
    let region = cache.region::<u64>(&policy_name(&bounded()), bounded()).unwrap();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_some());
}

fn policy_name(policy: &larder::Policy) -> String {
    if *policy == bounded() { "bounded".to_owned() } else { "eventual".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_polling_its_renewal_keeps_nobody_from_theirs() {
    let (rig, region) = deaf().await;
    load(&rig, &region).await;
    rig.lapse(secs(2));
    let hold = rig.journal.hold_reads();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let mut stuck = Box::pin(async move { handle.get_or_load(key![1], loader).await });
    let cache = rig.cache.clone();
    let mut stuck_sync = Box::pin(async move { cache.sync().await });
    tokio::select! {
        biased;
        _ = &mut stuck => panic!("the journal is held"),
        _ = &mut stuck_sync => panic!("the journal is held"),
        () = hold.reached_by(1) => {}
    }
    drop(hold);
    let read = load(&rig, &region).await;
    assert_eq!((*read, read.source()), (1, Source::Memory));
    rig.cache.sync().await.unwrap();
    drop((stuck, stuck_sync));
}
