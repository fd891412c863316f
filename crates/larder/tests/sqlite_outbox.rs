//! The outbox: a record lives or dies with the transaction it was written in.
#![allow(clippy::unwrap_used)]

use larder::Cache;
use larder::journal::{RECORD_BYTES_MAX, SqliteJournal, SqliteJournalOptions};
use larder::outbox;
use larder_core::port::Journal;
use larder_core::{Act, Link, Record, Target, key, tag};
use rusqlite::Connection;
use std::path::PathBuf;

const NS: &str = "booking";

struct Db {
    dir: tempfile::TempDir,
}

impl Db {
    fn new() -> Self {
        Db { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    fn connect(&self) -> Connection {
        let db = Connection::open(self.path()).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS data(id INTEGER PRIMARY KEY)",
        )
        .unwrap();
        db
    }

    fn journal(&self) -> SqliteJournal {
        SqliteJournal::open(self.path()).unwrap()
    }

    /// What a cache opened now would read from the beginning.
    async fn records(&self) -> Vec<Record> {
        let journal = self.journal();
        let oldest = journal.history(NS).await.unwrap().oldest;
        journal.read(NS, oldest, 1_000).await.unwrap().records
    }

    async fn numbers(&self) -> Vec<u64> {
        let number = |record: Record| (0..100).find(|n| record.targets == [target(*n)]).unwrap();
        self.records().await.into_iter().map(number).collect()
    }
}

fn target(n: u64) -> Target {
    Target::tag(tag!["n", n])
}

fn record(db: &Connection, n: u64) -> Link {
    outbox::invalidate(db, NS, [target(n)], "test").unwrap()
}

#[tokio::test]
async fn a_committed_record_is_read_by_a_cache_opened_later() {
    let db = Db::new();
    let mut app = db.connect();
    let tx = app.transaction().unwrap();
    tx.execute("INSERT INTO data(id) VALUES (1)", []).unwrap();
    let link = outbox::invalidate(&tx, NS, [target(1), target(2)], "booked").unwrap();
    tx.commit().unwrap();
    let records = db.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].link, records[0].link.position), (link, 1));
    assert_eq!(records[0].targets, [target(1), target(2)]);
    assert_eq!(records[0].cause.as_str(), "booked");
}

#[tokio::test]
async fn a_rolled_back_record_leaves_nothing_and_its_position_is_used_again() {
    let db = Db::new();
    let mut app = db.connect();
    let tx = app.transaction().unwrap();
    let lost = record(&tx, 1);
    tx.rollback().unwrap();
    assert_eq!(db.numbers().await, Vec::<u64>::new());
    let kept = record(&app, 2);
    assert_eq!((lost.position, kept.position), (1, 1));
    assert_ne!(lost.nonce, kept.nonce);
    assert_eq!(db.numbers().await, [2]);
}

#[tokio::test]
async fn a_rollback_of_the_first_use_takes_the_tables_with_it() {
    let db = Db::new();
    let mut app = db.connect();
    let tx = app.transaction().unwrap();
    record(&tx, 1);
    tx.rollback().unwrap();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'larder%'";
    assert_eq!(app.query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    record(&app, 2);
    assert_eq!(db.numbers().await, [2]);
}

#[tokio::test]
async fn a_savepoint_takes_its_records_with_it_and_leaves_the_others() {
    let db = Db::new();
    let mut app = db.connect();
    let mut tx = app.transaction().unwrap();
    record(&tx, 1);
    {
        let mut outer = tx.savepoint().unwrap();
        record(&outer, 2);
        {
            let inner = outer.savepoint().unwrap();
            record(&inner, 3);
            inner.commit().unwrap();
        }
        outer.rollback().unwrap();
        record(&outer, 4);
        outer.commit().unwrap();
    }
    tx.execute_batch("SAVEPOINT larder_outbox").unwrap();
    record(&tx, 5);
    tx.execute_batch("ROLLBACK TO larder_outbox; RELEASE larder_outbox").unwrap();
    record(&tx, 6);
    tx.commit().unwrap();
    assert_eq!(db.numbers().await, [1, 4, 6]);
}

#[tokio::test]
async fn outside_a_transaction_a_record_is_committed_by_itself() {
    let db = Db::new();
    let app = db.connect();
    record(&app, 1);
    assert!(app.is_autocommit());
    assert_eq!(db.numbers().await, [1]);
}

#[tokio::test]
async fn no_targets_write_no_record_and_return_the_head() {
    let db = Db::new();
    let app = db.connect();
    let start = outbox::invalidate(&app, NS, [], "nothing").unwrap();
    assert_eq!((start.position, start.nonce), (0, 0));
    let head = record(&app, 1);
    assert_eq!(outbox::invalidate(&app, NS, [], "nothing").unwrap(), head);
    assert_eq!(db.numbers().await, [1]);
}

#[tokio::test]
async fn a_record_over_the_bound_is_refused_and_the_transaction_goes_on() {
    let db = Db::new();
    let mut app = db.connect();
    let tx = app.transaction().unwrap();
    tx.execute("INSERT INTO data(id) VALUES (1)", []).unwrap();
    let huge = Target::key("region", key![vec![7u8; RECORD_BYTES_MAX]]);
    let error = outbox::invalidate(&tx, NS, [huge], "huge").unwrap_err();
    assert!(error.is_too_large());
    assert!(error.to_string().contains("expected at most 16777216"), "{error}");
    record(&tx, 1);
    tx.commit().unwrap();
    assert_eq!(db.numbers().await, [1]);
    assert_eq!(app.query_row("SELECT count(*) FROM data", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn a_hundred_thousand_targets_are_one_record() {
    let db = Db::new();
    let app = db.connect();
    let targets: Vec<Target> = (0..100_000).map(target).collect();
    outbox::invalidate(&app, NS, targets.clone(), "many").unwrap();
    let records = db.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].targets, targets);
}

#[test]
fn a_newer_schema_is_refused_and_the_transaction_goes_on() {
    let db = Db::new();
    let mut app = db.connect();
    record(&app, 1);
    app.execute("UPDATE larder_settings SET value = 9 WHERE name = 'schema'", []).unwrap();
    let tx = app.transaction().unwrap();
    tx.execute("INSERT INTO data(id) VALUES (1)", []).unwrap();
    let error = outbox::invalidate(&tx, NS, [target(2)], "test").unwrap_err();
    assert!(error.is_newer_schema());
    assert!(error.to_string().contains("schema version is 9; expected at most 2"), "{error}");
    tx.commit().unwrap();
    let position = "SELECT position FROM larder_head";
    assert_eq!(app.query_row(position, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn a_lock_held_by_another_connection_is_busy_and_nothing_is_written() {
    let db = Db::new();
    let (app, other) = (db.connect(), db.connect());
    app.busy_timeout(std::time::Duration::ZERO).unwrap();
    record(&app, 1);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = outbox::invalidate(&app, NS, [target(2)], "test").unwrap_err();
    assert!(error.is_busy(), "{error}");
    assert!(app.is_autocommit());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(record(&app, 3).position, 2);
}

#[tokio::test]
async fn a_full_database_takes_the_record_and_the_data_or_neither() {
    let db = Db::new();
    let mut app = db.connect();
    record(&app, 1);
    let pages: i64 = app.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    app.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    let large = || [Target::key("region", key![vec![7u8; 100_000]])];
    for _ in 0..3 {
        let tx = app.transaction().unwrap();
        tx.execute("INSERT INTO data DEFAULT VALUES", []).unwrap();
        let error = outbox::invalidate(&tx, NS, large(), "no room").unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        // SQLite may have rolled back by itself; then there is nothing to commit.
        let committed = if tx.is_autocommit() {
            drop(tx);
            false
        } else {
            tx.commit().is_ok()
        };
        let rows: i64 = app.query_row("SELECT count(*) FROM data", [], |row| row.get(0)).unwrap();
        assert!(committed || rows == 0);
        app.execute("DELETE FROM data", []).unwrap();
    }
    app.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
    assert_eq!(outbox::invalidate(&app, NS, large(), "room").unwrap().position, 2);
    assert_eq!(db.records().await.len(), 2);
}

#[test]
fn called_first_in_a_deferred_transaction_it_is_not_overtaken_by_other_writers() {
    // A transaction that reads first and writes later fails when somebody wrote in between; the outbox must not be
    // the one that reads first.
    let db = Db::new();
    let (app, other) = (db.connect(), db.connect());
    record(&app, 1);
    app.execute_batch("BEGIN DEFERRED").unwrap();
    record(&other, 2);
    assert_eq!(record(&app, 3).position, 3);
    app.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn the_retention_set_by_a_journal_is_kept_by_the_outbox() {
    let db = Db::new();
    let options = SqliteJournalOptions::default().records_max(10);
    let journal = SqliteJournal::open_with(db.path(), options).unwrap();
    let app = db.connect();
    app.execute_batch("PRAGMA synchronous = OFF").unwrap();
    for n in 0..1_000 {
        record(&app, n);
    }
    let rows =
        || app.query_row("SELECT count(*) FROM larder_journal", [], |row| row.get::<_, i64>(0)).unwrap();
    assert!((10..10 + 64).contains(&rows()), "{} rows", rows());
    let history = journal.history(NS).await.unwrap();
    let page = journal.read(NS, history.oldest, 100).await.unwrap();
    assert_eq!(page.records.last().unwrap().link, history.head);
    // The old epoch's rows go a few at a time.
    journal.roll(NS, history.head.epoch).await.unwrap();
    for n in 0..64 {
        record(&app, n);
    }
    assert!(rows() <= 64, "{} rows", rows());
}

#[test]
fn each_namespace_has_its_own_positions() {
    let db = Db::new();
    let mut app = db.connect();
    let tx = app.transaction().unwrap();
    let a = outbox::invalidate(&tx, "a", [target(1)], "").unwrap();
    let b = outbox::invalidate(&tx, "b", [target(1)], "").unwrap();
    tx.commit().unwrap();
    assert_eq!((a.position, b.position), (1, 1));
    assert_ne!(a.epoch, b.epoch);
}

/// The end of a guarded write in the data's own transaction: rolled back, the intent is still open; committed, it is closed
/// and the guard has nothing left to do.
#[tokio::test]
async fn a_guarded_write_ends_with_its_transaction() {
    let db = Db::new();
    let mut app = db.connect();
    let bound = std::time::Duration::from_millis(2);
    let cache = Cache::builder(NS).journal(db.journal()).bound_max(bound).build().await.unwrap();
    let guard = cache.write([target(1)]).await.unwrap();
    let open = async || db.journal().history(NS).await.unwrap().open.len();
    let tx = app.transaction().unwrap();
    outbox::commit(&tx, NS, guard.intent(), "booked").unwrap();
    tx.rollback().unwrap();
    assert_eq!(open().await, 1);
    let tx = app.transaction().unwrap();
    tx.execute("INSERT INTO data(id) VALUES (1)", []).unwrap();
    let link = outbox::commit(&tx, NS, guard.intent(), "booked").unwrap();
    tx.commit().unwrap();
    assert_eq!(open().await, 0);
    let last = db.records().await.pop().unwrap();
    assert_eq!((last.link, last.act), (link, Act::Close { intent: guard.intent().id }));
    assert_eq!(last.targets, [target(1)]);
    assert_eq!(cache.sync().await.unwrap(), link.position);
    assert_eq!(cache.stats().journal.intents_open, 0);
    // As when its time is over, and a node has closed it: nobody waits any more for what is written.
    let tx = app.transaction().unwrap();
    let error = outbox::commit(&tx, NS, guard.intent(), "booked").unwrap_err();
    assert!(error.is_guard_expired(), "{error}");
    tx.commit().unwrap();
    assert_eq!(db.records().await.pop().unwrap().link, link, "nothing of it remains");
}
