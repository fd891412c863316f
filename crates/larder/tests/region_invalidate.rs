//! What an invalidation reaches and what it leaves alone: keys, tags, prefixes, patterns, regions, tenants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Cache, Invalidated, Pattern, Region, Segments, TARGETS_MAX, Target, key, tag};
use rig::{Rig, eventual, secs, settle};

async fn fill(rig: &Rig, region: &Region<u64>, keys: &[Segments]) {
    for key in keys {
        region.get_or_load(key.clone(), rig.origin.load()).await.unwrap();
    }
}

/// Which of these keys are hits, by their place.
async fn hits(region: &Region<u64>, keys: &[Segments]) -> Vec<usize> {
    let mut hits = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        if region.get(key.clone()).await.unwrap().is_some() {
            hits.push(at);
        }
    }
    hits
}

#[tokio::test(start_paused = true)]
async fn a_prefix_ends_at_a_segment_and_not_in_the_middle_of_one() {
    // Peers that join keys as text lose `71` with `7`.
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let keys = [key!["7"], key!["7", "a"], key!["71"], key!["71", "a"], key![7], key![""], key!["a", "7"]];
    fill(&rig, &region, &keys).await;
    region.invalidate_prefix(key!["7"]).await.unwrap();
    assert_eq!(hits(&region, &keys).await, [2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn text_that_looks_like_a_separator_or_a_glob_is_only_text() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let keys = [key!["a:b"], key!["a", "b"], key!["*"], key!["{a}"], key!["a\0b"], key!["a/b"], key!["x"]];
    fill(&rig, &region, &keys).await;
    region.invalidate(key!["a:b"]).await.unwrap();
    region.invalidate(key!["*"]).await.unwrap();
    region.invalidate_pattern(Pattern::new().exact("{a}")).await.unwrap();
    region.invalidate_prefix(key!["a\0"]).await.unwrap();
    assert_eq!(hits(&region, &keys).await, [1, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_reaches_the_keys_it_matches_in_its_region() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let other = rig.cache.region::<u64>("other", eventual()).unwrap();
    let keys =
        [key![7, "2026-11-21"], key![8, "2026-11-22"], key![7, "2026-12-01"], key![7, "2026-11-21", 1]];
    fill(&rig, &region, &keys).await;
    fill(&rig, &other, &keys).await;
    region.invalidate_pattern(Pattern::parse("*/2026-11-*").unwrap()).await.unwrap();
    assert_eq!(hits(&region, &keys).await, [2, 3]);
    assert_eq!(hits(&other, &keys).await, [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_loaded_after_an_invalidation_is_a_hit() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.tag(tag!["branch", 7]);
    let keys = [key![1]];
    for target in [
        Target::tag(tag!["branch", 7]),
        Target::key("slots", key![1]),
        Target::region("slots"),
        Target::pattern("slots", Pattern::new().rest()),
        Target::everything(),
    ] {
        fill(&rig, &region, &keys).await;
        assert_eq!(hits(&region, &keys).await, [0], "{target}");
        rig.cache.invalidate([target.clone()]).await.unwrap();
        assert!(hits(&region, &keys).await.is_empty(), "{target}");
    }
    fill(&rig, &region, &keys).await;
    assert_eq!(hits(&region, &keys).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_the_newest_load_count() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let load = |n: u64| {
        async move |load: larder::Load<u64>| {
            load.tag(tag!["n", n]);
            Ok::<_, std::io::Error>(n)
        }
    };
    region.get_or_load(key![1], load(1)).await.unwrap();
    region.invalidate(key![1]).await.unwrap();
    region.get_or_load(key![1], load(2)).await.unwrap();
    rig.cache.invalidate([Target::tag(tag!["n", 1])]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_some(), "it no longer carries the old tag");
    rig.cache.invalidate([Target::tag(tag!["n", 2])]).await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn many_targets_go_into_one_record() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let keys: Vec<Segments> = (0..200_u64).map(|n| key![n]).collect();
    fill(&rig, &region, &keys).await;
    let before = rig.cache.stats().journal.position;
    let targets = keys[..100].iter().map(|key| region.target(key.clone()));
    let announced = rig.cache.invalidate(targets).await.unwrap();
    assert!(matches!(announced, Invalidated::Applied { position, .. } if position == before + 1));
    assert_eq!(hits(&region, &keys).await, (100..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_target_and_too_many_are_refused_with_the_bounds() {
    let rig = Rig::new().await;
    let none = rig.cache.invalidate([]).await.unwrap_err();
    assert!(none.is_invalid());
    assert_eq!(none.to_string(), "invalidation has 0 targets; expected 1 to 100000");
    let many = (0..=TARGETS_MAX as u64).map(|n| Target::tag(tag![n]));
    assert!(rig.cache.invalidate(many).await.unwrap_err().is_invalid());
    // Queued, it would be refused by the journal for ever, and whatever is queued with it.
    let large = (0..20_u64).map(|n| Target::key("slots", key![n, "x".repeat(1 << 20)]));
    let large = rig.cache.invalidate(large).await.unwrap_err();
    assert!(large.is_invalid(), "{large}");
    assert_eq!(rig.cache.stats().journal.queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_tag_with_a_hundred_thousand_entries_takes_all_of_them_and_none_else() {
    let rig = Rig::of(|builder, _| builder.memory(larder::Bytes::gib(1))).await;
    let region = rig.region(eventual());
    let snapshot = region.snapshot();
    for n in 0..100_000_u64 {
        region.put_as_of(snapshot, key![n], n, [tag!["half", n % 2]]).unwrap();
    }
    rig.cache.invalidate([Target::tag(tag!["half", 1])]).await.unwrap();
    // A key joins the tag during its invalidation: what was read before is dead, what is read after lives.
    region.put_as_of(snapshot, key!["late"], 1, [tag!["half", 1]]).unwrap();
    assert!(region.get(key!["late"]).await.unwrap().is_none());
    region.put_as_of(region.snapshot(), key!["late"], 2, [tag!["half", 1]]).unwrap();
    assert!(region.get(key!["late"]).await.unwrap().is_some());
    let mut alive = [0, 0];
    for n in 0..100_000_u64 {
        alive[(n % 2) as usize] += u64::from(region.get(key![n]).await.unwrap().is_some());
    }
    assert_eq!(alive, [50_000, 0]);
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_see_or_invalidate_each_other() {
    let rig = Rig::with_store().await;
    rig.origin.tag(tag!["branch", 7]);
    let (acme, apex) = (rig.cache.tenant("acme"), rig.cache.tenant("apex"));
    let common = rig.region(eventual());
    let in_acme = acme.region::<u64>("slots", eventual()).unwrap();
    let in_apex = apex.region::<u64>("slots", eventual()).unwrap();
    let keys = [key![1], key![2]];
    fill(&rig, &common, &keys).await;
    rig.origin.write();
    fill(&rig, &in_acme, &keys).await;
    rig.origin.write();
    fill(&rig, &in_apex, &keys).await;
    let value = async |region: &Region<u64>| *region.get(key![1]).await.unwrap().unwrap();
    assert_eq!((value(&common).await, value(&in_acme).await, value(&in_apex).await), (1, 2, 3));

    for target in [
        Target::key("slots", key![1]),
        Target::prefix("slots", key![]),
        Target::tag(tag!["branch", 7]),
        Target::pattern("slots", Pattern::new().rest()),
        Target::everything(),
        in_apex.target(key![1]),
    ] {
        fill(&rig, &in_acme, &keys).await;
        acme.invalidate([target.clone()]).await.unwrap();
        assert!(in_acme.get(key![1]).await.unwrap().is_none(), "{target}");
        assert_eq!(hits(&common, &keys).await, [0, 1], "{target} reached the common tenant");
        assert_eq!(hits(&in_apex, &keys).await, [0, 1], "{target} reached another tenant");
    }
    rig.cache.invalidate([Target::everything()]).await.unwrap();
    assert!(hits(&in_apex, &keys).await.is_empty(), "everything is of every tenant");
}

#[tokio::test(start_paused = true)]
async fn a_clear_may_keep_the_values_as_fallbacks_only_when_it_merely_expires_them() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().fail_safe(secs(3600), secs(10)));
    let keys = [key![1], key![2]];
    fill(&rig, &region, &keys).await;
    region.expire(key![1]).await.unwrap();
    region.invalidate_all().await.unwrap();
    rig.origin.will(rig::Answer::Error);
    assert!(region.get_or_load(key![2], rig.origin.load()).await.unwrap_err().is_load());
    assert!(region.get_or_load(key![1], rig.origin.load()).await.is_err(), "invalidated is never a fallback");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_by_another_process_is_applied_on_its_hint() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let keys = [key![1]];
    fill(&rig, &region, &keys).await;
    let other: Cache = rig.another().await;
    other.invalidate([Target::key("slots", key![1])]).await.unwrap();
    settle().await;
    assert!(hits(&region, &keys).await.is_empty());
    assert_eq!(rig.stats().counts.misses_invalidated, 1);
}

#[tokio::test(start_paused = true)]
async fn more_invalidations_than_are_remembered_cost_misses_and_never_a_stale_hit() {
    let rig = Rig::of(|builder, _| builder.remembered_targets_max(64)).await;
    let region = rig.region(eventual());
    let keys: Vec<Segments> = (0..500_u64).map(|n| key![n]).collect();
    fill(&rig, &region, &keys).await;
    for n in (0..500).step_by(2) {
        match n % 3 {
            0 => drop(region.invalidate(key![n]).await.unwrap()),
            1 => drop(region.invalidate_prefix(key![n]).await.unwrap()),
            _ => drop(region.invalidate_pattern(Pattern::new().exact(n)).await.unwrap()),
        }
        // Kept although the table overflows all the time: loaded after everything that is forgotten.
        fill(&rig, &region, &keys[1..2]).await;
        assert_eq!(hits(&region, &keys[1..2]).await, [0]);
    }
    let left = hits(&region, &keys).await;
    assert!(left.iter().all(|n| n % 2 == 1), "invalidated and forgotten, yet a hit: {left:?}");
}
