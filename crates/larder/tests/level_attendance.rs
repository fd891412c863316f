//! Waits for all nodes where the journal knows its nodes: over as soon as everybody has the record, and no sooner.
#![allow(clippy::unwrap_used)]

use larder::journal::MemoryJournal;
use larder::testing::{FakeJournal, ManualClock};
use larder::{Cache, Error, Invalidated, Level, Load, Policy, Region, Target, key};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const TTL: Duration = Duration::from_secs(600);

async fn node(clock: &ManualClock, journal: MemoryJournal) -> (Cache, Region<u64>) {
    let cache = Cache::builder("attendance").clock(Arc::new(clock.clone())).journal(journal);
    let cache = cache.build().await.unwrap();
    let policy = Policy::ttl(TTL).level(Level::Bounded(Duration::from_secs(1)));
    let region = cache.region("slots", policy).unwrap();
    (cache, region)
}

async fn read(region: &Region<u64>, version: u64) -> Result<u64, Error> {
    let load = async move |_load: Load<u64>| Ok::<_, Infallible>(version);
    region.get_or_load(key![1], load).await.map(|found| *found)
}

/// Lets every timer that is due within the next `n` times 50 ms run, and what it wakes.
async fn timers_run(n: u32) {
    for _ in 0..n {
        tokio::time::advance(Duration::from_millis(50)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

/// The clock of the caches stands still: a wait that lasted as long as a lease would never end.
#[tokio::test(start_paused = true)]
async fn a_wait_is_over_when_every_node_has_said_that_it_has_the_record() {
    let (clock, journal) = (ManualClock::default(), MemoryJournal::new());
    let (here, _near) = node(&clock, journal.clone()).await;
    let (_there, far) = node(&clock, journal.clone()).await;
    assert_eq!(read(&far, 1).await.unwrap(), 1);
    let done = here.invalidate_and_wait([Target::key("slots", key![1])]).await.unwrap();
    assert!(matches!(done, Invalidated::Applied { .. }));
    assert_eq!(read(&far, 2).await.unwrap(), 2);
    here.wait_for_all_nodes().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_closed_is_waited_for_no_more() {
    let (clock, journal) = (ManualClock::default(), MemoryJournal::new());
    let (here, _near) = node(&clock, journal.clone()).await;
    let (there, far) = node(&clock, journal.clone()).await;
    assert_eq!(read(&far, 1).await.unwrap(), 1);
    there.close().await;
    here.invalidate_and_wait([Target::key("slots", key![1])]).await.unwrap();
}

/// From the moment at which the journal knows that it is gone, until the answer came, it went on serving what it had.
#[tokio::test(start_paused = true)]
async fn a_node_that_said_that_it_is_gone_serves_nothing_more() {
    let (clock, journal) = (ManualClock::default(), MemoryJournal::new());
    let (here, _near) = node(&clock, journal.clone()).await;
    let slow = FakeJournal::new(journal.clone());
    let there = Cache::builder("attendance").clock(Arc::new(clock.clone())).journal(slow.clone());
    let there = there.build().await.unwrap();
    let policy = Policy::ttl(TTL).level(Level::Bounded(Duration::from_secs(1)));
    let far: Region<u64> = there.region("slots", policy).unwrap();
    assert_eq!(read(&far, 1).await.unwrap(), 1);
    slow.set_deaf(true);
    let said = slow.hold_attendance();
    let closing = tokio::spawn(async move { there.close().await });
    said.reached_by(1).await;
    here.invalidate_and_wait([Target::key("slots", key![1])]).await.unwrap();
    assert_ne!(read(&far, 2).await.ok(), Some(1), "stale beyond what the wait promised");
    drop(said);
    closing.await.unwrap();
}

/// A node that cannot hear the journal goes on trusting itself for as long as its lease runs, and is waited for so long.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_a_lease_and_hears_nothing_is_waited_for() {
    let (clock, journal) = (ManualClock::default(), MemoryJournal::new());
    let (here, _near) = node(&clock, journal.clone()).await;
    let deaf = FakeJournal::new(journal.clone());
    let there = Cache::builder("attendance").clock(Arc::new(clock.clone())).journal(deaf.clone());
    let there = there.build().await.unwrap();
    let policy = Policy::ttl(TTL).level(Level::Bounded(Duration::from_secs(1)));
    let far: Region<u64> = there.region("slots", policy).unwrap();
    assert_eq!(read(&far, 1).await.unwrap(), 1);
    deaf.set_unreachable(true);
    let waiting =
        tokio::spawn(async move { here.invalidate_and_wait([Target::key("slots", key![1])]).await });
    // The timers of the wait run; its clock does not.
    timers_run(100).await;
    assert!(!waiting.is_finished(), "returned while another node may serve the old value");
    assert_eq!(read(&far, 2).await.unwrap(), 1);
    clock.advance(Duration::from_secs(2));
    timers_run(100).await;
    waiting.await.unwrap().unwrap();
}
