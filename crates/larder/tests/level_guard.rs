//! Guarded writes and writes that wait: no read that begins after they return, on any node, is of an older value; and
//! what is written under a guard is served by no node until the guard is closed, whoever closes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::MemoryJournal;
use larder::testing::ManualClock;
use larder::{Cache, Error, Invalidated, Level, Policy, Region, Source, Target, WriteGuard, key};
use larder_core::outwait;
use larder_core::port::Journal;
use rig::{NS, Origin, Rig, TTL, bounded, ms, secs, settle, until};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What is waited for with the default bound of a second.
const WAIT: Duration = Duration::from_nanos(outwait(1_000_000_000));

fn target() -> [Target; 1] {
    [Target::key("slots", key![1])]
}

async fn read(region: &Region<u64>, origin: &Origin) -> u64 {
    *region.get_or_load(key![1], origin.load()).await.unwrap()
}

fn begin(cache: &Cache) -> JoinHandle<Result<WriteGuard, Error>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.write(target()).await })
}

/// A guard, with the wait for all nodes behind it.
async fn guard(rig: &Rig, cache: &Cache) -> WriteGuard {
    let before = cache.stats().journal.intents_open;
    let beginning = begin(cache);
    until(|| cache.stats().journal.intents_open > before || beginning.is_finished()).await;
    settle().await;
    rig.pass(WAIT + ms(1)).await;
    beginning.await.unwrap().unwrap()
}

/// A node that hears nothing by itself: only its own renewals.
async fn deaf(rig: &Rig) -> Cache {
    let journal = rig.journal.clone();
    rig.journal.set_deaf(true);
    Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(journal).build().await.unwrap()
}

/// Another node was confirmed just before the intent was appended, and does not look again. It may serve what it has for
/// its whole bound; the write begins only after.
#[tokio::test(start_paused = true)]
async fn a_guard_is_given_only_when_no_lease_can_hold_that_knows_nothing_of_it() {
    let rig = Rig::new().await;
    let there = deaf(&rig).await;
    let far: Region<u64> = there.region("slots", bounded()).unwrap();
    there.sync().await.unwrap();
    assert_eq!(read(&far, &rig.origin).await, 1);
    let beginning = begin(&rig.cache);
    until(|| rig.journal.calls().appends == 1 || beginning.is_finished()).await;
    settle().await;
    // Only the cache's clock: the other node's follower does not get a turn.
    rig.lapse(secs(1) - Duration::from_nanos(1));
    assert_eq!(far.get(key![1]).await.unwrap().map(|found| *found), Some(1), "its lease still holds");
    assert!(!beginning.is_finished(), "a guard was given while another node serves the old value");
    rig.lapse(Duration::from_nanos(1));
    assert!(far.get(key![1]).await.unwrap().is_none(), "it has renewed, and found the intent");
    rig.pass(WAIT).await;
    beginning.await.unwrap().unwrap().commit().await.unwrap();
}

/// From the guard to its commit, no node serves the key from a cache; not even what was loaded in between, which may be
/// from before the write.
#[tokio::test(start_paused = true)]
async fn under_a_guard_every_read_on_every_node_loads() {
    let rig = Rig::with_store().await;
    let there = rig.another().await;
    let (near, far) = (rig.region(bounded()), there.region("slots", bounded()).unwrap());
    read(&near, &rig.origin).await;
    read(&far, &rig.origin).await;
    let guard = guard(&rig, &rig.cache).await;
    for region in [&near, &far] {
        for _ in 0..3 {
            let loads = rig.origin.loads();
            let found = region.get_or_load(key![1], rig.origin.load()).await.unwrap();
            assert_eq!((found.source(), rig.origin.loads()), (Source::Loader, loads + 1));
            assert!(region.get(key![1]).await.unwrap().is_none());
        }
    }
    let version = rig.origin.write();
    // The write is there, its commit is not: what is loaded is the new value, and still not kept.
    assert_eq!(read(&far, &rig.origin).await, version);
    assert!(far.get(key![1]).await.unwrap().is_none());
    let token = guard.commit().await.unwrap();
    there.reach(&token).await.unwrap();
    for region in [&near, &far] {
        assert_eq!(read(region, &rig.origin).await, version);
        assert!(region.get(key![1]).await.unwrap().is_some(), "cacheable again");
    }
}

/// A load that began before the write is held up and ends under the guard, or after it. Those who came after the write was
/// acknowledged must not be given what it brings.
#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_after_the_write_does_not_share_a_load_from_before_it() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    let guard = guard(&rig, &rig.cache).await;
    rig.origin.hold();
    let early = tokio::spawn({
        let (region, origin) = (region.clone(), rig.origin.clone());
        async move { read(&region, &origin).await }
    });
    rig.origin.reached().await;
    rig.origin.unhold();
    let version = rig.origin.write();
    rig.pass(ms(1)).await;
    let late = tokio::spawn({
        let (region, origin) = (region.clone(), rig.origin.clone());
        async move { read(&region, &origin).await }
    });
    settle().await;
    rig.origin.release();
    assert_eq!(early.await.unwrap(), 1, "began before the write");
    assert_eq!(late.await.unwrap(), version);
    guard.commit().await.unwrap();
}

/// Many readers under a guard do not become as many loads: they wait for the one that runs, and then share the next.
#[tokio::test(start_paused = true)]
async fn readers_under_a_guard_share_loads_that_began_after_they_came() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    let guard = guard(&rig, &rig.cache).await;
    rig.origin.hold();
    let reading = |n: usize| {
        (0..n)
            .map(|_| {
                let (region, origin) = (region.clone(), rig.origin.clone());
                tokio::spawn(async move { read(&region, &origin).await })
            })
            .collect::<Vec<_>>()
    };
    let mut readers = reading(1);
    rig.origin.reached().await;
    rig.pass(ms(1)).await;
    readers.extend(reading(50));
    rig.followers(50).await;
    rig.pass(ms(1)).await;
    rig.origin.release();
    rig.origin.reached().await;
    rig.origin.release();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 1);
    }
    assert_eq!(rig.origin.loads(), 2);
    guard.commit().await.unwrap();
}

/// Two writers of one key. The first commits while the second is about to write.
#[tokio::test(start_paused = true)]
async fn of_two_guards_on_one_key_each_counts() {
    let rig = Rig::with_store().await;
    let there = rig.another().await;
    let (near, far) = (rig.region(bounded()), there.region::<u64>("slots", bounded()).unwrap());
    let first = guard(&rig, &rig.cache).await;
    let second = guard(&rig, &there).await;
    rig.origin.write();
    let token = first.commit().await.unwrap();
    there.reach(&token).await.unwrap();
    for region in [&near, &far] {
        read(region, &rig.origin).await;
        assert!(region.get(key![1]).await.unwrap().is_none(), "kept although the second is about to write");
    }
    let version = rig.origin.write();
    let token = second.commit().await.unwrap();
    rig.cache.reach(&token).await.unwrap();
    assert_eq!(read(&near, &rig.origin).await, version);
    assert!(near.get(key![1]).await.unwrap().is_some());
}

/// The writer dies. Nobody closes its intent before its time is over, on the clock of whoever noticed it; then somebody
/// does, and that invalidates.
#[tokio::test(start_paused = true)]
async fn an_orphan_is_closed_after_its_time_by_another_node_and_never_before() {
    let rig = Rig::new().await;
    let there = rig.another().await;
    let far: Region<u64> = there.region("slots", bounded()).unwrap();
    let guard = guard(&rig, &rig.cache).await;
    let left = guard.remaining();
    drop(guard);
    rig.cache.close().await;
    read(&far, &rig.origin).await;
    let open = async || rig.records.history(NS).await.unwrap().open.len();
    let mut passed = Duration::ZERO;
    while passed + ms(500) < left {
        rig.pass(ms(500)).await;
        passed += ms(500);
        assert_eq!(open().await, 1, "closed after {passed:?}, while its writer may still write for {left:?}");
        assert!(far.get(key![1]).await.unwrap().is_none());
    }
    // Its writer's last moment. What it wrote is seen once the intent is closed.
    let version = rig.origin.write();
    for _ in 0..20 {
        rig.pass(ms(500)).await;
    }
    assert_eq!(open().await, 0);
    assert_eq!(read(&far, &rig.origin).await, version);
    assert!(far.get(key![1]).await.unwrap().is_some());
}

/// Its own process notices as well, when the guard was dropped.
#[tokio::test(start_paused = true)]
async fn a_dropped_guard_expires_and_its_targets_are_invalidated() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    drop(guard(&rig, &rig.cache).await);
    let version = rig.origin.write();
    for _ in 0..30 {
        rig.pass(ms(500)).await;
    }
    assert_eq!(rig.cache.stats().journal.intents_open, 0);
    assert_eq!(read(&region, &rig.origin).await, version);
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_commit_after_its_time_is_refused() {
    let rig = Rig::new().await;
    let guard = guard(&rig, &rig.cache).await;
    assert!(guard.remaining() > secs(9) && guard.remaining() <= secs(10), "{:?}", guard.remaining());
    rig.lapse(secs(11));
    assert_eq!(guard.remaining(), Duration::ZERO);
    let error = guard.commit().await.unwrap_err();
    assert!(error.is_guard_expired(), "{error}");
}

/// Recorded or not, the caller is told, and nobody serves the key until it has expired.
#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_recorded_leaves_the_intent_to_expire() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    let guard = guard(&rig, &rig.cache).await;
    let version = rig.origin.write();
    rig.journal.fail_appends(1);
    let error = guard.commit().await.unwrap_err();
    assert!(error.is_uncommitted(), "{error}");
    assert_eq!(read(&region, &rig.origin).await, version);
    assert!(region.get(key![1]).await.unwrap().is_none());
    for _ in 0..30 {
        rig.pass(ms(500)).await;
    }
    read(&region, &rig.origin).await;
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_cannot_be_recorded_gives_no_guard() {
    let rig = Rig::new().await;
    rig.journal.fail_appends(1);
    assert!(rig.cache.write(target()).await.unwrap_err().is_journal());
    assert!(rig.cache.write([]).await.unwrap_err().is_invalid());
    assert!(rig.cache.write(target()).lasting(Duration::ZERO).await.unwrap_err().is_invalid());
    assert!(rig.cache.write(target()).lasting(secs(3601)).await.unwrap_err().is_invalid());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_guard_and_one_that_was_never_given_make_the_key_cacheable_again() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    guard(&rig, &rig.cache).await.cancel().await.unwrap();
    read(&region, &rig.origin).await;
    assert!(region.get(key![1]).await.unwrap().is_some());

    // Another node hears nothing of it, and is waited for.
    let there = deaf(&rig).await;
    there.sync().await.unwrap();
    let beginning = begin(&rig.cache);
    until(|| rig.cache.stats().journal.intents_open == 1).await;
    settle().await;
    beginning.abort();
    until(|| rig.cache.stats().journal.intents_open == 0).await;
}

/// Order 6. The record that opened the intent is no longer kept; a node starts in the middle of the write.
#[tokio::test(start_paused = true)]
async fn a_node_that_starts_in_the_middle_of_a_write_caches_nothing_of_it() {
    let clock = ManualClock::default();
    let records = MemoryJournal::keeping(2);
    let node = || Cache::builder(NS).clock(Arc::new(clock.clone())).journal(records.clone()).build();
    let (origin, here) = (Origin::default(), node().await.unwrap());
    let beginning = begin(&here);
    until(|| here.stats().journal.intents_open == 1).await;
    settle().await;
    clock.advance(WAIT + ms(1));
    tokio::time::advance(WAIT + ms(1)).await;
    let guard = beginning.await.unwrap().unwrap();
    for n in 0..5 {
        here.invalidate([Target::key("other", key![n])]).await.unwrap();
    }
    let there = node().await.unwrap();
    let far: Region<u64> = there.region("slots", bounded()).unwrap();
    assert_eq!(read(&far, &origin).await, 1);
    assert!(far.get(key![1]).await.unwrap().is_none(), "what it loaded is about to be written");
    let version = origin.write();
    let token = guard.commit().await.unwrap();
    there.reach(&token).await.unwrap();
    assert_eq!(read(&far, &origin).await, version);
    assert!(far.get(key![1]).await.unwrap().is_some());
}

/// A write that waits: another node's lease runs for its whole bound, and the write returns only then.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_returns_when_no_node_serves_the_old_value() {
    let rig = Rig::new().await;
    let there = deaf(&rig).await;
    let far: Region<u64> = there.region("slots", bounded()).unwrap();
    there.sync().await.unwrap();
    assert_eq!(read(&far, &rig.origin).await, 1);
    let version = rig.origin.write();
    let writing = tokio::spawn({
        let cache = rig.cache.clone();
        async move { cache.invalidate_and_wait(target()).await.unwrap() }
    });
    until(|| rig.journal.calls().appends == 1 || writing.is_finished()).await;
    settle().await;
    rig.lapse(secs(1) - Duration::from_nanos(1));
    assert_eq!(far.get(key![1]).await.unwrap().map(|found| *found), Some(1));
    assert!(!writing.is_finished(), "returned while another node serves the old value");
    rig.pass(WAIT).await;
    assert!(matches!(writing.await.unwrap(), Invalidated::Applied { .. }));
    assert_eq!(read(&far, &rig.origin).await, version);
}

/// An outbox: the record is there with the data, and nobody has been told. Whoever waits for all nodes then knows that they
/// have asked.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_all_nodes_after_an_outbox_returns_when_none_serves_the_old_value() {
    let rig = Rig::new().await;
    let there = deaf(&rig).await;
    let far: Region<u64> = there.region("slots", bounded()).unwrap();
    there.sync().await.unwrap();
    assert_eq!(read(&far, &rig.origin).await, 1);
    let version = rig.origin.write();
    rig.records.append(NS, &target(), &"booked".into()).await.unwrap();
    let waiting = tokio::spawn({
        let cache = rig.cache.clone();
        async move { cache.wait_for_all_nodes().await.unwrap() }
    });
    settle().await;
    rig.lapse(secs(1) - Duration::from_nanos(1));
    assert_eq!(far.get(key![1]).await.unwrap().map(|found| *found), Some(1));
    assert!(!waiting.is_finished());
    rig.pass(WAIT).await;
    waiting.await.unwrap();
    assert_eq!(read(&far, &rig.origin).await, version);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_could_only_be_queued_does_not_wait_and_says_so() {
    let rig = Rig::new().await;
    rig.journal.set_unreachable(true);
    assert_eq!(rig.cache.invalidate_and_wait(target()).await.unwrap(), Invalidated::Queued);
}

#[tokio::test(start_paused = true)]
async fn a_region_staler_than_the_namespace_allows_is_refused() {
    let rig = Rig::of(|builder, _| builder.bound_max(ms(500))).await;
    let tight = Policy::ttl(TTL).level(Level::Bounded(ms(500)));
    rig.cache.region::<u64>("tight", tight.clone()).unwrap();
    for policy in [bounded(), tight.replica_lag(ms(501))] {
        let error = rig.cache.region::<u64>("loose", policy).unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("500ms"), "{error}");
    }
    rig.cache.region::<u64>("eventual", Policy::ttl(TTL).level(Level::Eventual)).unwrap();
    let error = Cache::builder(NS).bound_max(Duration::ZERO).build().await.err().unwrap();
    assert!(error.is_invalid() && error.to_string().contains("bound_max"), "{error}");
}
