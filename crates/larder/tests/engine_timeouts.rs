//! Slow origins: soft timeouts, which need something stale to serve, hard ones, and waiting for a turn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Freshness, Policy, Source, key};
use rig::{Rig, TTL, eventual, load, loaded, ms, secs, settle};

fn safe() -> Policy {
    eventual().fail_safe(secs(3600), secs(10))
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_serves_the_old_value_and_the_load_goes_on() {
    let (rig, region) = loaded(safe().soft_timeout(ms(100))).await;
    rig.pass(TTL).await;
    rig.origin.write();
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    rig.pass(ms(101)).await;
    let read = reading.await.unwrap().unwrap();
    assert_eq!((*read, read.freshness()), (1, Freshness::OriginSlow));
    rig.origin.release();
    settle().await;
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.freshness(), read.source()), (2, Freshness::Fresh, Source::Memory));
    let restarted = rig.another().await.region::<u64>("slots", safe()).unwrap();
    assert_eq!(*restarted.get(key![1]).await.unwrap().unwrap(), 2, "both tiers have it");
    assert_eq!((rig.origin.loads(), rig.stats().counts.loads_detached), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_holds_for_followers_and_in_batches_too() {
    let (rig, region) = loaded(safe().soft_timeout(ms(100))).await;
    rig.pass(TTL).await;
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let leader = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let follower = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    let (handle, loader) = (region.clone(), rig.origin.load_many());
    let batch = tokio::spawn(async move { handle.get_many_or_load([key![1]], loader).await.remove(0) });
    rig.followers(2).await;
    rig.pass(ms(101)).await;
    for reading in [leader, follower, batch] {
        assert!(reading.is_finished(), "waits beyond its soft timeout");
        assert_eq!(reading.await.unwrap().unwrap().freshness(), Freshness::OriginSlow);
    }
    assert_eq!(rig.origin.loads(), 2);
    rig.origin.release();
}

#[tokio::test(start_paused = true)]
async fn without_anything_stale_a_soft_timeout_does_not_apply() {
    let rig = Rig::new().await;
    let region = rig.region(safe().soft_timeout(ms(100)));
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    rig.pass(secs(5)).await;
    assert!(!reading.is_finished());
    rig.origin.release();
    assert_eq!(*reading.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hard_timeout_is_a_failure_to_the_fail_safe() {
    let (rig, region) = loaded(safe().hard_timeout(secs(3))).await;
    rig.pass(TTL).await;
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    rig.pass(secs(3)).await;
    assert_eq!(reading.await.unwrap().unwrap().freshness(), Freshness::OriginFailed);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_source_is_a_failure_to_the_fail_safe() {
    use larder::SourceLimits;
    let limits = SourceLimits::concurrency(1).queue_deadline(ms(50));
    let rig = Rig::of(|builder, _| builder.source("db", limits)).await;
    let region = rig.region(safe().source("db"));
    load(&rig, &region).await.unwrap();
    rig.pass(TTL).await;
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let busy = tokio::spawn(async move { handle.get_or_load(key!["busy"], loader).await });
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    settle().await;
    rig.pass(ms(51)).await;
    assert_eq!(reading.await.unwrap().unwrap().freshness(), Freshness::OriginFailed);
    rig.origin.release();
    busy.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_neither_polled_nor_dropped_holds_nobody_up_for_ever() {
    // A task began a read in one arm of a `select!` and is busy in the other: its load stands still, its timeouts too.
    let rig = Rig::new().await;
    let region = rig.region(eventual().hard_timeout(secs(3)));
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let mut leader = Box::pin(async move { handle.get_or_load(key![1], loader).await });
    tokio::select! {
        biased;
        _ = &mut leader => panic!("the origin is held"),
        () = rig.origin.reached() => {}
    }
    rig.origin.unhold();
    let began = tokio::time::Instant::now();
    let follow = || {
        let (region, loader) = (region.clone(), rig.origin.load());
        tokio::spawn(async move { region.get_or_load(key![1], loader).await })
    };
    let (single, loader) = (follow(), rig.origin.load_many());
    let batch = region.get_many_or_load([key![1]], loader).await;
    assert_eq!(**batch[0].as_ref().unwrap(), 1);
    assert_eq!(*single.await.unwrap().unwrap(), 1);
    assert!(began.elapsed() <= secs(3 + 5) + ms(10), "{:?}", began.elapsed());
    assert_eq!(rig.origin.loads(), 2);
    // It may well come back.
    rig.origin.release();
    assert_eq!(*leader.await.unwrap(), 1);
}
