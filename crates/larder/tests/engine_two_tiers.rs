//! Memory and a store: what is promoted keeps its age, its life and its stamp, and whatever a store hands back is a
//! miss unless it is exactly what was put there and nothing has named it since.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Error, Outcome, Policy, Region, Source, Target, key, tag};
use rig::{Answer, Rig, eventual, secs, settle};

async fn load(rig: &Rig, region: &Region<u64>) -> Result<Outcome<u64>, Error> {
    region.get_or_load(key![7, "a"], rig.origin.load()).await
}

/// A rig whose store holds version 1 of `key![7, "a"]`, tagged.
async fn stocked(policy: Policy) -> (Rig, Region<u64>) {
    let rig = Rig::with_store().await;
    rig.origin.tag(tag!["branch", 7]);
    let region = rig.region(policy);
    load(&rig, &region).await.unwrap();
    rig.stored(1).await;
    (rig, region)
}

#[tokio::test(start_paused = true)]
async fn a_hit_in_the_store_is_served_and_fills_memory_with_the_same_age_and_life() {
    let (rig, _region) = stocked(eventual()).await;
    rig.pass(secs(20)).await;
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    let first = other.get(key![7, "a"]).await.unwrap().unwrap();
    assert_eq!((*first, first.source()), (1, Source::Store(0)));
    assert_eq!((first.age(), first.fresh_for()), (secs(20), secs(40)));
    rig.pass(secs(10)).await;
    let second = other.get(key![7, "a"]).await.unwrap().unwrap();
    assert_eq!((*second, second.source()), (1, Source::Memory));
    assert_eq!((second.age(), second.fresh_for()), (secs(30), secs(30)));
    rig.pass(secs(30)).await;
    assert!(other.get(key![7, "a"]).await.unwrap().is_none(), "promotion must not prolong a life");
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_while_it_was_only_in_the_store_is_a_miss_when_it_is_promoted() {
    // A service restarts; while it is down, another process writes and invalidates. The store still has the old
    // bytes. A cache that stamps what it promotes with the position of the promotion serves them for a whole TTL.
    for target in [
        Target::key("slots", key![7, "a"]),
        Target::tag(tag!["branch", 7]),
        Target::prefix("slots", key![7]),
        Target::everything(),
    ] {
        let (rig, region) = stocked(eventual()).await;
        drop(region);
        let writer = rig.another().await;
        writer.invalidate([target.clone()]).await.unwrap();
        let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
        assert!(
            restarted.get(key![7, "a"]).await.unwrap().is_none(),
            "{target} was not applied to the store"
        );
        assert!(
            restarted.get(key![7, "a"]).await.unwrap().is_none(),
            "{target}: kept in memory all the same"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_after_it_was_promoted_is_a_miss() {
    let (rig, _region) = stocked(eventual()).await;
    let other = rig.another().await;
    let region = other.region::<u64>("slots", eventual()).unwrap();
    assert!(region.get(key![7, "a"]).await.unwrap().is_some());
    assert!(region.get(key![7, "a"]).await.unwrap().is_some());
    rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    other.sync().await.unwrap();
    assert!(region.get(key![7, "a"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_entry_loaded_after_the_invalidation_is_promoted_and_lives() {
    let (rig, region) = stocked(eventual()).await;
    rig.origin.write();
    rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    load(&rig, &region).await.unwrap();
    settle().await;
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert_eq!(*other.get(key![7, "a"]).await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_between_a_fence_and_its_record_may_miss_but_never_lies() {
    // The node fences at once and records a moment later; what is loaded in between is stamped before the record.
    let (rig, region) = stocked(eventual()).await;
    let hold = rig.journal.hold_appends();
    let cache = rig.cache.clone();
    let writing = tokio::spawn(async move { cache.invalidate([Target::tag(tag!["branch", 7])]).await });
    hold.reached_by(1).await;
    assert!(region.get(key![7, "a"]).await.unwrap().is_none(), "fenced before the journal answers");
    load(&rig, &region).await.unwrap();
    assert!(
        region.get(key![7, "a"]).await.unwrap().is_some(),
        "a load after the fence is good until the record"
    );
    rig.origin.write();
    drop(hold);
    writing.await.unwrap().unwrap();
    assert!(region.get(key![7, "a"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn damaged_swapped_and_foreign_bytes_are_misses_and_counted() {
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 6] = [
        ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
        ("one bit flipped", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("the first byte changed", |bytes| bytes[0] ^= 0xff),
        ("longer", |bytes| bytes.push(0)),
        ("noise", |bytes| *bytes = vec![0xa5; 4096]),
    ];
    for (name, damage) in damages {
        let (rig, _region) = stocked(eventual()).await;
        rig.store.corrupt_all(damage);
        // Or the load would look once more for what was loaded a moment ago.
        rig.store.forget_flights();
        let other = rig.another().await;
        let region = other.region::<u64>("slots", eventual()).unwrap();
        rig.origin.write();
        let loaded = region.get_or_load(key![7, "a"], rig.origin.load()).await.unwrap();
        assert_eq!((*loaded, loaded.source()), (2, Source::Loader), "{name}");
        let counts = other.stats().region("slots").unwrap().counts;
        assert_eq!((counts.rejected_stored, counts.misses_cold), (1, 1), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_mixes_up_its_keys_gives_nobody_anothers_value() {
    let (rig, region) = stocked(eventual()).await;
    rig.origin.write();
    region.get_or_load(key![7, "b"], rig.origin.load()).await.unwrap();
    rig.stored(2).await;
    let keys = rig.store.keys();
    assert!(rig.store.swap(&keys[0], &keys[1]));
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert!(other.get(key![7, "a"]).await.unwrap().is_none());
    assert!(other.get(key![7, "b"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_back_in_time_brings_nothing_invalidated_back() {
    let (rig, region) = stocked(eventual()).await;
    let backup = rig.store.snapshot();
    rig.origin.write();
    region.invalidate(key![7, "a"]).await.unwrap();
    load(&rig, &region).await.unwrap();
    settle().await;
    rig.store.restore(&backup);
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert!(other.get(key![7, "a"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_schema_version_neither_reads_nor_is_read_and_both_invalidate_each_other() {
    let (rig, region) = stocked(eventual().schema(1)).await;
    let newer = rig.another().await;
    let new_region = newer.region::<u64>("slots", eventual().schema(2)).unwrap();
    assert!(new_region.get(key![7, "a"]).await.unwrap().is_none());
    assert_eq!(newer.stats().region("slots").unwrap().counts.rejected_stored, 1);
    newer.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    rig.cache.sync().await.unwrap();
    assert!(region.get(key![7, "a"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_region_in_memory_only_leaves_stores_alone() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual().memory_only());
    load(&rig, &region).await.unwrap();
    settle().await;
    assert_eq!((rig.store.calls().gets, rig.store.calls().puts), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_absence_survives_in_the_store() {
    let rig = Rig::with_store().await;
    rig.origin.will(Answer::Absent);
    let policy = eventual().negative_ttl(secs(30));
    assert!(load(&rig, &rig.region(policy.clone())).await.unwrap_err().is_absent());
    rig.stored(1).await;
    let other = rig.another().await.region::<u64>("slots", policy).unwrap();
    assert!(other.get(key![7, "a"]).await.unwrap_err().is_absent());
    assert_eq!(rig.origin.loads(), 1);
    rig.pass(secs(30)).await;
    assert!(other.get(key![7, "a"]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_set_back_does_not_prolong_a_stored_life() {
    let (rig, _region) = stocked(eventual()).await;
    rig.clock.set_wall_ms(1_793_000_000_000 - 3_600_000);
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    if let Some(hit) = other.get(key![7, "a"]).await.unwrap() {
        assert!(hit.fresh_for() <= secs(60), "fresh for {:?}", hit.fresh_for());
    }
}

#[tokio::test(start_paused = true)]
async fn each_read_of_two_tiers_counts_one_hit_or_one_miss() {
    let (rig, region) = stocked(eventual()).await;
    let before = rig.stats();
    assert_eq!((before.hits(), before.misses()), (0, 1));
    region.get(key![7, "a"]).await.unwrap();
    region.get(key![7, "none"]).await.unwrap();
    let other = rig.another().await;
    let second = other.region::<u64>("slots", eventual()).unwrap();
    second.get(key![7, "a"]).await.unwrap();
    second.get(key![7, "none"]).await.unwrap();
    let (one, two) = (rig.stats(), *other.stats().region("slots").unwrap());
    assert_eq!((one.hits(), one.misses()), (1, 2));
    assert_eq!((two.counts.hits_store, two.hits(), two.misses()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn wall_clocks_five_minutes_apart_lose_no_invalidation_and_make_none_up() {
    use larder::testing::ManualClock;
    for skew_ms in [-300_000_i64, 300_000] {
        let (rig, region) = stocked(eventual()).await;
        let wall = 1_793_000_000_000_u64.saturating_add_signed(skew_ms);
        let clock = ManualClock::at(77_000_000_000, wall);
        let builder = larder::Cache::builder(rig::NS).clock(std::sync::Arc::new(clock));
        let other = builder.journal(rig.records.clone()).store(rig.store.clone()).build().await.unwrap();
        let there = other.region::<u64>("slots", eventual()).unwrap();
        if let Some(hit) = there.get(key![7, "a"]).await.unwrap() {
            assert!(hit.fresh_for() <= secs(60), "fresh for {:?}", hit.fresh_for());
        }
        there.get_or_load(key![7, "a"], rig.origin.load()).await.unwrap();
        assert!(region.get(key![7, "a"]).await.unwrap().is_some(), "nobody has invalidated anything");
        rig.origin.write();
        region.invalidate(key![7, "a"]).await.unwrap();
        other.sync().await.unwrap();
        assert!(there.get(key![7, "a"]).await.unwrap().is_none());
        assert_eq!(*there.get_or_load(key![7, "a"], rig.origin.load()).await.unwrap(), 2);
        settle().await;
        other.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
        rig.cache.sync().await.unwrap();
        assert!(region.get(key![7, "a"]).await.unwrap().is_none());
    }
}
