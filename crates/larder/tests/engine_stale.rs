//! Serving what has expired: stale-while-revalidate, refresh-ahead, fail-safe with its throttle, and soft timeouts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Freshness, Policy, Source, key};
use rig::{Answer, Rig, TTL, eventual, load, loaded, ms, secs, settle};

const HOUR: u64 = 3600;

fn safe() -> Policy {
    eventual().fail_safe(secs(HOUR), secs(10))
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_is_loaded_again() {
    let (rig, region) = loaded(eventual()).await;
    rig.pass(TTL - ms(1)).await;
    assert_eq!(load(&rig, &region).await.unwrap().source(), Source::Memory);
    rig.pass(ms(1)).await;
    rig.origin.write();
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.source(), read.age()), (2, Source::Loader, secs(0)));
    assert_eq!(rig.stats().counts.misses_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_fail_safe_a_failing_origin_is_an_error_and_with_it_a_stale_value() {
    for answer in [Answer::Error, Answer::Panic, Answer::Declined] {
        let (rig, region) = loaded(eventual()).await;
        rig.pass(TTL).await;
        rig.origin.will(answer.clone());
        assert!(load(&rig, &region).await.unwrap_err().is_load());

        let (rig, region) = loaded(safe()).await;
        rig.pass(TTL).await;
        rig.origin.will(answer);
        let read = load(&rig, &region).await.unwrap();
        assert_eq!((*read, read.freshness(), read.age()), (1, Freshness::OriginFailed, TTL));
        assert!(read.is_stale() && read.is_degraded() && read.fresh_for().is_zero());
        assert_eq!((rig.stats().counts.served_fallback, rig.stats().misses()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_origin_is_left_alone_until_the_throttle_has_passed() {
    let (rig, region) = loaded(safe()).await;
    rig.pass(TTL).await;
    rig.origin.will(Answer::Error);
    for _ in 0..5 {
        assert!(load(&rig, &region).await.unwrap().is_degraded());
    }
    assert_eq!(rig.origin.loads(), 2, "one that failed, then none");
    rig.pass(secs(9)).await;
    load(&rig, &region).await.unwrap();
    assert_eq!(rig.origin.loads(), 2);
    rig.pass(secs(1)).await;
    rig.origin.will(Answer::Version);
    assert_eq!(load(&rig, &region).await.unwrap().freshness(), Freshness::Fresh);
}

#[tokio::test(start_paused = true)]
async fn the_throttle_holds_when_the_fallback_came_from_the_store() {
    let (rig, region) = loaded(safe()).await;
    drop(region);
    rig.pass(TTL).await;
    let cache = rig.another().await;
    let region = cache.region::<u64>("slots", safe()).unwrap();
    rig.origin.will(Answer::Error);
    for _ in 0..5 {
        assert!(load(&rig, &region).await.unwrap().is_degraded());
    }
    assert_eq!(rig.origin.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_fail_safe_ends_at_its_maximum_age() {
    let (rig, region) = loaded(safe()).await;
    rig.origin.will(Answer::Error);
    rig.pass(secs(HOUR) - ms(1)).await;
    assert!(load(&rig, &region).await.unwrap().is_degraded());
    rig.pass(ms(1)).await;
    assert!(load(&rig, &region).await.unwrap_err().is_load());
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_is_never_a_fallback() {
    let (rig, region) = loaded(safe()).await;
    rig.origin.will(Answer::Error);
    region.invalidate(key![1]).await.unwrap();
    assert!(load(&rig, &region).await.unwrap_err().is_load());
    rig.pass(TTL).await;
    assert!(load(&rig, &region).await.unwrap_err().is_load());
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_its_load_runs_is_no_fallback_when_that_load_fails() {
    // The fallback was chosen before the load began, and served although the key had been invalidated since.
    let (rig, region) = loaded(safe()).await;
    rig.pass(TTL).await;
    rig.origin.will(Answer::Error);
    rig.origin.hold();
    let (reading, loader) = (region.clone(), rig.origin.load());
    let reader = tokio::spawn(async move { reading.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    region.invalidate(key![1]).await.unwrap();
    rig.origin.release();
    assert!(reader.await.unwrap().unwrap_err().is_load());
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_is_a_miss_in_all_tiers_and_its_value_a_fallback() {
    let (rig, region) = loaded(safe()).await;
    region.expire(key![1]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
    let restarted = rig.another().await.region::<u64>("slots", safe()).unwrap();
    assert!(restarted.get(key![1]).await.unwrap().is_none(), "the store must not bring it back");
    rig.origin.will(Answer::Error);
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.freshness()), (1, Freshness::OriginFailed));
    rig.pass(secs(10)).await;
    rig.origin.will(Answer::Version);
    rig.origin.write();
    assert_eq!(*load(&rig, &region).await.unwrap(), 2);
    region.expire(key!["none"]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_whose_fill_is_still_on_its_way_to_the_store_stays_expired() {
    let rig = Rig::with_store().await;
    let region = rig.region(safe());
    let hold = rig.store.hold_puts();
    load(&rig, &region).await.unwrap();
    hold.reached_by(1).await;
    let handle = region.clone();
    let expiring = tokio::spawn(async move { handle.expire(key![1]).await });
    settle().await;
    drop(hold);
    expiring.await.unwrap().unwrap();
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
    let restarted = rig.another().await.region::<u64>("slots", safe()).unwrap();
    assert!(restarted.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn while_it_revalidates_all_readers_get_the_old_value_at_once_and_one_load_runs() {
    let (rig, region) = loaded(eventual().stale_while_revalidate(secs(30))).await;
    rig.pass(TTL).await;
    rig.origin.write();
    rig.origin.hold();
    for _ in 0..10 {
        let read = load(&rig, &region).await.unwrap();
        assert_eq!((*read, read.freshness()), (1, Freshness::Revalidating));
    }
    rig.origin.reached().await;
    let looked_up = region.get(key![1]).await.unwrap().unwrap();
    assert_eq!(looked_up.freshness(), Freshness::Revalidating);
    rig.origin.release();
    settle().await;
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.freshness(), read.source()), (2, Freshness::Fresh, Source::Memory));
    assert_eq!((rig.origin.loads(), rig.stats().counts.refreshes), (2, 1));
    assert_eq!((rig.stats().hits(), rig.stats().misses()), (12, 1));
    let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert_eq!(*restarted.get(key![1]).await.unwrap().unwrap(), 2, "the store has it too");
}

#[tokio::test(start_paused = true)]
async fn past_the_revalidation_window_a_reader_waits() {
    let (rig, region) = loaded(eventual().stale_while_revalidate(secs(30))).await;
    rig.pass(TTL + secs(30)).await;
    rig.origin.write();
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.source()), (2, Source::Loader));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_swallowed_and_tried_again() {
    for answer in [Answer::Error, Answer::Panic] {
        let (rig, region) = loaded(eventual().stale_while_revalidate(secs(30))).await;
        rig.pass(TTL).await;
        rig.origin.will(answer);
        assert_eq!(*load(&rig, &region).await.unwrap(), 1);
        settle().await;
        rig.origin.will(Answer::Version);
        rig.origin.write();
        assert_eq!(*load(&rig, &region).await.unwrap(), 1);
        settle().await;
        assert_eq!(*load(&rig, &region).await.unwrap(), 2);
        assert_eq!(rig.stats().counts.refreshes, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_ahead_starts_once_on_access_and_blocks_nobody() {
    let (rig, region) = loaded(eventual().refresh_ahead(0.5)).await;
    rig.pass(TTL / 2 - ms(1)).await;
    load(&rig, &region).await.unwrap();
    rig.pass(secs(5)).await;
    assert_eq!(rig.origin.loads(), 1, "nothing refreshes by itself");
    rig.origin.write();
    rig.origin.hold();
    for _ in 0..10 {
        let read = load(&rig, &region).await.unwrap();
        assert_eq!((*read, read.freshness()), (1, Freshness::Fresh));
    }
    rig.origin.reached().await;
    assert_eq!(rig.origin.loads(), 2);
    rig.origin.release();
    settle().await;
    let read = load(&rig, &region).await.unwrap();
    assert_eq!((*read, read.age()), (2, secs(0)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_finds_nothing_takes_the_old_value_away_in_all_tiers() {
    // The origin says that the row is gone. Going on to serve it, or falling back to it later, would bring it back.
    for negative in [None, Some(secs(5))] {
        let mut policy = safe().stale_while_revalidate(secs(30));
        if let Some(ttl) = negative {
            policy = policy.negative_ttl(ttl);
        }
        let (rig, region) = loaded(policy.clone()).await;
        rig.pass(TTL).await;
        rig.origin.will(Answer::Absent);
        assert_eq!(*load(&rig, &region).await.unwrap(), 1);
        settle().await;
        assert!(load(&rig, &region).await.unwrap_err().is_absent());
        rig.origin.will(Answer::Error);
        rig.pass(secs(10)).await;
        assert!(load(&rig, &region).await.unwrap_err().is_load(), "nothing is no fallback");
        let restarted = rig.another().await.region::<u64>("slots", policy).unwrap();
        assert!(load(&rig, &restarted).await.unwrap_err().is_load(), "nor is what the store still has");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_tells_which_tier_a_fallback_came_from() {
    let (rig, region) = loaded(safe()).await;
    rig.pass(TTL).await;
    rig.origin.will(Answer::Error);
    assert_eq!(load(&rig, &region).await.unwrap().source(), Source::Memory);
    let restarted = rig.another().await.region::<u64>("slots", safe()).unwrap();
    assert_eq!(load(&rig, &restarted).await.unwrap().source(), Source::Store(0));
}

#[tokio::test(start_paused = true)]
async fn what_a_load_under_way_brings_is_expired_when_its_key_was_meanwhile() {
    for path in ["foreground", "batch", "refresh"] {
        let rig = Rig::with_store().await;
        let region = rig.region(safe().stale_while_revalidate(TTL));
        if path == "refresh" {
            load(&rig, &region).await.unwrap();
            rig.pass(TTL).await;
        }
        rig.origin.hold();
        let (handle, single, many) = (region.clone(), rig.origin.load(), rig.origin.load_many());
        let reading = tokio::spawn(async move {
            match path {
                "batch" => handle.get_many_or_load([key![1]], many).await.remove(0),
                _ => handle.get_or_load(key![1], single).await,
            }
        });
        rig.origin.reached().await;
        region.expire(key![1]).await.unwrap();
        // Whoever comes now does not join the load that is expired already.
        let (handle, loader) = (region.clone(), rig.origin.load());
        let late = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
        rig.origin.reached().await;
        late.abort();
        rig.origin.release();
        reading.await.unwrap().unwrap();
        settle().await;
        assert!(region.get(key![1]).await.unwrap().is_none(), "{path}");
        let restarted = rig.another().await.region::<u64>("slots", safe()).unwrap();
        assert!(restarted.get(key![1]).await.unwrap().is_none(), "{path}: restarted");
        rig.origin.release();
        settle().await;
        assert!(region.get(key![1]).await.unwrap().is_some(), "{path}: loaded since");
    }
}
