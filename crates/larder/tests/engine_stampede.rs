//! Stampedes: one load of a key at a time, whatever becomes of the one who runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::testing::FakeJournal;
use larder::{Cache, Policy, Region, Segments, Source, SourceLimits, key};
use rig::{Answer, NS, Rig, bounded, eventual, ms, secs, settle, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const READERS: usize = 1000;

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_of_a_cold_key_run_the_loader_once() {
    for policy in [eventual(), bounded()] {
        let rig = Rig::with_store().await;
        let region = rig.region(policy);
        rig.origin.hold();
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let (region, loader) = (region.clone(), rig.origin.load());
                tokio::spawn(async move { region.get_or_load(key![1], loader).await })
            })
            .collect();
        rig.followers(READERS as u64 - 1).await;
        rig.origin.release();
        let mut sources = [0, 0];
        for reader in readers {
            let outcome = reader.await.unwrap().unwrap();
            assert_eq!(*outcome, 1);
            sources[usize::from(outcome.source() == Source::Flight)] += 1;
        }
        assert_eq!((rig.origin.loads(), sources), (1, [1, READERS - 1]));
        assert_eq!((rig.stats().hits(), rig.stats().misses()), (0, READERS as u64));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_on_two_threads_run_the_loader_once() {
    let cache = Cache::builder(NS).build().await.unwrap();
    let region = cache.region::<u64>("slots", bounded()).unwrap();
    let loads = Arc::new(AtomicU64::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (region, loads, gate) = (region.clone(), loads.clone(), gate.clone());
            tokio::spawn(async move {
                let load = async move |_load: larder::Load<u64>| {
                    loads.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.map(|_| 5_u64)
                };
                region.get_or_load(key![1], load).await.map(|outcome| *outcome)
            })
        })
        .collect();
    while cache.stats().region("slots").unwrap().counts.flights_joined < READERS as u64 - 1 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(READERS);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), 5);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_all_who_waited_and_the_next_reader_loads_again() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    for answer in [Answer::Error, Answer::Panic, Answer::Declined, Answer::NotModified] {
        rig.origin.will(answer.clone());
        rig.origin.hold();
        let joined = rig.stats().counts.flights_joined;
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (region, loader) = (region.clone(), rig.origin.load());
                tokio::spawn(async move { region.get_or_load(key![1], loader).await })
            })
            .collect();
        rig.followers(joined + 9).await;
        rig.origin.release();
        for reader in readers {
            let error = reader.await.unwrap().unwrap_err();
            assert!(error.is_load(), "{error}");
            assert_eq!(error.is_panic(), matches!(answer, Answer::Panic));
        }
        rig.origin.unhold();
    }
    assert_eq!(rig.origin.loads(), 4);
    rig.origin.will(Answer::Version);
    assert_eq!(*region.get_or_load(key![1], rig.origin.load()).await.unwrap(), 1);
    assert_eq!(rig.stats().counts.loads_failed, 4);
}

#[tokio::test(start_paused = true)]
async fn the_loaders_own_error_can_be_had_back() {
    let rig = Rig::new().await;
    rig.origin.will(Answer::Error);
    let error = rig.region(eventual()).get_or_load(key![1], rig.origin.load()).await.unwrap_err();
    assert!(error.load_error().unwrap().is::<rig::Down>());
    assert_eq!(error.to_string(), "the load failed: the origin is down");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cancelled_hands_its_load_over() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let leader = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let follower = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.followers(1).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    rig.origin.release();
    assert_eq!(*follower.await.unwrap().unwrap(), 1);
    assert_eq!((rig.origin.loads(), rig.stats().counts.loads_detached), (1, 1));
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cancelled_disturbs_nobody() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let leader = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let follower = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.followers(1).await;
    follower.abort();
    rig.origin.release();
    assert_eq!(*leader.await.unwrap().unwrap(), 1);
    assert_eq!(rig.stats().counts.loads_detached, 0);
}

#[tokio::test(start_paused = true)]
async fn a_load_inside_the_load_of_the_same_key_does_not_wait_for_itself() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let (handle, inner) = (region.clone(), rig.origin.load());
    let outer = async move |_load: larder::Load<u64>| {
        let within = handle.get_or_load(key![1], inner).await?;
        Ok::<_, larder::Error>(*within + 10)
    };
    assert_eq!(*region.get_or_load(key![1], outer).await.unwrap(), 11);
    assert_eq!(rig.origin.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_inside_a_load_does_not_wait_for_its_own_place_at_the_source() {
    let rig = Rig::of(|builder, _| builder.source("db", SourceLimits::concurrency(1))).await;
    let region = rig.region(eventual().source("db"));
    let (handle, inner) = (region.clone(), rig.origin.load());
    let outer = async move |_load: larder::Load<u64>| {
        let within = handle.get_or_load(key!["inner"], inner).await?;
        Ok::<_, larder::Error>(*within + 10)
    };
    assert_eq!(*region.get_or_load(key!["outer"], outer).await.unwrap(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_load_inside_a_load_does_not_wait_for_one_that_waits_for_its_place() {
    // One place at the source. The outer load has it; somebody else has begun a flight of the inner key and waits for
    // the place. Following that flight, the outer load would wait for itself, until the queue's deadline.
    let rig = Rig::of(|builder, _| builder.source("db", SourceLimits::concurrency(1))).await;
    let region = rig.region(eventual().source("db"));
    let entered = Arc::new(tokio::sync::Notify::new());
    let go_on = Arc::new(tokio::sync::Notify::new());
    let (handle, inner) = (region.clone(), rig.origin.load());
    let (told, waits) = (entered.clone(), go_on.clone());
    let outer = async move |_load: larder::Load<u64>| {
        told.notify_one();
        waits.notified().await;
        let within = handle.get_or_load(key!["inner"], inner).await?;
        Ok::<_, larder::Error>(*within + 10)
    };
    let handle = region.clone();
    let outer = tokio::spawn(async move { handle.get_or_load(key!["outer"], outer).await });
    entered.notified().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let queued = tokio::spawn(async move { handle.get_or_load(key!["inner"], loader).await });
    settle().await;
    go_on.notify_one();
    assert_eq!(*outer.await.unwrap().unwrap(), 11);
    assert_eq!(*queued.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn loads_beyond_the_cap_wait_and_are_refused_at_the_deadline() {
    let limits = SourceLimits::concurrency(2).queue_deadline(ms(100));
    let rig = Rig::of(|builder, _| builder.source("db", limits)).await;
    let region = rig.region(eventual().source("db"));
    rig.origin.hold();
    let readers: Vec<_> = (0..3_u64)
        .map(|n| {
            let (region, loader) = (region.clone(), rig.origin.load());
            tokio::spawn(async move { region.get_or_load(key![n], loader).await })
        })
        .collect();
    rig.origin.reached().await;
    rig.origin.reached().await;
    settle().await;
    assert_eq!(rig.origin.loads(), 2, "the third waits for its turn");
    rig.pass(ms(101)).await;
    rig.origin.release();
    rig.origin.release();
    let mut outcomes = Vec::new();
    for reader in readers {
        outcomes.push(reader.await.unwrap());
    }
    let error = outcomes[2].as_ref().unwrap_err();
    assert!(error.is_overloaded());
    assert_eq!(
        error.to_string(),
        "source \"db\" is overloaded: 2 loads were running and none ended within 100ms"
    );
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
    assert_eq!(rig.stats().counts.loads_overloaded, 1);
    // Nothing is poisoned: the places are free again.
    rig.origin.unhold();
    assert!(region.get_or_load(key![2], rig.origin.load()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_waits_for_its_turn_is_stamped_when_it_gets_it() {
    let rig = Rig::of(|builder, _| builder.source("db", SourceLimits::concurrency(1))).await;
    let region = rig.region(eventual().source("db"));
    rig.origin.hold();
    let read = |n: u64| {
        let (region, loader) = (region.clone(), rig.origin.load());
        tokio::spawn(async move { region.get_or_load(key![n], loader).await })
    };
    let first = read(1);
    rig.origin.reached().await;
    let second = read(2);
    settle().await;
    let version = rig.origin.write();
    region.invalidate(key![2]).await.unwrap();
    rig.origin.unhold();
    rig.origin.release();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    assert_eq!(*second.await.unwrap().unwrap(), version);
    assert!(region.get(key![2]).await.unwrap().is_some(), "it was read after the invalidation");
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_hangs_is_dropped_at_the_hard_timeout_and_frees_its_waiters_and_place() {
    let rig = Rig::of(|builder, _| builder.source("db", SourceLimits::concurrency(1))).await;
    let region = rig.region(eventual().source("db").hard_timeout(secs(3)));
    rig.origin.hold();
    let read = || {
        let (region, loader) = (region.clone(), rig.origin.load());
        tokio::spawn(async move { region.get_or_load(key![1], loader).await })
    };
    let (leader, follower) = (read(), read());
    rig.origin.reached().await;
    rig.followers(1).await;
    rig.pass(secs(3)).await;
    for reader in [leader, follower] {
        let error = reader.await.unwrap().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.to_string(), "the load took longer than its hard timeout of 3s");
    }
    rig.origin.unhold();
    assert!(region.get_or_load(key![1], rig.origin.load()).await.is_ok());
    assert_eq!(rig.stats().counts.loads_timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_journal_from_the_start_readers_still_share_loads() {
    // Nothing can be kept without a stamp, so every reader goes to the origin; but not a thousand at once.
    let rig = Rig::new().await;
    let journal = FakeJournal::new(rig.records.clone());
    journal.set_unreachable(true);
    let builder = Cache::builder("elsewhere").clock(Arc::new(rig.clock.clone())).journal(journal);
    let cache = builder.build().await.unwrap();
    let region: Region<u64> = cache.region("slots", bounded()).unwrap();
    rig.origin.hold();
    let mut readers = Vec::new();
    for _ in 0..100 {
        let (region, loader) = (region.clone(), rig.origin.load());
        readers.push(tokio::spawn(async move { region.get_or_load(key![1], loader).await }));
        settle().await;
        rig.lapse(ms(1));
    }
    // The first load is too old for those who came later; they share the second.
    for _ in 0..2 {
        rig.origin.reached().await;
        settle().await;
        rig.origin.release();
        settle().await;
    }
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 1);
    }
    assert_eq!(rig.origin.loads(), 2, "for 100 readers of one key");
    assert!(region.get(key![1]).await.unwrap().is_none(), "nothing is kept without a stamp");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_is_shared_by_those_who_wait_and_kept_by_nobody() {
    let rig = Rig::with_store().await;
    let region = rig.region(Policy::ttl(secs(0)));
    rig.origin.hold();
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let (region, loader) = (region.clone(), rig.origin.load());
            tokio::spawn(async move { region.get_or_load(key![1], loader).await })
        })
        .collect();
    rig.followers(9).await;
    rig.origin.release();
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 1);
    }
    rig.origin.unhold();
    assert!(region.get(key![1]).await.unwrap().is_none());
    assert_eq!((rig.origin.loads(), rig.store.calls().puts), (1, 0));
    let keys: [Segments; 1] = [key![1]];
    assert!(region.get_many_or_load(keys, rig.origin.load_many()).await[0].is_ok());
    until(|| rig.origin.loads() == 2).await;
}
