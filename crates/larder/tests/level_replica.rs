//! Loads from a lagging replica: what they bring is kept only when the replica must have shown every record it is born
//! with, and is as good for others as the rule says, never better.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Error, Load, LoadError, Policy, Region, Source, Target, key};
use larder_core::outwait;
use rig::{Origin, Rig, bounded, eventual, ms, secs, settle};
use std::time::Duration;

const LAG: Duration = Duration::from_millis(800);
/// After so long, by the cache's clock, the replica has caught up for certain.
const HELD_OFF: Duration = Duration::from_nanos(outwait(800_000_000) + 1);

fn replicated() -> Policy {
    bounded().replica_lag(LAG)
}

async fn read(region: &Region<u64>, origin: &Origin) -> (u64, Source) {
    let found = region.get_or_load(key![1], origin.load()).await.unwrap();
    (*found, found.source())
}

fn target() -> [Target; 1] {
    [Target::key("slots", key![1])]
}

/// Lets the replica show what is there now, for certain, and the node know it.
async fn quiet(rig: &Rig) {
    for _ in 0..4 {
        rig.pass(HELD_OFF).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_before_the_node_knows_far_enough_back() {
    let rig = Rig::with_store().await;
    let region = rig.region(replicated());
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Loader));
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Loader), "not kept");
    settle().await;
    assert!(rig.store.keys().is_empty(), "nor stored");
    quiet(&rig).await;
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Loader));
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Memory));
}

/// The story. A booking commits on the primary and is announced; a reader misses, and loads from a replica that has not
/// seen it. Without the hold-off the old value would be kept, born after the record, until its TTL ends.
#[tokio::test(start_paused = true)]
async fn what_a_replica_shows_right_after_an_invalidation_is_returned_and_not_kept() {
    let rig = Rig::with_store().await;
    let region = rig.region(replicated());
    quiet(&rig).await;
    read(&region, &rig.origin).await;
    // The replica still shows version 1; the origin's counter stands for what the replica shows.
    rig.cache.invalidate(target()).await.unwrap();
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Loader));
    rig.pass(ms(700)).await;
    assert_eq!(read(&region, &rig.origin).await, (1, Source::Loader), "still not kept");
    let version = rig.origin.write();
    assert_eq!(read(&region, &rig.origin).await, (version, Source::Loader), "the replica has caught up");
    quiet(&rig).await;
    assert_eq!(read(&region, &rig.origin).await, (version, Source::Loader));
    assert_eq!(read(&region, &rig.origin).await, (version, Source::Memory), "kept once that is certain");
}

#[tokio::test(start_paused = true)]
async fn what_no_record_names_is_kept_although_others_were_invalidated() {
    let rig = Rig::new().await;
    let region = rig.region(replicated());
    quiet(&rig).await;
    rig.cache.invalidate([Target::key("slots", key![2])]).await.unwrap();
    assert_eq!(read(&region, &rig.origin).await.1, Source::Loader);
    assert_eq!(read(&region, &rig.origin).await.1, Source::Memory);
}

/// A load from the replica is under way when a booking is announced. A reader that comes later than the lag after that
/// must not be given what it brings; the one that waits from before may.
#[tokio::test(start_paused = true)]
async fn a_load_that_may_lack_a_record_is_not_shared_with_who_came_after_it() {
    let rig = Rig::new().await;
    let region = rig.region(replicated());
    quiet(&rig).await;
    rig.cache.invalidate(target()).await.unwrap();
    rig.origin.hold();
    let reading = || {
        let (region, origin) = (region.clone(), rig.origin.clone());
        tokio::spawn(async move { read(&region, &origin).await.0 })
    };
    let early = reading();
    rig.origin.reached().await;
    rig.pass(HELD_OFF + secs(1)).await;
    let version = rig.origin.write();
    rig.origin.unhold();
    let late = reading();
    settle().await;
    rig.origin.release();
    assert_eq!(early.await.unwrap(), 1);
    assert_eq!(late.await.unwrap(), version);
}

/// The same with nothing applied yet that is old enough: the load has no birth at all, and is nobody else's.
#[tokio::test(start_paused = true)]
async fn a_load_without_a_birth_is_not_shared_with_who_came_after_it() {
    let rig = Rig::new().await;
    let region = rig.region(replicated());
    rig.origin.hold();
    let reading = || {
        let (region, origin) = (region.clone(), rig.origin.clone());
        tokio::spawn(async move { read(&region, &origin).await.0 })
    };
    let early = reading();
    rig.origin.reached().await;
    rig.pass(ms(1)).await;
    let version = rig.origin.write();
    rig.origin.unhold();
    let late = reading();
    rig.followers(1).await;
    rig.origin.release();
    assert_eq!(early.await.unwrap(), 1);
    assert_eq!(late.await.unwrap(), version);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_for_a_put_is_held_off_like_a_load() {
    let rig = Rig::new().await;
    let region = rig.region(replicated());
    quiet(&rig).await;
    rig.cache.invalidate(target()).await.unwrap();
    region.put_as_of(region.snapshot(), key![1], 1, []).unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none());
    quiet(&rig).await;
    region.put_as_of(region.snapshot(), key![1], 2, []).unwrap();
    assert_eq!(region.get(key![1]).await.unwrap().map(|found| *found), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_while_the_clock_was_doubtful_is_a_miss() {
    let rig = Rig::new().await;
    let region = rig.region(replicated());
    quiet(&rig).await;
    read(&region, &rig.origin).await;
    assert_eq!(read(&region, &rig.origin).await.1, Source::Memory);
    rig.clock.doubt_once();
    rig.cache.sync().await.unwrap();
    assert_eq!(read(&region, &rig.origin).await.1, Source::Loader, "how old it is, nobody knows");
}

#[tokio::test(start_paused = true)]
async fn a_lag_of_nothing_is_refused() {
    let rig = Rig::new().await;
    let error = rig.cache.region::<u64>("slots", bounded().replica_lag(Duration::ZERO)).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("replica_lag"), "{error}");
}

/// [`read`] from a replica that is looked at only once it shows what it must.
async fn read_shown(region: &Region<u64>, origin: &Origin) -> Result<(u64, Source), Error> {
    let load = origin.load();
    let shown = async move |loading: Load<u64>| {
        loading.must_show().await?;
        Ok::<_, LoadError>(load(loading).await?)
    };
    region.get_or_load(key![1], shown).await.map(|found| (*found, found.source()))
}

/// The story. An invalidation could not be recorded yet, so the replica cannot be asked whether it shows the write. The node has
/// fenced it; what is loaded now is newer than the fence, and may be older than the write.
#[tokio::test(start_paused = true)]
async fn what_has_no_record_yet_is_not_known_to_be_shown() {
    let rig = Rig::with_store().await;
    let region = rig.region(bounded());
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (1, Source::Loader));
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (1, Source::Memory), "kept from the first");
    rig.journal.fail_appends(1_000);
    rig.cache.invalidate(target()).await.unwrap();
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (1, Source::Loader));
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (1, Source::Loader), "not kept");
    rig.journal.fail_appends(0);
    let version = rig.origin.write();
    for _ in 0..40 {
        rig.pass(ms(500)).await;
    }
    assert_eq!(rig.cache.stats().journal.queued, 0);
    // What was fenced by this node alone is over with the next record.
    rig.cache.invalidate([Target::key("slots", key![2])]).await.unwrap();
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (version, Source::Loader));
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap(), (version, Source::Memory));
}

#[tokio::test(start_paused = true)]
async fn without_the_journal_nobody_knows_what_a_replica_must_show() {
    let rig = Rig::new().await;
    let (region, relaxed) = (rig.region(bounded()), rig.cache.region::<u64>("relaxed", eventual()).unwrap());
    rig.journal.set_unreachable(true);
    rig.pass(secs(5)).await;
    let unknown = read_shown(&region, &rig.origin).await.unwrap_err();
    assert!(unknown.is_load() && unknown.to_string().contains("what the replica must show"), "{unknown}");
    assert_eq!(rig.origin.loads(), 0, "it was not looked at");
    assert_eq!(read_shown(&relaxed, &rig.origin).await.unwrap(), (1, Source::Loader));
    rig.journal.set_unreachable(false);
    assert_eq!(read_shown(&region, &rig.origin).await.unwrap().0, 1, "asked on the spot");
}
