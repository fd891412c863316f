//! The end of a cache: closing lets work finish and is final; dropping the last handle leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::port::Journal as _;
use larder::{Cache, Error, Invalidated, Target, key, tag};
use rig::{NS, Rig, bounded, eventual, ms, secs, settle, until};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use tokio::runtime::Handle;

fn tasks_alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_fail_after_a_close_and_say_why() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    let snapshot = region.snapshot();
    rig.cache.close().await;
    assert!(region.get(key![1]).await.unwrap_err().is_closed());
    assert!(region.contains(key![1]).await.unwrap_err().is_closed());
    assert!(region.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_closed());
    let many = region.get_many_or_load([key![1]], rig.origin.load_many()).await;
    assert!(many[0].as_ref().unwrap_err().is_closed());
    assert!(region.put(key![1], 1).await.unwrap_err().is_closed());
    assert!(region.put_as_of(snapshot, key![1], 1, []).unwrap_err().is_closed());
    assert!(region.remove(key![1]).await.unwrap_err().is_closed());
    assert!(region.expire(key![1]).await.unwrap_err().is_closed());
    assert!(region.invalidate(key![1]).await.unwrap_err().is_closed());
    assert!(rig.cache.invalidate([Target::tag(tag![1])]).await.unwrap_err().is_closed());
    assert_eq!(rig.origin.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_twice_or_from_two_tasks_at_once_waits_for_nothing_more() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    let began = tokio::time::Instant::now();
    tokio::join!(rig.cache.close(), rig.cache.close());
    rig.cache.close().await;
    assert!(began.elapsed() < secs(1), "closing took {:?}", began.elapsed());
}

/// An invalidation that was begun, and waits for the journal.
async fn begun(rig: &Rig) -> Pin<Box<impl Future<Output = Result<Invalidated, Error>>>> {
    let mut invalidating = Box::pin(rig.cache.invalidate([Target::tag(tag![1])]));
    poll_fn(|context| {
        assert!(invalidating.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    invalidating
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_ever_for_an_invalidation_that_nobody_polls() {
    let rig = Rig::new().await;
    let hold = rig.journal.hold_appends();
    let invalidating = begun(&rig).await;
    rig.cache.close().await;
    drop(hold);
    // Nobody would try it again: it is said to have failed, and not to be queued.
    invalidating.await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_whose_caller_goes_away_is_carried_through_and_a_close_waits_for_it() {
    let rig = Rig::new().await;
    let hold = rig.journal.hold_appends();
    let invalidating = begun(&rig).await;
    drop(invalidating);
    settle().await;
    let cache = rig.cache.clone();
    let closing = tokio::spawn(async move { cache.close().await });
    settle().await;
    assert!(!closing.is_finished(), "closed although an invalidation was half-way");
    drop(hold);
    assert_eq!(closing.await.unwrap(), 0);
    assert_eq!(rig.records.history(NS).await.unwrap().head.position, 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_lets_writes_to_the_store_and_loads_finish() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let hold = rig.store.hold_puts();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    hold.reached_by(1).await;
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![2], loader).await });
    rig.origin.reached().await;
    let cache = rig.cache.clone();
    let closing = tokio::spawn(async move { cache.close().await });
    settle().await;
    assert!(!closing.is_finished());
    drop(hold);
    settle().await;
    assert!(!closing.is_finished(), "a load is under way");
    rig.origin.release();
    assert_eq!(*reading.await.unwrap().unwrap(), 1);
    closing.await.unwrap();
    assert_eq!(rig.store.keys().len(), 1, "what was being written is written");
}

#[tokio::test(start_paused = true)]
async fn a_close_records_what_is_queued() {
    let rig = Rig::new().await;
    rig.journal.fail_appends(1);
    rig.cache.invalidate([Target::tag(tag![1])]).await.unwrap();
    rig.cache.close().await;
    assert_eq!(rig.journal.calls().appends, 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_gives_up_on_what_does_not_end() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let _hold = rig.store.hold_puts();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    let began = tokio::time::Instant::now();
    rig.cache.close().await;
    assert!(began.elapsed() <= secs(11), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_ends_after_the_close_puts_nothing_into_memory() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    // Longer than the close waits, shorter than the load's hard timeout.
    rig.cache.close().await;
    rig.origin.release();
    reading.await.unwrap().unwrap();
    assert!(region.get(key![1]).await.unwrap_err().is_closed());
    assert_eq!(rig.cache.stats().memory.entries, 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_all_tasks() {
    let before = tasks_alive();
    let rig = Rig::with_store().await;
    let region = rig.region(bounded().stale_while_revalidate(secs(60)));
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    settle().await;
    assert!(tasks_alive() > before, "the follower runs");
    // A refresh that never ends, a read nobody waits for, and a write to the store that is stuck.
    rig.pass(secs(61)).await;
    rig.origin.hold();
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![2], loader).await.map(drop) });
    rig.origin.reached().await;
    reading.abort();
    let hold = rig.store.hold_puts();
    rig.origin.unhold();
    region.get_or_load(key![3], rig.origin.load()).await.unwrap();
    hold.reached_by(1).await;
    let Rig { cache, .. } = rig;
    drop(cache);
    settle().await;
    assert!(tasks_alive() > before, "a region is a handle too");
    drop(region);
    until(|| tasks_alive() == before).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenants_handle_keeps_the_cache_alive() {
    let cache = Cache::builder(NS).build().await.unwrap();
    let tenant = cache.tenant("acme");
    drop(cache);
    settle().await;
    let region = tenant.region::<u64>("slots", eventual()).unwrap();
    let load = async |_load: larder::Load<u64>| Ok::<_, std::io::Error>(1);
    assert!(region.get_or_load(key![1], load).await.is_ok());
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reader_under_way_when_the_last_handle_goes_gets_an_answer() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let reading = tokio::spawn(async move { handle.get_or_load(key![1], loader).await.map(|o| *o) });
    rig.origin.reached().await;
    drop(region);
    let Rig { cache, origin, .. } = rig;
    drop(cache);
    tokio::time::advance(ms(10)).await;
    origin.release();
    assert_eq!(reading.await.unwrap().unwrap(), 1);
}
