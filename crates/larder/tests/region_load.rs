//! What a loader may say about its entry: tags, its life, that there is none, that nothing changed, that it is nobody
//! else's business.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{AbsentAsNone, Bytes, Cache, Load, Loaded, Policy, Region, Source, Target, key, tag};
use rig::{Answer, Down, NS, Rig, TTL, eventual, secs, settle, until};
use std::sync::Arc;
use std::time::Duration;

async fn load(rig: &Rig, region: &Region<u64>) -> Result<larder::Outcome<u64>, larder::Error> {
    region.get_or_load(key![1], rig.origin.load()).await
}

#[tokio::test(start_paused = true)]
async fn the_loader_may_choose_a_life_of_its_own_and_the_policy_is_unchanged() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let short = async |load: Load<u64>| {
        load.ttl(secs(5));
        Ok::<_, Down>(1)
    };
    let long = async |load: Load<u64>| {
        load.ttl(secs(3600));
        Ok::<_, Down>(1)
    };
    let at_most = async |load: Load<u64>| {
        load.ttl_at_most(secs(20));
        load.ttl_at_most(secs(7));
        load.ttl_at_most(secs(30));
        Ok::<_, Down>(1)
    };
    assert_eq!(region.get_or_load(key!["short"], short).await.unwrap().fresh_for(), secs(5));
    assert_eq!(region.get_or_load(key!["long"], long).await.unwrap().fresh_for(), secs(3600));
    assert_eq!(region.get_or_load(key!["at most"], at_most).await.unwrap().fresh_for(), secs(7));
    assert_eq!(load(&rig, &region).await.unwrap().fresh_for(), TTL);
    rig.stored(4).await;
    rig.pass(secs(5)).await;
    assert!(region.get(key!["short"]).await.unwrap().is_none());
    let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert!(restarted.get(key!["short"]).await.unwrap().is_none());
    assert_eq!(restarted.get(key!["long"]).await.unwrap().unwrap().fresh_for(), secs(3595));
}

#[tokio::test(start_paused = true)]
async fn a_life_of_zero_is_kept_nowhere() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual().stale_while_revalidate(secs(60)).fail_safe(secs(3600), secs(10)));
    let zero = async |load: Load<u64>| {
        load.ttl(Duration::ZERO);
        Ok::<_, Down>(1)
    };
    assert_eq!(*region.get_or_load(key![1], zero).await.unwrap(), 1);
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
    assert_eq!(rig.store.calls().puts, 0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_are_as_good_as_for_ever() {
    let rig = Rig::of(|builder, store| builder.store(store.clone()).bound_max(Duration::MAX)).await;
    let policy = Policy::ttl(Duration::MAX)
        .level(larder::Level::Bounded(Duration::MAX))
        .stale_while_revalidate(Duration::MAX)
        .fail_safe(Duration::MAX, Duration::MAX)
        .negative_ttl(Duration::MAX)
        .hard_timeout(Duration::MAX)
        .soft_timeout(Duration::MAX)
        .refresh_ahead(0.9)
        .jitter(0.5);
    let region = rig.region(policy.clone());
    load(&rig, &region).await.unwrap();
    rig.stored(1).await;
    rig.lapse(secs(3600 * 24 * 365 * 100));
    assert_eq!(load(&rig, &region).await.unwrap().source(), Source::Memory);
    let builder = Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(rig.records.clone());
    let another = builder.store(rig.store.clone()).bound_max(Duration::MAX).build().await.unwrap();
    let restarted = another.region::<u64>("slots", policy).unwrap();
    assert_eq!(load(&rig, &restarted).await.unwrap().source(), Source::Store(0));
    region.invalidate(key![1]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_stored_is_shared_by_those_who_wait_and_kept_nowhere() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let private = async |load: Load<u64>| {
        load.do_not_store();
        Ok::<_, Down>(1)
    };
    assert_eq!(*region.get_or_load(key![1], private).await.unwrap(), 1);
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
    assert_eq!((rig.store.calls().puts, rig.cache.stats().memory.entries), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_there_is_told_apart_from_not_cached() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual().negative_ttl(secs(10)));
    assert!(region.get(key![1]).await.unwrap().is_none(), "not cached");
    rig.origin.will(Answer::Absent);
    assert!(load(&rig, &region).await.unwrap_err().is_absent());
    assert!(region.get(key![1]).await.unwrap_err().is_absent(), "cached: nothing there");
    assert!(!region.contains(key![1]).await.unwrap());
    assert!(load(&rig, &region).await.absent_as_none().unwrap().is_none());
    assert_eq!((rig.origin.loads(), rig.stats().counts.hits_absent), (1, 3));
    rig.pass(secs(10)).await;
    rig.origin.will(Answer::Version);
    assert_eq!(*load(&rig, &region).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_negative_ttl_absence_is_not_remembered_unless_the_loader_says_for_how_long() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    rig.origin.will(Answer::Absent);
    for _ in 0..2 {
        assert!(load(&rig, &region).await.unwrap_err().is_absent());
    }
    assert_eq!((rig.origin.loads(), rig.store.calls().puts), (2, 0));
    let brief = async |load: Load<u64>| {
        load.ttl(secs(5));
        Ok::<_, Down>(load.absent())
    };
    assert!(region.get_or_load(key![2], brief).await.unwrap_err().is_absent());
    assert!(region.get(key![2]).await.unwrap_err().is_absent());
    rig.pass(secs(5)).await;
    assert!(region.get(key![2]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn none_as_a_value_is_a_value() {
    let rig = Rig::with_store().await;
    let region = rig.cache.region::<Option<u64>>("slots", eventual()).unwrap();
    let none = async |_load: Load<Option<u64>>| Ok::<_, Down>(None);
    assert_eq!(*region.get_or_load(key![1], none).await.unwrap(), None);
    assert_eq!(*region.get(key![1]).await.unwrap().unwrap(), None);
    rig.stored(1).await;
    let restarted = rig.another().await.region::<Option<u64>>("slots", eventual()).unwrap();
    assert_eq!(*restarted.get(key![1]).await.unwrap().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn not_modified_keeps_the_value_and_begins_its_life_anew() {
    let rig = Rig::with_store().await;
    rig.origin.tag(tag!["branch", 7]);
    let region = rig.region(eventual().fail_safe(secs(3600), secs(10)));
    load(&rig, &region).await.unwrap();
    let value = std::ptr::from_ref(region.get(key![1]).await.unwrap().unwrap().value());
    rig.pass(TTL).await;
    let ask = async |load: Load<u64>| {
        assert_eq!(load.previous(), Some(&1));
        Ok::<_, Down>(load.not_modified())
    };
    let renewed = region.get_or_load(key![1], ask).await.unwrap();
    assert_eq!((*renewed, renewed.age(), renewed.fresh_for()), (1, secs(0), TTL));
    assert!(std::ptr::eq(renewed.value(), value), "the value itself, not a copy");
    assert_eq!(rig.stats().counts.not_modified, 1);
    rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none(), "it depends on what it depended on");
}

#[tokio::test(start_paused = true)]
async fn not_modified_of_an_invalidated_value_makes_it_good_again() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    load(&rig, &region).await.unwrap();
    region.invalidate(key![1]).await.unwrap();
    rig.origin.will(Answer::NotModified);
    assert_eq!(*load(&rig, &region).await.unwrap(), 1, "the origin was asked after the invalidation");
    assert!(region.get(key![1]).await.unwrap().is_some());
    region.invalidate(key![1]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn not_modified_overtaken_by_an_invalidation_is_no_hit() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual().stale_while_revalidate(TTL));
    load(&rig, &region).await.unwrap();
    rig.pass(TTL).await;
    rig.origin.will(Answer::NotModified);
    rig.origin.hold();
    load(&rig, &region).await.unwrap();
    rig.origin.reached().await;
    rig.origin.write();
    region.invalidate(key![1]).await.unwrap();
    rig.origin.release();
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_loader_is_told_its_key() {
    let rig = Rig::new().await;
    let region = rig.cache.region::<String>("names", eventual()).unwrap();
    let load = async |load: Load<String>| Ok::<_, Down>(Loaded::Value(load.key().to_string()));
    let made = region.get_or_load(key![7, "a"], load).await.unwrap();
    assert_eq!(*made, key![7, "a"].to_string());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_mebibytes_are_returned_and_kept_nowhere() {
    let rig = Rig::with_store().await;
    let region = rig.cache.region::<String>("slots", eventual()).unwrap();
    let large = async |_load: Load<String>| Ok::<_, Down>("x".repeat(100 << 20));
    assert_eq!(region.get_or_load(key![1], large).await.unwrap().len(), 100 << 20);
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
    let stats = rig.cache.stats();
    assert_eq!((stats.memory.entries, rig.store.calls().puts), (0, 0));
    assert_eq!(rig.stats().counts.too_large, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_memory_is_kept_by_the_store() {
    let rig = Rig::of(|builder, store| builder.memory(Bytes::mib(1)).store(store.clone())).await;
    let region = rig.cache.region::<String>("slots", eventual()).unwrap();
    let large = async |_load: Load<String>| Ok::<_, Down>("x".repeat(1 << 20));
    region.get_or_load(key![1], large).await.unwrap();
    rig.stored(1).await;
    for _ in 0..2 {
        let read = region.get(key![1]).await.unwrap().unwrap();
        assert_eq!((read.len(), read.source()), (1 << 20, Source::Store(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn memory_holds_no_more_than_its_caps() {
    let rig = Rig::of(|builder, _| builder.memory(Bytes::mib(1)).entries_max(1000)).await;
    let region = rig.cache.region::<String>("slots", eventual()).unwrap();
    for n in 0..5_000_u64 {
        region.put_as_of(region.snapshot(), key![n], "x".repeat(300), []).unwrap();
    }
    let memory = rig.cache.stats().memory;
    assert!(memory.bytes <= memory.bytes_max && memory.entries <= 1000, "{memory:?}");
    assert!(memory.entries > 500 && memory.evictions >= 4000 - memory.entries, "{memory:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_the_caller_takes_out_is_the_callers_to_change() {
    let rig = Rig::new().await;
    let region = rig.cache.region::<Vec<u64>>("slots", eventual()).unwrap();
    let three = async |_load: Load<Vec<u64>>| Ok::<_, Down>(vec![1, 2, 3]);
    let mut mine = (*region.get_or_load(key![1], three).await.unwrap()).clone();
    mine.push(4);
    assert_eq!(*region.get(key![1]).await.unwrap().unwrap(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn jitter_shortens_each_life_by_no_more_than_its_fraction() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().jitter(0.5));
    let mut lives = Vec::new();
    for n in 0..100_u64 {
        let read = region.get_or_load(key![n], rig.origin.load()).await.unwrap();
        assert!(read.fresh_for() <= TTL && read.fresh_for() >= TTL / 2);
        lives.push(read.fresh_for());
    }
    lives.sort_unstable();
    lives.dedup();
    assert!(lives.len() > 90, "they are spread");
    until(|| rig.origin.loads() == 100).await;
}
