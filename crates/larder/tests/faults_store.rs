//! A store that fails, hangs, fills up or loses what it holds: the cache goes on without it, leaves it alone for a
//! while, and comes back to it by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Error, Outcome, Region, Source, key};
use rig::{Rig, eventual, ms, secs, settle, until};

async fn load(rig: &Rig, region: &Region<u64>, n: u64) -> Result<Outcome<u64>, Error> {
    region.get_or_load(key![n], rig.origin.load()).await
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_a_miss_and_never_an_error() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    rig.store.set_failing(true);
    for n in 0..10 {
        assert_eq!(load(&rig, &region, n).await.unwrap().source(), Source::Loader);
        assert_eq!(load(&rig, &region, n).await.unwrap().source(), Source::Memory);
        assert!(region.get(key!["none"]).await.unwrap().is_none());
    }
    assert!(region.put(key![1], 5).await.is_ok());
    assert!(region.remove(key![1]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn after_failures_in_a_row_the_store_is_left_alone_then_tried_then_used_again() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    rig.store.set_failing(true);
    for n in 0..3 {
        region.get(key![n]).await.unwrap();
    }
    let stats = rig.cache.stats().stores[0];
    assert!(stats.degraded);
    assert_eq!((stats.counts.errors, stats.counts.short_circuited), (3, 0));
    for n in 0..10 {
        region.get(key![n]).await.unwrap();
    }
    let stats = rig.cache.stats().stores[0];
    assert_eq!((stats.counts.errors, stats.counts.short_circuited), (3, 10), "shed calls are not failures");
    assert_eq!(rig.store.calls().gets, 3);
    rig.store.set_failing(false);
    rig.pass(ms(200)).await;
    region.get(key![1]).await.unwrap();
    assert!(!rig.cache.stats().stores[0].degraded);
    load(&rig, &region, 1).await.unwrap();
    rig.stored(1).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_keeps_failing_it_is_tried_ever_more_rarely_by_one_caller_at_a_time() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    rig.store.set_failing(true);
    for n in 0..3 {
        region.get(key![n]).await.unwrap();
    }
    let mut tries = Vec::new();
    for _ in 0..60 {
        rig.pass(ms(500)).await;
        let before = rig.store.calls().gets;
        for n in 0..5 {
            region.get(key![n]).await.unwrap();
        }
        tries.push(rig.store.calls().gets - before);
    }
    assert!(tries.iter().all(|tries| *tries <= 1), "{tries:?}");
    assert!((4..=12).contains(&tries.iter().sum::<u64>()), "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_a_reader_by_its_deadline_and_no_more() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let _hold = rig.store.hold_gets();
    let began = tokio::time::Instant::now();
    assert_eq!(*load(&rig, &region, 1).await.unwrap(), 1);
    assert!(began.elapsed() <= ms(2010), "{:?}", began.elapsed());
    let readers: Vec<_> = (10..60)
        .map(|n| {
            let (region, loader) = (region.clone(), rig.origin.load());
            tokio::spawn(async move { region.get_or_load(key![n], loader).await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    let began = tokio::time::Instant::now();
    load(&rig, &region, 2).await.unwrap();
    assert!(began.elapsed() < ms(10), "by now it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_to_write_holds_nobody_up_and_its_queue_is_bounded() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let hold = rig.store.hold_puts();
    for n in 0..1500 {
        assert!(load(&rig, &region, n).await.is_ok());
    }
    assert_eq!(rig.cache.stats().stores[0].counts.writes_dropped, 1500 - 1024);
    drop(hold);
    until(|| rig.store.keys().len() == 1024).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_store_loses_is_loaded_again_and_stored_again() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    load(&rig, &region, 1).await.unwrap();
    rig.stored(1).await;
    rig.store.lose_all();
    let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert_eq!(restarted.get_or_load(key![1], rig.origin.load()).await.unwrap().source(), Source::Loader);
    rig.stored(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_larger_than_the_region_allows_is_refused_from_the_store_too() {
    let rig = Rig::with_store().await;
    let wide = rig.cache.region::<String>("slots", eventual()).unwrap();
    wide.put(key![1], "x".repeat(10_000)).await.unwrap();
    rig.stored(1).await;
    let other = rig.another().await;
    let narrow = other.region::<String>("slots", eventual().value_bytes_max(100)).unwrap();
    assert!(narrow.get(key![1]).await.unwrap().is_none());
    assert_eq!(other.stats().region("slots").unwrap().counts.rejected_stored, 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_another_type_are_a_miss() {
    let rig = Rig::with_store().await;
    rig.cache.region::<String>("slots", eventual()).unwrap().put(key![1], "text".into()).await.unwrap();
    rig.stored(1).await;
    let other = rig.another().await;
    let region = other.region::<u64>("slots", eventual()).unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
    assert_eq!(other.stats().region("slots").unwrap().counts.rejected_stored, 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_one_store_leaves_the_next_one_in_use() {
    let second = larder::testing::FakeStore::new();
    let rig = Rig::of(|builder, first| builder.store(first.clone()).store(second.clone())).await;
    let region = rig.region(eventual());
    load(&rig, &region, 1).await.unwrap();
    until(|| second.keys().len() == 1 && rig.store.keys().len() == 1).await;
    rig.store.set_failing(true);
    let other = larder::Cache::builder(rig::NS)
        .clock(std::sync::Arc::new(rig.clock.clone()))
        .journal(rig.records.clone())
        .store(rig.store.clone())
        .store(second.clone())
        .build()
        .await
        .unwrap();
    let region = other.region::<u64>("slots", eventual()).unwrap();
    assert_eq!(region.get(key![1]).await.unwrap().unwrap().source(), Source::Store(1));
    let answers = region.get_many_or_load([key![1], key![2]], rig.origin.load_many()).await;
    assert!(answers.iter().all(Result::is_ok));
    settle().await;
    assert_eq!(second.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_the_store_did_not_learn_of_is_an_error() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual().fail_safe(secs(3600), secs(10)));
    load(&rig, &region, 1).await.unwrap();
    rig.stored(1).await;
    rig.store.fail_next(1);
    let error = region.expire(key![1]).await.unwrap_err();
    assert!(error.is_store(), "{error}");
    assert!(region.get(key![1]).await.unwrap().is_none(), "on this node it took effect");
}
