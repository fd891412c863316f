//! What the machine of `machine_map` found, each as the shortest history that shows it.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

mod rig;

use larder::{Freshness, Loaded, Source, key};
use rig::{Answer, Down, Rig, eventual, load, secs};

/// A region that refreshes ahead remembered an absence for ten seconds, and another process found it in the store. Past
/// half of its time it asked the origin again behind each reader's back, which memory does not do with an absence: its
/// life has no part in which a refresh is due. What a store hands back now has none either.
#[tokio::test(start_paused = true)]
async fn a_remembered_absence_found_in_a_store_is_not_refreshed_ahead() {
    let rig = Rig::with_store().await;
    let policy = eventual().refresh_ahead(0.5).negative_ttl(secs(10));
    rig.origin.will(Answer::Absent);
    let here = rig.region(policy.clone());
    assert!(here.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
    rig.stored(1).await;
    rig.pass(secs(6)).await;
    let there = rig.another().await.region("slots", policy).unwrap();
    for region in [&there, &here] {
        assert!(region.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
        rig::settle().await;
        assert_eq!(rig.origin.loads(), 1);
    }
    rig.pass(secs(4)).await;
    assert!(there.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
    assert_eq!(rig.origin.loads(), 2, "it is forgotten when its time is up");
}

/// A value was read from the origin, and before it was put, another key was written and this one loaded. Long after that
/// load's TTL the value came, and was not kept: what memory held had been born later, though it was of no use any more.
/// Entries built from older ones fared alike: each read loaded them again.
#[tokio::test(start_paused = true)]
async fn what_has_expired_does_not_keep_out_what_was_born_before_it() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let snapshot = region.snapshot();
    region.invalidate(key![2]).await.unwrap();
    load(&rig, &region).await.unwrap();
    rig.pass(rig::TTL).await;
    region.put_as_of(snapshot, key![1], 70, []).unwrap();
    assert_eq!(region.get(key![1]).await.unwrap().map(|found| *found), Some(70));
}

/// A load was overtaken by a write. Another process had loaded and stored the new value by the time it ended; what it
/// brought was refused by memory, and still written to the store, in place of the good one.
#[tokio::test(start_paused = true)]
async fn a_load_dead_on_arrival_takes_nobodys_place_in_a_store() {
    let rig = Rig::with_store().await;
    let (here, there) = (rig.region(eventual()), rig.another().await);
    let there = there.region::<u64>("slots", eventual()).unwrap();
    rig.origin.hold();
    let (region, loader) = (here.clone(), rig.origin.load());
    let overtaken = tokio::spawn(async move { region.get_or_load(key![1], loader).await.map(|read| *read) });
    rig.origin.reached().await;
    rig.origin.unhold();
    let version = rig.origin.write();
    there.invalidate(key![1]).await.unwrap();
    assert_eq!(*load(&rig, &there).await.unwrap(), version);
    rig.stored(1).await;
    rig::settle().await;
    rig.origin.release();
    overtaken.await.unwrap().unwrap();
    rig::settle().await;
    let third = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    let found = third.get(key![1]).await.unwrap().expect("what the other process stored");
    assert_eq!((*found, found.source()), (version, Source::Store(0)));
}

/// The loader of a key reads another key, which is older, and then finds that the origin has nothing. That answer counts
/// as old as what was read, and so was taken for older than the value in memory: which was served as stale, again and
/// again, after the origin had said that it is gone.
#[tokio::test(start_paused = true)]
async fn what_the_origin_says_is_gone_is_gone_however_old_the_answer_counts() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().stale_while_revalidate(secs(600)));
    region.get_or_load(key![2], rig.origin.load()).await.unwrap();
    region.invalidate(key![1]).await.unwrap();
    load(&rig, &region).await.unwrap();
    rig.pass(rig::TTL).await;
    let (inner, loader) = (region.clone(), rig.origin.load());
    let gone = async move |_| {
        inner.get_or_load(key![2], loader).await.unwrap();
        Ok::<_, Down>(Loaded::Absent)
    };
    let read = region.get_or_load(key![1], gone).await.unwrap();
    assert_eq!(read.freshness(), Freshness::Revalidating);
    rig::settle().await;
    assert!(region.get(key![1]).await.unwrap().is_none());
}

/// Memory held an old entry of a key, fit only as a fallback, and the store a newer one of another process, due for a
/// refresh. A batch served the newer one, its refresh failed, and the failure was noted with the old entry, which was
/// gone: the next read asked the failing origin at once instead of leaving it alone. The loader, too, was given the old
/// value to compare with.
#[tokio::test(start_paused = true)]
async fn a_batch_refreshes_what_it_serves_and_not_what_memory_held_before() {
    let rig = Rig::with_store().await;
    let policy = eventual().refresh_ahead(0.5).fail_safe(secs(600), secs(60));
    let here = rig.region(policy.clone());
    let there = rig.another().await.region::<u64>("slots", policy).unwrap();
    load(&rig, &there).await.unwrap();
    rig.stored(1).await;
    rig.pass(rig::TTL).await;
    let version = rig.origin.write();
    load(&rig, &here).await.unwrap();
    rig.pass(secs(40)).await;
    rig.origin.will(Answer::Error);
    let loads = rig.origin.loads();
    let served = there.get_many_or_load([key![1]], rig.origin.load_many()).await.remove(0).unwrap();
    rig::settle().await;
    assert_eq!((*served, rig.origin.loads()), (version, loads + 1));
    load(&rig, &there).await.unwrap();
    rig::settle().await;
    assert_eq!(rig.origin.loads(), loads + 1, "the origin is left alone after a failure");
}
