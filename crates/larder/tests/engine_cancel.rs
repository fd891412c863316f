//! Any operation may be dropped wherever it waits: nothing is left half-done, nobody else waits for ever, and what was
//! invalidated stays so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::testing::Hold;
use larder::{Region, Target, key, tag};
use rig::{Rig, bounded, secs, settle};
use std::future::Future;
use std::pin::Pin;

type Operation = (&'static str, fn(&Rig, Region<u64>) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Everything a region or a cache can be asked for.
const OPERATIONS: [Operation; 10] = [
    ("get", |_, region| Box::pin(async move { drop(region.get(key![1]).await) })),
    ("get_or_load", |rig, region| {
        let loader = rig.origin.load();
        Box::pin(async move { drop(region.get_or_load(key![1], loader).await) })
    }),
    ("get_or_load of another", |rig, region| {
        let loader = rig.origin.load();
        Box::pin(async move { drop(region.get_or_load(key![2], loader).await) })
    }),
    ("get_many_or_load", |rig, region| {
        let loader = rig.origin.load_many();
        Box::pin(async move { drop(region.get_many_or_load([key![1], key![2], key![3]], loader).await) })
    }),
    ("put", |_, region| Box::pin(async move { drop(region.put(key![1], 0).await) })),
    ("remove", |_, region| Box::pin(async move { drop(region.remove(key![1]).await) })),
    ("expire", |_, region| Box::pin(async move { drop(region.expire(key![1]).await) })),
    ("invalidate a key", |_, region| Box::pin(async move { drop(region.invalidate(key![1]).await) })),
    ("invalidate a tag", |rig, _| {
        let cache = rig.cache.clone();
        Box::pin(async move { drop(cache.invalidate([Target::tag(tag!["branch", 7])]).await) })
    }),
    ("sync", |rig, _| {
        let cache = rig.cache.clone();
        Box::pin(async move { drop(cache.sync().await) })
    }),
];

type Place = (&'static str, fn(&Rig) -> Hold);

/// Where an operation may come to wait.
const PLACES: [Place; 4] = [
    ("the journal's reads", |rig| rig.journal.hold_reads()),
    ("the journal's appends", |rig| rig.journal.hold_appends()),
    ("the store's reads", |rig| rig.store.hold_gets()),
    ("the store's writes", |rig| rig.store.hold_puts()),
];

/// A lapsed lease, one key in memory and another in the store only.
async fn prepared() -> (Rig, Region<u64>) {
    let rig = Rig::with_store().await;
    rig.origin.tag(tag!["branch", 7]);
    let region = rig.region(bounded());
    let other = rig.another().await.region::<u64>("slots", bounded()).unwrap();
    other.get_or_load(key![2], rig.origin.load()).await.unwrap();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.stored(2).await;
    rig.journal.set_deaf(true);
    rig.lapse(secs(2));
    (rig, region)
}

/// After whatever was dropped: a write is seen, reads answer, the cache can be closed at once.
async fn assert_sound(rig: &Rig, region: &Region<u64>, what: &str) {
    settle().await;
    rig.origin.unhold();
    let version = rig.origin.write();
    rig.cache.invalidate([Target::tag(tag!["branch", 7]), Target::region("slots")]).await.unwrap();
    for n in [1, 2, 3_u64] {
        let read = region.get_or_load(key![n], rig.origin.load()).await;
        assert_eq!(*read.unwrap(), version, "{what}: key {n}");
        assert!(region.get(key![n]).await.unwrap().is_some(), "{what}: key {n} is not kept");
    }
    let began = tokio::time::Instant::now();
    rig.cache.close().await;
    assert!(began.elapsed() < secs(1), "{what}: something still runs {:?} later", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_operation_dropped_while_a_journal_or_store_is_slow_leaves_everything_sound() {
    for (operation, begin) in OPERATIONS {
        for (place, hold) in PLACES {
            let (rig, region) = prepared().await;
            let hold = hold(&rig);
            let task = tokio::spawn(begin(&rig, region.clone()));
            settle().await;
            task.abort();
            settle().await;
            drop(hold);
            assert_sound(&rig, &region, &format!("{operation}, dropped while {place} are held")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_dropped_while_the_origin_is_slow_leaves_everything_sound() {
    for (operation, begin) in OPERATIONS {
        let (rig, region) = prepared().await;
        region.invalidate_all().await.unwrap();
        rig.origin.hold();
        let task = tokio::spawn(begin(&rig, region.clone()));
        settle().await;
        task.abort();
        settle().await;
        for _ in 0..3 {
            rig.origin.release();
        }
        assert_sound(&rig, &region, &format!("{operation}, dropped while the origin is held")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_dropped_before_it_was_ever_polled_did_nothing() {
    for (operation, begin) in OPERATIONS {
        let (rig, region) = prepared().await;
        drop(begin(&rig, region.clone()));
        settle().await;
        assert_eq!((rig.cache.stats().journal.position, rig.origin.loads()), (0, 2), "{operation}");
        assert_sound(&rig, &region, operation).await;
    }
}

#[test]
fn a_cache_whose_runtime_has_ended_answers_and_hangs_nobody() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (rig, region) = first.block_on(async {
        let rig = Rig::with_store().await;
        let region = rig.region(bounded().stale_while_revalidate(secs(60)));
        region.get_or_load(key![1], rig.origin.load()).await.unwrap();
        (rig, region)
    });
    drop(first);
    runtime().block_on(async {
        rig.clock.advance(secs(61));
        // Its background work has nowhere to run; what readers do themselves works on.
        assert_eq!(*region.get_or_load(key![1], rig.origin.load()).await.unwrap(), 1);
        assert_eq!(*region.get_or_load(key![2], rig.origin.load()).await.unwrap(), 1);
        let said = region.invalidate(key![1]).await.unwrap();
        assert!(matches!(said, larder::Invalidated::Applied { position: 1, .. }), "{said:?}");
        assert!(region.get(key![1]).await.unwrap().is_none());
        // This needs a task.
        assert!(rig.cache.sync().await.unwrap_err().is_closed());
    });
}
