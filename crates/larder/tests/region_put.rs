//! What `put` promises to other processes, and what a put entry costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use larder::journal::MemoryJournal;
use larder::testing::FakeJournal;
use larder::{Bytes, Cache, Level, Policy, key};
use std::time::Duration;

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(600)).level(Level::Eventual)
}

/// Two processes put one key at the same time. The first one's record is followed by the second one's before the first
/// has applied its own; it then applied both and called its value as new as the newest. Each process kept its own
/// value as fresh, until the TTL.
#[tokio::test]
async fn a_put_that_another_nodes_put_has_followed_is_not_kept_as_the_newest() {
    let records = MemoryJournal::new();
    let journal = FakeJournal::new(records.clone());
    journal.set_deaf(true);
    let first = Cache::builder("booking").journal(journal.clone()).build().await.unwrap();
    let second = Cache::builder("booking").journal(records).build().await.unwrap();
    let here = first.region::<u32>("slots", policy()).unwrap();
    let there = second.region::<u32>("slots", policy()).unwrap();

    // What the first has not applied yet keeps it from applying its own record without a question.
    there.put(key![2], 0).await.unwrap();
    let hold = journal.hold_reads();
    let putting = tokio::spawn({
        let here = here.clone();
        async move { here.put(key![1], 1).await }
    });
    hold.reached_by(1).await;
    assert_eq!(journal.calls().appends, 1, "recorded, and not applied yet");
    there.put(key![1], 2).await.unwrap();
    drop(hold);
    putting.await.unwrap().unwrap();

    assert!(here.get(key![1]).await.unwrap().is_none(), "overtaken");
    assert_eq!(there.get(key![1]).await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn long_keys_count_against_the_cap_on_bytes() {
    let cache = Cache::builder("booking").memory(Bytes::mib(1)).build().await.unwrap();
    let region = cache.region::<u8>("slots", policy()).unwrap();
    for n in 0..500 {
        region.put_as_of(region.snapshot(), key![n, "x".repeat(10_000)], 1, []).unwrap();
    }
    let memory = cache.stats().memory;
    assert!(memory.entries > 0 && memory.entries * 10_000 <= 1 << 20, "{memory:?}");
}

#[tokio::test]
async fn a_snapshot_of_another_cache_is_refused() {
    // Its number is of another count: a value kept under it would outlive invalidations here.
    let (one, other) =
        (Cache::builder("one").build().await.unwrap(), Cache::builder("other").build().await.unwrap());
    let snapshot = one.region::<u64>("slots", policy()).unwrap().snapshot();
    let region = other.region::<u64>("slots", policy()).unwrap();
    let error = region.put_as_of(snapshot, key![1], 1, []).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("another cache"), "{error}");
}
