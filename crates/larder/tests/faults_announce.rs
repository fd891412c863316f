//! Invalidations that cannot be recorded at once, or are many at once: fenced here, queued, and recorded in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::MemoryJournal;
use larder::port::Journal;
use larder::testing::FakeJournal;
use larder::{Cache, Invalidated, Region, Target, key, tag};
use rig::{NS, Rig, eventual, ms, settle, until};
use std::sync::Arc;

async fn load(rig: &Rig, region: &Region<u64>) -> larder::Outcome<u64> {
    region.get_or_load(key![1], rig.origin.load()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_cannot_be_recorded_is_fenced_here_queued_and_recorded_later() {
    type Fault = (&'static str, fn(&FakeJournal<MemoryJournal>));
    let faults: [Fault; 4] = [
        ("unreachable", |journal| journal.set_unreachable(true)),
        ("failing", |journal| journal.fail_appends(1)),
        ("its answer is lost, the record is not", |journal| journal.indeterminate_applied(1)),
        ("its answer and the record are lost", |journal| journal.indeterminate_lost(1)),
    ];
    for (name, fault) in faults {
        let rig = Rig::new().await;
        rig.origin.tag(tag!["branch", 7]);
        let region = rig.region(eventual());
        load(&rig, &region).await;
        let other = rig.another().await;
        let other_region = other.region::<u64>("slots", eventual()).unwrap();
        other_region.get_or_load(key![1], rig.origin.load()).await.unwrap();
        fault(&rig.journal);
        rig.origin.write();
        let announced = rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
        assert_eq!(announced, Invalidated::Queued, "{name}");
        assert!(region.get(key![1]).await.unwrap().is_none(), "{name}: fenced here at once");
        rig.journal.set_unreachable(false);
        for _ in 0..40 {
            rig.pass(ms(500)).await;
        }
        assert_eq!(rig.cache.stats().journal.queued, 0, "{name}");
        other.sync().await.unwrap();
        assert!(other_region.get(key![1]).await.unwrap().is_none(), "{name}: others learn of it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_is_one_question_to_the_journal_unless_others_came_between() {
    let rig = Rig::new().await;
    rig.journal.set_deaf(true);
    let before = rig.journal.calls();
    let first = rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    assert_eq!((rig.journal.calls().appends, rig.journal.calls().reads), (before.appends + 1, before.reads));
    assert_eq!(rig.cache.stats().journal.position, 1, "applied all the same: {first:?}");
    rig.records.append(NS, &[Target::key("slots", key![99])], &"elsewhere".into()).await.unwrap();
    rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    assert!(rig.journal.calls().reads > before.reads);
    assert_eq!(rig.cache.stats().journal.position, 3);
}

#[tokio::test(start_paused = true)]
async fn answers_that_come_in_another_order_than_their_records_cost_no_question() {
    let rig = Rig::new().await;
    rig.journal.set_deaf(true);
    let before = rig.journal.calls();
    let hold = rig.journal.hold_answers(1);
    let invalidate = |n: u64| {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.invalidate([Target::tag(tag!["branch", n])]).await.unwrap() })
    };
    let first = invalidate(1);
    hold.reached_by(1).await;
    let (second, third) = (invalidate(2), invalidate(3));
    settle().await;
    assert_eq!(rig.cache.stats().journal.position, 0, "a record was applied before the one it followed");
    drop(hold);
    for (position, said) in (1..).zip([first.await, second.await, third.await]) {
        assert!(matches!(said.unwrap(), Invalidated::Applied { position: at, .. } if at == position));
    }
    assert_eq!(rig.cache.stats().journal.position, 3);
    assert_eq!(rig.journal.calls().reads, before.reads, "the journal was asked");
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_predecessor_is_not_heard_of_is_asked_for() {
    let rig = Rig::new().await;
    rig.journal.set_deaf(true);
    let before = rig.journal.calls();
    let hold = rig.journal.hold_answers(1);
    let cache = rig.cache.clone();
    let first = tokio::spawn(async move { cache.invalidate([Target::tag(tag![1])]).await.unwrap() });
    hold.reached_by(1).await;
    let second = rig.cache.invalidate([Target::tag(tag![2])]).await.unwrap();
    assert!(matches!(second, Invalidated::Applied { position: 2, .. }), "{second:?}");
    assert_eq!(rig.cache.stats().journal.position, 2);
    assert!(rig.journal.calls().reads > before.reads);
    drop(hold);
    assert!(matches!(first.await.unwrap(), Invalidated::Applied { position: 1, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_queued_invalidation_covers_what_a_process_further_ahead_stored() {
    // This process is one record behind. Another, which is not, stores the old value under a later stamp. A write
    // follows whose invalidation can only be queued. When this process catches up, the stored value was born after the
    // fence, and came back as a hit on the very node that had invalidated it.
    let rig = Rig::with_store().await;
    rig.journal.set_deaf(true);
    let region = rig.region(eventual());
    rig.records.append(NS, &[Target::key("slots", key![99])], &"unrelated".into()).await.unwrap();
    let other = rig.another().await;
    let other_region = other.region::<u64>("slots", eventual()).unwrap();
    other_region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.stored(1).await;
    rig.origin.write();
    rig.journal.fail_appends(1_000);
    assert_eq!(region.invalidate(key![1]).await.unwrap(), Invalidated::Queued);
    rig.cache.sync().await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none(), "the old value came back from the store");
    assert_eq!(*load(&rig, &region).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_queued_invalidation_outlives_the_first_look_at_a_journal_that_was_out_of_reach() {
    // A process starts while the journal cannot be read. A write is invalidated, and queued. Then the journal can be
    // read, but not written: adopting its history forgot the fence, and the store still had the old value.
    let before = Rig::with_store().await;
    let region = before.region(eventual());
    load(&before, &region).await;
    before.stored(1).await;
    let journal = FakeJournal::new(before.records.clone());
    journal.set_unreachable(true);
    let builder = Cache::builder(NS).clock(Arc::new(before.clock.clone())).journal(journal.clone());
    let cache = builder.store(before.store.clone()).build().await.unwrap();
    let region = cache.region::<u64>("slots", eventual()).unwrap();
    before.origin.write();
    assert_eq!(region.invalidate(key![1]).await.unwrap(), Invalidated::Queued);
    journal.set_unreachable(false);
    journal.fail_appends(1_000);
    cache.sync().await.unwrap();
    assert!(region.get(key![1]).await.unwrap().is_none(), "the old value came back from the store");
}

#[tokio::test(start_paused = true)]
async fn closing_says_how_many_invalidations_no_journal_has() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    load(&rig, &region).await;
    rig.journal.fail_appends(1_000);
    region.invalidate(key![1]).await.unwrap();
    assert_eq!(rig.cache.close().await, 1);
    let rig = Rig::new().await;
    rig.journal.fail_appends(1);
    rig.region(eventual()).invalidate(key![1]).await.unwrap();
    assert_eq!(rig.cache.close().await, 0, "what can be recorded at last is");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_fails_loudly_and_fences_all_the_same() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    load(&rig, &region).await;
    rig.journal.set_unreachable(true);
    let many = (0..10_001_u64).map(|n| Target::key("slots", key![n]));
    let error = rig.cache.invalidate(many).await.unwrap_err();
    assert!(error.is_journal(), "{error}");
    assert!(region.get(key![1]).await.unwrap().is_none());
    assert_eq!(rig.cache.stats().journal.queued, 0, "all or nothing");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_leave_an_invalidation_half_done() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    load(&rig, &region).await;
    let hold = rig.journal.hold_appends();
    let handle = region.clone();
    let caller = tokio::spawn(async move { handle.invalidate(key![1]).await });
    hold.reached_by(1).await;
    caller.abort();
    drop(hold);
    until(|| rig.cache.stats().journal.position == 1).await;
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn nodes_that_wrote_apart_agree_once_journal_and_store_are_back() {
    let rig = Rig::with_store().await;
    let here = rig.region(eventual());
    let journal = FakeJournal::new(rig.records.clone());
    let builder = Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(journal.clone());
    let other = builder.store(rig.store.clone()).build().await.unwrap();
    let there = other.region::<u64>("slots", eventual()).unwrap();
    for reachable in [false, true] {
        rig.journal.set_unreachable(!reachable);
        journal.set_unreachable(!reachable);
        rig.store.set_failing(!reachable);
        if !reachable {
            here.put(key![1], 1).await.unwrap();
            there.put(key![1], 2).await.unwrap();
            assert_eq!(*here.get(key![1]).await.unwrap().unwrap(), 1);
            assert_eq!(*there.get(key![1]).await.unwrap().unwrap(), 2);
        }
        for _ in 0..40 {
            rig.pass(ms(500)).await;
        }
    }
    assert_eq!((rig.cache.stats().journal.queued, other.stats().journal.queued), (0, 0));
    rig.cache.sync().await.unwrap();
    other.sync().await.unwrap();
    assert!(here.get(key![1]).await.unwrap().is_none(), "neither knows who was right: the origin does");
    assert!(there.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn two_hundred_invalidations_at_once_each_have_a_place_of_their_own() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    for n in 0..200_u64 {
        region.get_or_load(key![n], rig.origin.load()).await.unwrap();
    }
    let tasks: Vec<_> = (0..200_u64)
        .map(|n| {
            let region = region.clone();
            tokio::spawn(async move {
                let announced = region.invalidate(key![n]).await.unwrap();
                (announced, region.contains(key![n]).await.unwrap())
            })
        })
        .collect();
    let mut places = Vec::new();
    for task in tasks {
        let (Invalidated::Applied { position, .. }, hit) = task.await.unwrap() else {
            panic!("not recorded")
        };
        assert!(!hit);
        places.push(position);
    }
    places.sort_unstable();
    assert_eq!(places, (1..=200).collect::<Vec<u64>>());
}
