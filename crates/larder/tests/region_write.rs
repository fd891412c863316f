//! Writing through a region: put, put as of a moment, remove, contains; and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Cache, KEY_BYTES_MAX, Level, Policy, Segments, Target, key, tag};
use rig::{Rig, eventual, secs, settle};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_is_put_is_a_hit_here_and_in_the_store_and_others_drop_theirs() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let other = rig.another().await;
    let there = other.region::<u64>("slots", eventual()).unwrap();
    there.get_or_load(key![1], rig.origin.load()).await.unwrap();
    settle().await;
    region.put_tagged(key![1], 50, [tag!["branch", 7]]).await.unwrap();
    settle().await;
    assert_eq!(*region.get(key![1]).await.unwrap().unwrap(), 50);
    other.sync().await.unwrap();
    assert_eq!(*there.get(key![1]).await.unwrap().unwrap(), 50, "from the store");
    rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cold_fill_is_not_announced_and_makes_nobody_reload() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let other = rig.another().await;
    let there = other.region::<u64>("slots", eventual()).unwrap();
    there.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.store.lose_all();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    region.put_as_of(region.snapshot(), key![2], 2, []).unwrap();
    other.sync().await.unwrap();
    assert!(there.get(key![1]).await.unwrap().is_some());
    assert_eq!(other.stats().journal.position, 0);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_cannot_be_announced_keeps_nothing() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    rig.journal.set_unreachable(true);
    let many = (0..10_000_u64).map(|n| Target::tag(tag![n]));
    rig.cache.invalidate(many).await.unwrap();
    assert!(region.put(key![1], 1).await.unwrap_err().is_journal(), "the queue is full");
    settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_gone_from_all_tiers_and_nodes() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let other = rig.another().await;
    let there = other.region::<u64>("slots", eventual()).unwrap();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.stored(1).await;
    assert!(there.contains(key![1]).await.unwrap());
    region.remove(key![1]).await.unwrap();
    assert!(!region.contains(key![1]).await.unwrap());
    assert!(rig.store.keys().is_empty());
    other.sync().await.unwrap();
    assert!(!there.contains(key![1]).await.unwrap());
    region.remove(key!["never there"]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_forget_what_was_removed_brings_nothing_back() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.stored(1).await;
    rig.store.fail_next(1);
    region.remove(key![1]).await.unwrap();
    assert_eq!(rig.store.keys().len(), 1);
    let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    assert!(!region.contains(key![1]).await.unwrap());
    assert!(!restarted.contains(key![1]).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_region_or_tenant_is_refused() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let other = rig.cache.region::<u64>("other", eventual()).unwrap();
    let tenant = rig.cache.tenant("acme").region::<u64>("slots", eventual()).unwrap();
    let key = region.key(key![1]).unwrap();
    region.put(&key, 1).await.unwrap();
    assert!(region.contains(&key).await.unwrap());
    for wrong in [&other, &tenant] {
        let error = wrong.get(&key).await.unwrap_err();
        assert!(error.is_invalid());
        assert_eq!(
            error.to_string(),
            "key was built by another region or tenant; expected one built by this handle's region.key(..)"
        );
        assert!(wrong.get_or_load(&key, rig.origin.load()).await.unwrap_err().is_invalid());
        assert!(wrong.put(&key, 1).await.unwrap_err().is_invalid());
        assert!(wrong.remove(&key).await.unwrap_err().is_invalid());
        assert!(wrong.invalidate(&key).await.unwrap_err().is_invalid());
    }
    assert_eq!(rig.origin.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_of_any_bytes_are_keys_up_to_their_limit() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let large = "k".repeat(64 << 10);
    let keys: Vec<Segments> = vec![
        key![""],
        key![],
        key!["\0"],
        key!["a\0", "b"],
        key!["a", "\0b"],
        key![large.as_str()],
        key![b"\xff".as_slice()],
    ];
    for (n, key) in keys.iter().enumerate() {
        region.put(key.clone(), n as u64).await.unwrap();
    }
    rig.stored(keys.len()).await;
    let restarted = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(*region.get(key.clone()).await.unwrap().unwrap(), n as u64);
        assert_eq!(*restarted.get(key.clone()).await.unwrap().unwrap(), n as u64);
    }
    let too_large = key!["k".repeat(KEY_BYTES_MAX)];
    let error = region.get(too_large.clone()).await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("expected at most 1048576"), "{error}");
    let many = region.get_many_or_load([key![1], too_large], rig.origin.load_many()).await;
    assert!(many[0].is_ok() && many[1].as_ref().unwrap_err().is_invalid());
}

#[tokio::test(start_paused = true)]
async fn a_policy_out_of_bounds_is_refused_with_what_was_expected() {
    let rig = Rig::new().await;
    let ttl = Policy::ttl(secs(60));
    let wrong: [(Policy, &str); 9] = [
        (ttl.clone().refresh_ahead(0.0), "refresh_ahead is 0; expected a fraction above 0 and below 1"),
        (ttl.clone().refresh_ahead(1.0), "refresh_ahead is 1; expected a fraction above 0 and below 1"),
        (ttl.clone().refresh_ahead(f64::NAN), "refresh_ahead is NaN; expected"),
        (ttl.clone().jitter(0.6), "jitter is 0.6; expected a fraction from 0 to 0.5"),
        (ttl.clone().fail_safe(secs(59), secs(1)), "fail_safe max_age is 59s; expected at least the TTL"),
        (ttl.clone().hard_timeout(Duration::ZERO), "hard_timeout is 0; expected more than zero"),
        (ttl.clone().soft_timeout(secs(31)), "soft_timeout is 31s; expected at most the hard timeout"),
        (
            ttl.clone().level(Level::Bounded(Duration::ZERO)),
            "level is bounded(0ns); expected a bound of at least 1 ms",
        ),
        (ttl.clone().source("db"), "source is \"db\"; expected one the builder was given: default"),
    ];
    for (policy, message) in wrong {
        let error = rig.cache.region::<u64>("slots", policy).unwrap_err();
        assert!(error.is_invalid());
        assert!(error.to_string().starts_with(&format!("region \"slots\": {message}")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_asked_for_again_is_the_same_one_and_with_other_settings_refused() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    region.put(key![1], 1).await.unwrap();
    let again = rig.region(eventual());
    let key = region.key(key![1]).unwrap();
    assert_eq!(*again.get(&key).await.unwrap().unwrap(), 1);
    let policy = rig.cache.region::<u64>("slots", eventual().schema(2)).unwrap_err();
    assert_eq!(policy.to_string(), "region \"slots\" exists with another policy; expected the same");
    let value = rig.cache.region::<String>("slots", eventual()).unwrap_err();
    assert_eq!(value.to_string(), "region \"slots\" exists with another value type; expected the same");
}

#[tokio::test(start_paused = true)]
async fn a_cache_with_settings_out_of_bounds_is_not_built() {
    let small = Cache::builder("booking").memory(larder::Bytes::new(1)).build().await.unwrap_err();
    assert_eq!(small.to_string(), "memory is 1 bytes; expected at least 65536");
    let none = Cache::builder("booking").entries_max(0).build().await.unwrap_err();
    assert_eq!(none.to_string(), "entries_max is 0; expected at least 1");
    let unnamed = Cache::builder("").build().await.unwrap_err();
    assert_eq!(unnamed.to_string(), "namespace takes 0 bytes; expected 1 to 200");
    let limits = larder::SourceLimits::concurrency(0);
    let idle = Cache::builder("booking").source("db", limits).build().await.unwrap_err();
    assert_eq!(idle.to_string(), "source \"db\": concurrency is 0; expected at least 1");
}

#[test]
fn without_a_runtime_a_cache_is_not_built() {
    let mut building = std::pin::pin!(Cache::builder("booking").build());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match building.as_mut().poll(&mut context) {
        std::task::Poll::Ready(built) => assert!(built.unwrap_err().is_invalid()),
        std::task::Poll::Pending => panic!("waits for nothing"),
    }
}
