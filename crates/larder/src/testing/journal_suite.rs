//! What every journal must do, one function per behaviour; see [`crate::journal_suite`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

use larder_core::port::{Hint, Journal, JournalError};
use larder_core::{
    Act, Cause, Epoch, Intent, IntentId, Link, Pattern, Record, Segments, Target, Tenant, key, tag,
};
use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Two handles on one fresh history, as two caches on one machine hold them.
pub struct JournalBench {
    /// One.
    pub a: Arc<dyn Journal>,
    /// The other.
    pub b: Arc<dyn Journal>,
    /// How many records of a namespace are kept at least; a few dozen, or the suite is slow.
    pub records_max: u64,
    /// What must outlive them, such as a temporary directory.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Makes each behaviour of a journal a test. Takes the path of a function that makes a fresh
/// [`JournalBench`](crate::testing::journal_suite::JournalBench).
#[macro_export]
macro_rules! journal_suite {
    ($make:path) => {
        $crate::journal_suite!(@each $make:
            a_new_namespace_has_an_epoch_and_no_records,
            the_epoch_stays_and_both_handles_see_it,
            positions_are_dense_from_one,
            an_append_is_in_every_answer_that_begins_later,
            an_append_that_says_what_it_followed_says_the_place_before_it,
            a_page_is_in_order_without_a_gap_and_tells_the_head,
            reading_at_the_head_finds_nothing,
            targets_and_cause_come_back_as_written,
            namespaces_do_not_see_each_other,
            an_unknown_place_is_diverged,
            rolling_starts_a_new_epoch_where_the_old_one_ended,
            rolling_what_is_no_longer_current_changes_nothing,
            of_concurrent_rolls_one_takes_effect,
            concurrent_appends_get_dense_positions,
            old_records_are_dropped_and_the_oldest_place_can_be_read_from,
            both_handles_are_told_of_a_change,
            a_hint_that_brings_a_record_brings_what_was_appended,
            a_record_without_targets_is_refused,
            a_record_of_a_hundred_thousand_targets_is_kept,
            a_record_over_the_bound_is_refused_and_leaves_nothing,
            a_dropped_call_does_no_harm,
            a_closed_handle_refuses_and_the_other_goes_on,
            records_say_what_they_do_and_the_history_what_is_open,
            every_history_agrees_with_the_records_up_to_its_head,
            an_intent_outlives_the_record_that_opened_it_and_a_new_epoch,
            closing_an_intent_closes_that_one_alone,
            an_intent_of_another_namespace_is_not_open_here,
            only_so_many_intents_may_be_open,
            an_intent_that_is_open_is_not_opened_again,
        );
    };
    (@each $make:path: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::testing::journal_suite::$name($make()).await;
            }
        )*
    };
}

const NS: &str = "suite";
/// How long a hint may take before the suite calls it lost. Nothing passes by waiting for it.
const HINT_MAX: Duration = Duration::from_secs(20);

fn target(n: u64) -> Target {
    Target::tag(tag!["n", n])
}

async fn append(journal: &Arc<dyn Journal>, n: u64) -> Link {
    journal.append(NS, &[target(n)], &Cause::from("suite")).await.expect("append")
}

/// Everything after a place, page by page.
async fn read_all(journal: &Arc<dyn Journal>, mut after: Link, limit: usize) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let page = journal.read(NS, after, limit).await.expect("read");
        assert!(page.records.len() <= limit, "a page holds at most as many as asked for");
        assert!(!page.records.is_empty() || page.head == after, "a page before the head is not empty");
        after = page.records.last().map_or(after, |record| record.link);
        records.extend(page.records);
        if after == page.head {
            return records;
        }
    }
}

async fn start(journal: &Arc<dyn Journal>) -> Link {
    journal.history(NS).await.expect("history").head
}

fn assert_diverged<T: std::fmt::Debug>(answer: Result<T, JournalError>, what: &str) {
    match answer {
        Err(error) => assert!(error.is_diverged(), "{what}: expected diverged, got {error}"),
        Ok(answer) => unreachable!("{what}: expected diverged, got {answer:?}"),
    }
}

pub async fn a_new_namespace_has_an_epoch_and_no_records(bench: JournalBench) {
    let history = bench.a.history(NS).await.unwrap();
    assert_eq!(history.oldest, history.head);
    assert_eq!((history.head.position, history.head.nonce), (0, 0));
    assert_ne!(history.head.epoch, Epoch::new(0));
    let page = bench.a.read(NS, history.head, 10).await.unwrap();
    assert_eq!((page.records.len(), page.head), (0, history.head));
}

pub async fn the_epoch_stays_and_both_handles_see_it(bench: JournalBench) {
    let (a, b) = tokio::join!(bench.a.history(NS), bench.b.history(NS));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b);
    append(&bench.a, 1).await;
    assert_eq!(bench.b.history(NS).await.unwrap().head.epoch, a.head.epoch);
}

pub async fn positions_are_dense_from_one(bench: JournalBench) {
    for n in 1..=5 {
        let journal = if n % 2 == 0 { &bench.a } else { &bench.b };
        assert_eq!(append(journal, n).await.position, n);
    }
}

pub async fn an_append_is_in_every_answer_that_begins_later(bench: JournalBench) {
    let mut before = start(&bench.b).await;
    for n in 1..=20 {
        let (writer, reader) = if n % 2 == 0 { (&bench.a, &bench.b) } else { (&bench.b, &bench.a) };
        let link = append(writer, n).await;
        assert_eq!(reader.history(NS).await.unwrap().head, link);
        let page = reader.read(NS, before, 10).await.unwrap();
        assert_eq!((page.records.len(), page.records[0].link, page.head), (1, link, link));
        before = link;
    }
}

pub async fn an_append_that_says_what_it_followed_says_the_place_before_it(bench: JournalBench) {
    let mut before = start(&bench.b).await;
    for n in 1..=20 {
        let journal = if n % 2 == 0 { &bench.a } else { &bench.b };
        let act = if n % 5 == 0 { opening(n) } else { Act::Invalidate };
        let appended = journal.record(NS, act, &[target(n)], &Cause::default()).await.unwrap();
        assert!(appended.after.is_none_or(|after| after == before), "{appended:?} follows {before:?}");
        before = appended.link;
        if n == 10 {
            bench.a.roll(NS, before.epoch).await.unwrap();
            before = start(&bench.b).await;
        }
    }
}

pub async fn a_page_is_in_order_without_a_gap_and_tells_the_head(bench: JournalBench) {
    let before = start(&bench.a).await;
    let mut links = Vec::new();
    for n in 0..10 {
        links.push(append(&bench.a, n).await);
    }
    let page = bench.b.read(NS, before, 4).await.unwrap();
    assert_eq!(page.records.iter().map(|r| r.link).collect::<Vec<_>>(), links[..4]);
    assert_eq!(page.head, links[9]);
    let all = read_all(&bench.b, before, 3).await;
    assert_eq!(all.iter().map(|r| r.link).collect::<Vec<_>>(), links);
    assert_eq!(
        all.iter().map(|r| r.targets.clone()).collect::<Vec<_>>(),
        (0..10).map(|n| vec![target(n)]).collect::<Vec<_>>()
    );
    let from_within = bench.b.read(NS, links[6], 10).await.unwrap();
    assert_eq!(from_within.records.iter().map(|r| r.link).collect::<Vec<_>>(), links[7..]);
}

pub async fn reading_at_the_head_finds_nothing(bench: JournalBench) {
    let link = append(&bench.a, 1).await;
    let page = bench.b.read(NS, link, 1).await.unwrap();
    assert_eq!((page.records.len(), page.head), (0, link));
}

pub async fn targets_and_cause_come_back_as_written(bench: JournalBench) {
    let before = start(&bench.a).await;
    let odd = key![":*{}\0", vec![0u8, 255], -1i64, u128::MAX, true, "é".repeat(30_000)];
    let targets = vec![
        Target::everything(),
        Target::everything().within(&Tenant::named("acme")),
        Target::key("region", odd.clone()),
        Target::prefix("", odd.clone()).within(&Tenant::named("")),
        Target::tag(tag![odd.as_bytes().to_vec()]),
        Target::pattern("region", Pattern::parse("7/*/x").expect("pattern")),
    ];
    let cause = Cause::from("quote ' and \0 and é");
    let link = bench.a.append(NS, &targets, &cause).await.unwrap();
    let page = bench.b.read(NS, before, 1).await.unwrap();
    assert_eq!(page.records, vec![Record { link, act: Act::Invalidate, targets, cause }]);
}

pub async fn namespaces_do_not_see_each_other(bench: JournalBench) {
    let names = [NS, "", "other", "O'ther", "suite\0", "Suite"];
    let mut epochs = Vec::new();
    for (i, name) in names.iter().enumerate() {
        for n in 0..=i as u64 {
            bench.a.append(name, &[target(n)], &Cause::default()).await.unwrap();
        }
    }
    for (i, name) in names.iter().enumerate() {
        let head = bench.b.history(name).await.unwrap().head;
        assert_eq!(head.position, i as u64 + 1, "{name:?}");
        epochs.push(head.epoch);
    }
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), names.len());
}

pub async fn an_unknown_place_is_diverged(bench: JournalBench) {
    let zero = start(&bench.a).await;
    let first = append(&bench.a, 1).await;
    let head = append(&bench.a, 2).await;
    assert_diverged(bench.b.read(NS, Link { epoch: Epoch::new(7), ..first }, 1).await, "another epoch");
    assert_diverged(bench.b.read(NS, Link { nonce: !first.nonce, ..first }, 1).await, "another nonce");
    assert_diverged(
        bench.b.read(NS, Link { nonce: !head.nonce, ..head }, 1).await,
        "another nonce at the head",
    );
    assert_diverged(bench.b.read(NS, Link { nonce: 9, ..zero }, 1).await, "another nonce at the start");
    assert_diverged(bench.b.read(NS, Link { position: 3, ..head }, 1).await, "beyond the head");
    assert_diverged(bench.b.read(NS, Link { position: u64::MAX, ..head }, 1).await, "far beyond the head");
    assert_diverged(bench.b.read("unheard of", head, 1).await, "another namespace");
}

pub async fn rolling_starts_a_new_epoch_where_the_old_one_ended(bench: JournalBench) {
    let zero = start(&bench.a).await;
    let link = append(&bench.a, 1).await;
    bench.a.roll(NS, link.epoch).await.unwrap();
    let rolled = bench.b.history(NS).await.unwrap();
    assert_ne!(rolled.head.epoch, link.epoch);
    assert_eq!((rolled.head.position, rolled.oldest), (link.position, rolled.head));
    assert_ne!(rolled.head.nonce, link.nonce);
    for old in [zero, link] {
        assert_diverged(bench.b.read(NS, old, 1).await, "a place of the old epoch");
    }
    let same_place = Link { epoch: rolled.head.epoch, ..link };
    assert_diverged(bench.b.read(NS, same_place, 1).await, "an old nonce in the new epoch");
    assert_eq!(bench.b.read(NS, rolled.head, 1).await.unwrap().records.len(), 0);
    let next = append(&bench.b, 2).await;
    assert_eq!((next.epoch, next.position), (rolled.head.epoch, link.position + 1));
    assert_eq!(read_all(&bench.a, rolled.head, 10).await.len(), 1);
}

pub async fn rolling_what_is_no_longer_current_changes_nothing(bench: JournalBench) {
    let link = append(&bench.a, 1).await;
    bench.a.roll(NS, Epoch::new(7)).await.unwrap();
    assert_eq!(bench.b.history(NS).await.unwrap().head, link);
    bench.a.roll(NS, link.epoch).await.unwrap();
    let rolled = bench.b.history(NS).await.unwrap();
    bench.b.roll(NS, link.epoch).await.unwrap();
    assert_eq!(bench.a.history(NS).await.unwrap(), rolled);
}

pub async fn of_concurrent_rolls_one_takes_effect(bench: JournalBench) {
    let link = append(&bench.a, 1).await;
    let (a, b) = tokio::join!(bench.a.roll(NS, link.epoch), bench.b.roll(NS, link.epoch));
    a.unwrap();
    b.unwrap();
    let (a, b) = (bench.a.history(NS).await.unwrap(), bench.b.history(NS).await.unwrap());
    assert_eq!(a, b);
    assert_ne!(a.head.epoch, link.epoch);
}

pub async fn concurrent_appends_get_dense_positions(bench: JournalBench) {
    let before = start(&bench.a).await;
    let appends = (0..24).map(|n| {
        let journal = Arc::clone(if n % 2 == 0 { &bench.a } else { &bench.b });
        tokio::spawn(async move { append(&journal, n).await })
    });
    let mut links = Vec::new();
    for task in appends.collect::<Vec<_>>() {
        links.push(task.await.unwrap());
    }
    links.sort_unstable_by_key(|link| link.position);
    assert_eq!(links.iter().map(|l| l.position).collect::<Vec<_>>(), (1..=24).collect::<Vec<_>>());
    let read: Vec<Link> = read_all(&bench.b, before, 7).await.iter().map(|r| r.link).collect();
    assert_eq!(read, links);
}

pub async fn old_records_are_dropped_and_the_oldest_place_can_be_read_from(bench: JournalBench) {
    let zero = start(&bench.a).await;
    let appended = bench.records_max * 2 + 300;
    let mut links = vec![zero];
    for chunk in (0..appended).collect::<Vec<_>>().chunks(50) {
        let tasks: Vec<_> = chunk
            .iter()
            .map(|n| {
                let (journal, n) = (Arc::clone(&bench.a), *n);
                tokio::spawn(async move { append(&journal, n).await })
            })
            .collect();
        for task in tasks {
            links.push(task.await.unwrap());
        }
    }
    links.sort_unstable_by_key(|link| link.position);
    let history = bench.b.history(NS).await.unwrap();
    assert_eq!((history.head, history.head.position), (links[appended as usize], appended));
    assert_eq!(history.oldest, links[history.oldest.position as usize], "the oldest place is one that was");
    let kept = history.head.position - history.oldest.position;
    assert!(kept >= bench.records_max, "{kept} records are kept");
    assert!(kept < bench.records_max + 200, "{kept} records are kept");
    let records = read_all(&bench.b, history.oldest, 50).await;
    assert_eq!(records.len() as u64, kept);
    let error = bench.b.read(NS, zero, 1).await.expect_err("records after it are gone");
    assert!(error.is_compacted(), "{error}");
    let other = Link { nonce: !history.oldest.nonce, ..history.oldest };
    assert_diverged(bench.b.read(NS, other, 1).await, "another nonce at the oldest place");
}

pub async fn both_handles_are_told_of_a_change(bench: JournalBench) {
    let head = start(&bench.a).await;
    for journal in [&bench.a, &bench.b] {
        journal.read(NS, head, 1).await.unwrap();
    }
    let waiting = [&bench.a, &bench.b].map(|journal| {
        let journal = Arc::clone(journal);
        tokio::spawn(async move {
            // A hint may come for no reason; only one with something to read ends the wait.
            while journal.read(NS, head, 1).await.unwrap().records.is_empty() {
                journal.changed(NS).await;
            }
        })
    });
    append(&bench.a, 1).await;
    for task in waiting {
        tokio::time::timeout(HINT_MAX, task).await.expect("a hint").unwrap();
    }
}

pub async fn a_hint_that_brings_a_record_brings_what_was_appended(bench: JournalBench) {
    let before = start(&bench.a).await;
    let listening = Arc::clone(&bench.b);
    let hinted = tokio::spawn(async move {
        loop {
            match listening.changed(NS).await {
                Hint::Record { after, record } => return Some((after, *record)),
                // One that brings none says only that there may be something.
                Hint::Look if listening.read(NS, before, 1).await.unwrap().records.is_empty() => {}
                Hint::Look => return None,
            }
        }
    });
    record(&bench.a, opening(7), 7).await;
    if let Some((after, record)) = tokio::time::timeout(HINT_MAX, hinted).await.expect("a hint").unwrap() {
        assert_eq!(after, before);
        assert_eq!(bench.a.read(NS, before, 1).await.unwrap().records, [record]);
    }
}

pub async fn a_record_without_targets_is_refused(bench: JournalBench) {
    let before = start(&bench.a).await;
    let error = bench.a.append(NS, &[], &Cause::default()).await.expect_err("no targets");
    assert!(!error.is_indeterminate() && error.to_string().contains("no target"), "{error}");
    assert_eq!(start(&bench.b).await, before);
}

pub async fn a_record_of_a_hundred_thousand_targets_is_kept(bench: JournalBench) {
    let before = start(&bench.a).await;
    let targets: Vec<Target> = (0..100_000).map(target).collect();
    bench.a.append(NS, &targets, &Cause::from("many")).await.unwrap();
    let page = bench.b.read(NS, before, 10).await.unwrap();
    assert_eq!(page.records[0].targets, targets);
}

pub async fn a_record_over_the_bound_is_refused_and_leaves_nothing(bench: JournalBench) {
    let before = start(&bench.a).await;
    let huge = Target::key("region", Segments::builder().with(vec![7u8; 17 << 20]).finish());
    let error = bench.a.append(NS, &[huge], &Cause::default()).await.expect_err("too large");
    assert!(!error.is_indeterminate() && error.to_string().contains("16777216"), "{error}");
    assert_eq!(start(&bench.b).await, before);
}

pub async fn a_dropped_call_does_no_harm(bench: JournalBench) {
    let before = start(&bench.a).await;
    for n in 0..20 {
        let targets = [target(n)];
        let cause = Cause::default();
        let mut calls = (
            bench.a.append(NS, &targets, &cause),
            bench.a.history(NS),
            bench.a.read(NS, before, 1),
            bench.a.changed(NS),
        );
        poll_once(&mut calls.0).await;
        poll_once(&mut calls.1).await;
        poll_once(&mut calls.2).await;
        poll_once(&mut calls.3).await;
    }
    let link = append(&bench.a, 100).await;
    let records = read_all(&bench.b, before, 10).await;
    assert_eq!(records.len() as u64, link.position);
}

async fn poll_once<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|context| {
        let _ = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

pub async fn a_closed_handle_refuses_and_the_other_goes_on(bench: JournalBench) {
    let link = append(&bench.a, 1).await;
    bench.a.close().await;
    bench.a.close().await;
    let cause = Cause::default();
    let error = bench.a.append(NS, &[target(2)], &cause).await.expect_err("closed");
    assert!(!error.is_indeterminate() && error.to_string().contains("closed"), "{error}");
    assert!(bench.a.history(NS).await.is_err());
    assert!(bench.a.read(NS, link, 1).await.is_err());
    assert!(bench.a.roll(NS, link.epoch).await.is_err());
    assert_eq!(bench.b.history(NS).await.unwrap().head, link);
    assert_eq!(append(&bench.b, 2).await.position, 2);
}

const LASTS: Duration = Duration::from_millis(1500);

fn opening(n: u64) -> Act {
    Act::Open { intent: IntentId::new(n), lasts: LASTS }
}

fn closing(n: u64) -> Act {
    Act::Close { intent: IntentId::new(n) }
}

fn intent(n: u64) -> Intent {
    Intent { id: IntentId::new(n), lasts: LASTS, targets: vec![target(n)].into() }
}

async fn record(journal: &Arc<dyn Journal>, act: Act, n: u64) -> Link {
    journal.record(NS, act, &[target(n)], &Cause::from("suite")).await.expect("record").link
}

async fn open_in(journal: &Arc<dyn Journal>) -> Vec<Intent> {
    let mut open = journal.history(NS).await.expect("history").open;
    open.sort_by_key(|intent| intent.id);
    open
}

pub async fn records_say_what_they_do_and_the_history_what_is_open(bench: JournalBench) {
    let before = start(&bench.a).await;
    let acts = [opening(7), Act::Invalidate, opening(u64::MAX), closing(7)];
    for act in acts {
        record(&bench.a, act, 7).await;
    }
    let read: Vec<Act> = read_all(&bench.b, before, 2).await.iter().map(|record| record.act).collect();
    assert_eq!(read, acts);
    let last = Intent { id: IntentId::new(u64::MAX), ..intent(7) };
    assert_eq!(open_in(&bench.b).await, [last]);
}

/// Order 6: one answer gives the head and what is open as of that head, while others open and close.
pub async fn every_history_agrees_with_the_records_up_to_its_head(bench: JournalBench) {
    let before = start(&bench.a).await;
    let writer = Arc::clone(&bench.a);
    let writing = tokio::spawn(async move {
        for n in 0..12 {
            record(&writer, opening(n), n).await;
            if n % 2 == 1 {
                record(&writer, closing(n - 1), n - 1).await;
            }
        }
    });
    let mut histories = Vec::new();
    while !writing.is_finished() {
        histories.push(bench.b.history(NS).await.unwrap());
    }
    writing.await.unwrap();
    histories.push(bench.b.history(NS).await.unwrap());
    let records = read_all(&bench.b, before, 100).await;
    for history in histories {
        let mut open = std::collections::BTreeSet::new();
        for record in records.iter().filter(|record| record.link.position <= history.head.position) {
            match record.act {
                Act::Invalidate => {}
                Act::Open { intent, .. } => drop(open.insert(intent)),
                Act::Close { intent } => drop(open.remove(&intent)),
            }
        }
        let said: std::collections::BTreeSet<_> = history.open.iter().map(|intent| intent.id).collect();
        assert_eq!(said, open, "as of {}", history.head);
    }
}

pub async fn an_intent_outlives_the_record_that_opened_it_and_a_new_epoch(bench: JournalBench) {
    record(&bench.a, opening(7), 7).await;
    for n in 0..bench.records_max * 2 + 300 {
        append(&bench.a, n).await;
    }
    let history = bench.b.history(NS).await.unwrap();
    assert!(history.oldest.position > 1, "the record that opened it is gone");
    assert_eq!(history.open, [intent(7)]);
    bench.a.roll(NS, history.head.epoch).await.unwrap();
    assert_eq!(open_in(&bench.b).await, [intent(7)]);
    record(&bench.b, closing(7), 7).await;
    assert_eq!(open_in(&bench.a).await, []);
}

pub async fn closing_an_intent_closes_that_one_alone(bench: JournalBench) {
    // Both of the same target.
    for n in [1, 2] {
        bench.a.record(NS, opening(n), &[target(9)], &Cause::default()).await.unwrap();
    }
    bench.b.record(NS, closing(1), &[target(9)], &Cause::default()).await.unwrap();
    let left: Vec<_> = open_in(&bench.a).await.iter().map(|intent| intent.id).collect();
    assert_eq!(left, [IntentId::new(2)]);
    let link = record(&bench.b, closing(1), 9).await;
    assert_eq!(start(&bench.a).await, link, "closing what is not open is a record like any other");
}

pub async fn an_intent_of_another_namespace_is_not_open_here(bench: JournalBench) {
    bench.a.record("other", opening(1), &[target(1)], &Cause::default()).await.unwrap();
    assert_eq!(open_in(&bench.a).await, []);
    record(&bench.a, closing(1), 1).await;
    assert_eq!(bench.b.history("other").await.unwrap().open, [intent(1)]);
}

pub async fn only_so_many_intents_may_be_open(bench: JournalBench) {
    let max = crate::journal::INTENTS_MAX as u64;
    let opened = (0..max).map(|n| {
        let journal = Arc::clone(&bench.a);
        tokio::spawn(async move { record(&journal, opening(n), n).await })
    });
    for task in opened.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let before = start(&bench.b).await;
    let error =
        bench.a.record(NS, opening(max), &[target(1)], &Cause::default()).await.expect_err("too many");
    assert!(!error.is_indeterminate() && error.to_string().contains(&max.to_string()), "{error}");
    assert_eq!(start(&bench.b).await, before);
    record(&bench.b, closing(0), 0).await;
    record(&bench.a, opening(max), 1).await;
}

pub async fn an_intent_that_is_open_is_not_opened_again(bench: JournalBench) {
    record(&bench.a, opening(7), 7).await;
    let before = start(&bench.b).await;
    let error = bench.b.record(NS, opening(7), &[target(8)], &Cause::default()).await.expect_err("open");
    assert!(!error.is_indeterminate() && error.to_string().contains("open"), "{error}");
    assert_eq!((start(&bench.b).await, open_in(&bench.a).await), (before, vec![intent(7)]));
}
