//! The faults of the fakes are the ones they document.
#![allow(clippy::unwrap_used)]

use larder::journal::MemoryJournal;
use larder::testing::{FakeJournal, FakeStore, JournalCalls, ManualClock, StoreCalls};
use larder_core::port::{Clock, Journal, Store, Stored};
use larder_core::{Cause, Target};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const NS: &str = "ns";

fn journal() -> FakeJournal<MemoryJournal> {
    FakeJournal::new(MemoryJournal::new())
}

async fn append(journal: &impl Journal) -> Result<u64, larder_core::port::JournalError> {
    journal.append(NS, &[Target::everything()], &Cause::default()).await.map(|link| link.position)
}

fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    matches!(std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

#[tokio::test]
async fn a_journal_fails_as_often_as_told_and_then_works() {
    let journal = journal();
    let start = journal.history(NS).await.unwrap().head;
    journal.fail_reads(2);
    assert!(journal.history(NS).await.is_err());
    assert!(journal.read(NS, start, 1).await.is_err());
    assert_eq!(journal.read(NS, start, 1).await.unwrap().head, start);
    journal.fail_appends(1);
    assert!(!append(&journal).await.unwrap_err().is_indeterminate());
    assert_eq!(append(&journal).await.unwrap(), 1);
    assert_eq!(journal.calls(), JournalCalls { histories: 2, reads: 2, appends: 2, rolls: 0 });
}

#[tokio::test]
async fn an_indeterminate_append_is_there_or_not_as_told() {
    let journal = journal();
    journal.indeterminate_applied(1);
    assert!(append(&journal).await.unwrap_err().is_indeterminate());
    assert_eq!(journal.history(NS).await.unwrap().head.position, 1);
    journal.indeterminate_lost(1);
    assert!(append(&journal).await.unwrap_err().is_indeterminate());
    assert_eq!(journal.history(NS).await.unwrap().head.position, 1);
    assert_eq!(append(&journal).await.unwrap(), 2);
}

#[tokio::test]
async fn an_unreachable_journal_answers_nothing_and_keeps_what_it_had() {
    let journal = journal();
    append(&journal).await.unwrap();
    journal.set_unreachable(true);
    let clone = journal.clone();
    assert!(append(&clone).await.is_err() && clone.history(NS).await.is_err());
    let epoch = journal.inner().history(NS).await.unwrap().head.epoch;
    assert!(clone.roll(NS, epoch).await.is_err());
    journal.set_unreachable(false);
    assert_eq!(append(&clone).await.unwrap(), 2);
}

#[tokio::test]
async fn held_calls_wait_until_released_and_may_be_dropped() {
    let journal = journal();
    let start = journal.history(NS).await.unwrap().head;
    let hold = journal.hold_reads();
    let mut dropped = journal.read(NS, start, 1);
    let mut read = journal.read(NS, start, 1);
    assert!(is_pending(&mut read) && is_pending(&mut dropped));
    hold.reached_by(2).await;
    drop(dropped);
    append(&journal).await.unwrap();
    drop(hold);
    assert_eq!(read.await.unwrap().records.len(), 1, "it asks after it was released");
}

#[tokio::test]
async fn a_deaf_journal_gives_no_hints() {
    let journal = journal();
    journal.set_deaf(true);
    append(&journal).await.unwrap();
    assert!(is_pending(&mut journal.changed(NS)));
    journal.set_deaf(false);
    journal.changed(NS).await;
}

fn entry(key: u8, byte: u8) -> Stored {
    Stored { key: vec![key], bytes: vec![byte; 3], expires_ms: u64::MAX }
}

async fn holds(store: &FakeStore, key: u8) -> Option<Vec<u8>> {
    store.get_many(&[vec![key]]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_store_loses_swaps_corrupts_and_goes_back_as_told() {
    let store = FakeStore::new();
    store.put_many(vec![entry(1, 1), entry(2, 2)]).await.unwrap();
    let before = store.snapshot();
    assert!(store.swap(&[1], &[2]) && !store.swap(&[1], &[3]));
    assert_eq!(holds(&store, 1).await, Some(vec![2; 3]));
    assert_eq!(store.peek(&[1]).unwrap().key, [1]);
    assert!(store.corrupt(&[1], |bytes| bytes[0] ^= 1) && !store.corrupt(&[3], Vec::clear));
    assert_eq!(holds(&store, 1).await, Some(vec![3, 2, 2]));
    assert!(store.lose(&[2]) && !store.lose(&[2]));
    assert_eq!(holds(&store, 2).await, None);
    store.corrupt_all(Vec::clear);
    assert_eq!(holds(&store, 1).await, Some(Vec::new()));
    store.restore(&before);
    assert_eq!((holds(&store, 1).await, holds(&store, 2).await), (Some(vec![1; 3]), Some(vec![2; 3])));
    store.lose_all();
    assert_eq!(store.keys(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_store_fails_and_waits_as_told() {
    let store = FakeStore::new();
    store.set_failing(true);
    assert!(store.put_many(vec![entry(1, 1)]).await.is_err());
    store.set_failing(false);
    store.fail_next(1);
    assert!(store.get_many(&[vec![1]]).await.is_err());
    assert_eq!(holds(&store, 1).await, None);
    let hold = store.hold_puts();
    let mut put = store.put_many(vec![entry(1, 1)]);
    assert!(is_pending(&mut put));
    assert_eq!(holds(&store, 1).await, None);
    drop(hold);
    put.await.unwrap();
    let hold = store.hold_gets();
    let mut get = std::pin::pin!(holds(&store, 1));
    assert!(is_pending(&mut get));
    drop(hold);
    assert_eq!(get.await, Some(vec![1; 3]));
    let calls = StoreCalls { gets: 4, keys_asked: 4, puts: 2, entries_put: 2, ..StoreCalls::default() };
    assert_eq!(store.calls(), calls);
}

#[test]
fn a_manual_clock_moves_only_when_told() {
    let clock = ManualClock::at(0, 5_000);
    assert_eq!((clock.now(), clock.wall_ms()), (1, 5_000));
    clock.clone().advance(Duration::from_millis(2));
    assert_eq!((clock.now(), clock.wall_ms()), (2_000_001, 5_002));
    clock.advance_steady(Duration::from_nanos(1));
    clock.set_wall_ms(7);
    assert_eq!((clock.now(), clock.wall_ms()), (2_000_002, 7));
    clock.doubt_once();
    assert!(!clock.verify() && clock.verify());
}
