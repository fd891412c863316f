//! What the Redis journal keeps on the server, and what it makes of keys that somebody else has changed.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod servers;

use larder::journal::{RedisJournal, RedisJournalOptions};
use larder::port::Journal;
use larder::{Cause, Segments, Target, key, tag};
use larder_core::Link;
use larder_rig::{Flavour, Server};
use servers::{cluster, own_word, patient};
use std::time::Duration;

const LOG: &str = "{larder:ns}:log";
const LARGE: &str = "{larder:ns}:large";

async fn journal(server: &Server, options: RedisJournalOptions) -> RedisJournal {
    RedisJournal::with(&patient(&server.url(), Duration::from_secs(20)).await, options)
}

/// One of each flavour, of this test alone.
fn servers() -> impl Iterator<Item = Server> {
    Flavour::installed().into_iter().map(|flavour| Server::start(flavour).unwrap())
}

async fn append(journal: &RedisJournal, target: Target) -> Link {
    journal.append("ns", &[target], &Cause::default()).await.unwrap()
}

fn large(bytes: usize) -> Target {
    Target::key("region", Segments::builder().with(vec![7u8; bytes]).finish())
}

/// Reads what is kept, and how many records that is.
async fn read_all(journal: &RedisJournal) -> usize {
    let history = journal.history("ns").await.unwrap();
    let (mut at, mut records) = (history.oldest, 0);
    while at != history.head {
        let page = journal.read("ns", at, 1000).await.unwrap();
        records += page.records.len();
        at = page.records.last().expect("something before the head").link;
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_are_bounded_by_their_bytes_and_leave_nothing_behind() {
    for server in servers() {
        let server = &server;
        server.ask(&["FLUSHALL"]).unwrap();
        let options = RedisJournalOptions::default().bytes_max(16 << 20);
        let journal = journal(server, options).await;
        for n in 0..30 {
            append(&journal, large(2 << 20)).await;
            append(&journal, Target::tag(tag!["n", n])).await;
        }
        // One field is always there.
        let kept = server.ask(&["HLEN", LARGE]).unwrap().number().unwrap() - 1;
        assert!((7..=9).contains(&kept), "{kept} records of 2 MiB in 16 MiB");
        let history = journal.history("ns").await.unwrap();
        assert_eq!(history.head.position, 60);
        assert_eq!(read_all(&journal).await as u64, 60 - history.oldest.position);
        let log = server.ask(&["XLEN", LOG]).unwrap().number().unwrap();
        assert_eq!(log as u64, 60 - history.oldest.position);

        journal.roll("ns", history.head.epoch).await.unwrap();
        assert_eq!(server.ask(&["EXISTS", LOG]).unwrap().number(), Some(0));
        assert_eq!(server.ask(&["HLEN", LARGE]).unwrap().number(), Some(1));
    }
}

/// A record a few times larger than a page comes alone, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_all_sizes_come_back_in_order() {
    for server in servers() {
        let server = &server;
        server.ask(&["FLUSHALL"]).unwrap();
        let journal = journal(server, RedisJournalOptions::default()).await;
        let start = journal.history("ns").await.unwrap().head;
        let sizes = [10, 4_000, 4_080, 4_096, 5_000, 100_000, 262_000, 262_200, 3 << 20, 10, 300_000, 20];
        for size in sizes {
            append(&journal, large(size)).await;
        }
        let (mut at, mut read) = (start, Vec::new());
        while read.len() < sizes.len() {
            let page = journal.read("ns", at, 5).await.unwrap();
            assert!(!page.records.is_empty() && page.records.len() <= 5);
            at = page.records.last().unwrap().link;
            read.extend(page.records.into_iter().map(|record| record.targets));
        }
        assert_eq!(read, sizes.map(|size| vec![large(size)]));
    }
}

/// Somebody added to the stream by hand: its next place is taken. The journal begins another history and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_somebody_wrote_to_is_begun_anew() {
    for server in servers() {
        let server = &server;
        server.ask(&["FLUSHALL"]).unwrap();
        let journal = journal(server, RedisJournalOptions::default()).await;
        let before = append(&journal, Target::key("r", key![1])).await;
        server.ask(&["XADD", LOG, "*", "r", "not a record"]).unwrap();
        let next = append(&journal, Target::key("r", key![2])).await;
        assert_ne!(next.epoch, before.epoch);
        assert_eq!(next.position, before.position + 1);
        assert_eq!(read_all(&journal).await, 1);

        server.ask(&["DEL", LOG]).unwrap();
        server.ask(&["SET", LOG, "not even a stream"]).unwrap();
        let last = append(&journal, Target::key("r", key![3])).await;
        assert_ne!(last.epoch, next.epoch);
        assert_eq!(read_all(&journal).await, 1);
    }
}

/// Its keys are evicted between two appends, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_go_on_in_another_history_when_the_keys_vanish() {
    for server in servers() {
        let server = &server;
        let journal = journal(server, RedisJournalOptions::default()).await;
        let mut epochs = Vec::new();
        for _ in 0..3 {
            server.ask(&["FLUSHALL"]).unwrap();
            let link = append(&journal, Target::everything()).await;
            assert_eq!(link.position, 1);
            epochs.push(link.epoch);
            assert_eq!(read_all(&journal).await, 1);
        }
        epochs.dedup();
        assert_eq!(epochs.len(), 3);
    }
}

/// Keys of a form that a later version may write are refused, and left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_form_is_refused_and_left_alone() {
    let Some(server) = servers().next() else { return };
    let server = &server;
    server.ask(&["FLUSHALL"]).unwrap();
    let journal = journal(server, RedisJournalOptions::default()).await;
    let link = append(&journal, Target::everything()).await;
    let head = "{larder:ns}:head";
    let newer = server.ask(&["HGET", head, "head"]).unwrap().text().replacen('1', "2", 1);
    server.ask(&["HSET", head, "head", &newer]).unwrap();
    let error = journal.append("ns", &[Target::everything()], &Cause::default()).await.unwrap_err();
    assert!(!error.is_indeterminate() && error.to_string().contains("newer"), "{error}");
    let errors = [
        journal.read("ns", link, 1).await.unwrap_err(),
        journal.history("ns").await.unwrap_err(),
        journal.roll("ns", link.epoch).await.unwrap_err(),
    ];
    for error in errors {
        assert!(!error.is_diverged() && error.to_string().contains("newer"), "{error}");
    }
    assert_eq!(server.ask(&["HGET", head, "head"]).unwrap().text(), newer);
}

/// Of a script's keys some are usually not there (large bodies, say), and from the moment a slot began to move its server
/// answered TRYAGAIN to every append and every read, before anything had been moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_slot_is_on_the_move_goes_on() {
    let Some(cluster) = cluster() else { return };
    let namespace = own_word();
    let journal = RedisJournal::connect(&cluster.url()).await.unwrap();
    let targets = [Target::tag(tag!["branch", 7])];
    let start = journal.history(&namespace).await.unwrap().head;
    let mut written = 0;
    let mut works = async || {
        let link = journal.append(&namespace, &targets, &Cause::from("test")).await.unwrap();
        written += 1;
        assert_eq!(link.position, start.position + written);
        let page = journal.read(&namespace, start, 10).await.unwrap();
        assert_eq!((page.records.len() as u64, page.head), (written, link));
    };
    works().await;
    let slot = cluster.slot(format!("{{larder:{namespace}}}:head")).unwrap();
    let step = cluster.begin_move(slot).unwrap();
    works().await;
    step.carry().unwrap();
    works().await;
    step.finish().unwrap();
    works().await;
}
