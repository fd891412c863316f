//! The SQLite journal and its file: damage, replacement, other connections, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use larder::journal::{SqliteJournal, SqliteJournalOptions};
use larder::outbox;
use larder_core::port::{Journal, JournalError, Page};
use larder_core::{Act, Cause, Epoch, IntentId, Link, Target, tag};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const NS: &str = "booking";
/// How long a hint may take before a test calls it lost.
const HINT_MAX: Duration = Duration::from_secs(20);

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

    fn journal(&self) -> SqliteJournal {
        SqliteJournal::open(self.path()).unwrap()
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// A copy of the database as it is now.
    fn back_up(&self) -> PathBuf {
        let to = self.dir.path().join("backup.db");
        Connection::open(self.path()).unwrap().execute("VACUUM INTO ?1", [to.to_str()]).unwrap();
        to
    }

    /// Runs a shell command with `$APP` and `$BACKUP`, in a process of its own as an operator would: a file opened
    /// and closed in this one would drop SQLite's locks on it.
    fn shell(&self, script: &str) {
        let status = Command::new("sh")
            .args(["-ec", script])
            .env("APP", self.path())
            .env("BACKUP", self.dir.path().join("backup.db"))
            .status();
        assert!(status.unwrap().success());
    }
}

async fn append(journal: &SqliteJournal, n: u64) -> Link {
    journal.append(NS, &[Target::tag(tag!["n", n])], &Cause::from("test")).await.unwrap()
}

fn assert_diverged(answer: Result<Page, JournalError>) {
    let error = answer.expect_err("history diverged");
    assert!(error.is_diverged(), "{error}");
}

async fn first_page(journal: &SqliteJournal) -> Result<Page, JournalError> {
    let oldest = journal.history(NS).await.unwrap().oldest;
    journal.read(NS, oldest, 100).await
}

/// The story: a nightly backup is put back while the service runs. Positions the service has seen are handed out a
/// second time; without a look at epoch, position and nonce it would take them for the ones it knows, and go on
/// serving what they invalidated.
async fn a_restored_file_is_noticed(restore: impl FnOnce(&Db)) {
    let db = Db::new();
    let journal = db.journal();
    for n in 0..5 {
        append(&journal, n).await;
    }
    let in_backup = journal.history(NS).await.unwrap().head;
    db.back_up();
    let mut seen = in_backup;
    for n in 5..10 {
        seen = append(&journal, n).await;
    }
    assert_eq!(journal.read(NS, seen, 10).await.unwrap().head, seen);

    let waiting = journal.clone();
    waiting.read(NS, seen, 10).await.unwrap();
    let told = tokio::spawn(async move { waiting.changed(NS).await });
    restore(&db);
    tokio::time::timeout(HINT_MAX, told).await.expect("a hint").unwrap();

    assert_diverged(journal.read(NS, seen, 10).await);
    assert_eq!(journal.history(NS).await.unwrap().head, in_backup);
    assert_eq!(journal.read(NS, in_backup, 10).await.unwrap().records.len(), 0);
    for n in 5..12 {
        let link = append(&journal, 100 + n).await;
        assert_eq!(link.position, n + 1);
        assert_diverged(journal.read(NS, seen, 10).await);
    }
    assert_eq!(journal.read(NS, in_backup, 10).await.unwrap().records.len(), 7);
    journal.close().await;
    let fresh = Connection::open(db.path()).unwrap();
    let verdict: String = fresh.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let head = "SELECT position FROM larder_head";
    assert_eq!(fresh.query_row(head, [], |row| row.get::<_, i64>(0)).unwrap(), 12);
}

#[tokio::test]
async fn a_file_renamed_over_it_is_noticed() {
    a_restored_file_is_noticed(|db| db.shell("rm -f $APP-wal $APP-shm; mv $BACKUP $APP")).await;
}

#[tokio::test]
async fn a_file_copied_into_it_is_noticed() {
    a_restored_file_is_noticed(|db| db.shell("cat $BACKUP > $APP; rm -f $APP-wal $APP-shm")).await;
}

#[tokio::test]
async fn a_restore_by_sqlites_backup_is_noticed() {
    a_restored_file_is_noticed(|db| {
        let from = Connection::open(db.dir.path().join("backup.db")).unwrap();
        let mut to = Connection::open(db.path()).unwrap();
        let backup = rusqlite::backup::Backup::new(&from, &mut to).unwrap();
        backup.run_to_completion(1_000, Duration::ZERO, None).unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_idle_journal_lets_go_of_a_file_that_was_replaced() {
    let db = Db::new();
    let journal = db.journal();
    let seen = append(&journal, 1).await;
    db.back_up();
    db.shell("cat $BACKUP > $APP; rm -f $APP-wal $APP-shm");
    // The backup is not in WAL mode, and cannot be while anybody holds on to what was there before.
    let other = Connection::open(db.path()).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let to_wal = || other.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    let deadline = std::time::Instant::now() + HINT_MAX;
    while to_wal().is_err() {
        assert!(std::time::Instant::now() < deadline, "the journal still holds on to the old file");
        let _ = journal.read(NS, seen, 1).await;
    }
    assert_eq!(append(&journal, 2).await.position, 2);
}

#[tokio::test]
async fn a_file_from_before_the_journals_time_diverges_and_begins_a_new_epoch() {
    let db = Db::new();
    db.sql("PRAGMA journal_mode = WAL; CREATE TABLE data(id INTEGER)");
    db.back_up();
    let journal = db.journal();
    let seen = append(&journal, 1).await;
    db.shell("rm -f $APP-wal $APP-shm; mv $BACKUP $APP");
    assert_diverged(journal.read(NS, seen, 10).await);
    let head = journal.history(NS).await.unwrap().head;
    assert_ne!(head.epoch, seen.epoch);
    assert_eq!(append(&journal, 1).await.position, 1);
}

#[tokio::test]
async fn a_missing_file_fails_and_is_not_created_and_comes_back() {
    let db = Db::new();
    let journal = db.journal();
    let seen = append(&journal, 1).await;
    db.back_up();
    db.shell("rm -f $APP $APP-wal $APP-shm");
    let error = journal.read(NS, seen, 10).await.expect_err("the file is gone");
    assert!(!error.is_diverged() && !error.is_compacted(), "{error}");
    let error =
        journal.append(NS, &[Target::everything()], &Cause::default()).await.expect_err("the file is gone");
    assert!(!error.is_indeterminate(), "{error}");
    assert!(!db.path().exists());
    db.shell("mv $BACKUP $APP");
    assert_eq!(journal.read(NS, seen, 10).await.unwrap().head, seen);
    assert_eq!(append(&journal, 2).await.position, 2);
}

#[tokio::test]
async fn a_damaged_record_is_diverged_and_never_skipped() {
    let damages = [
        "UPDATE larder_journal SET targets = x'ff' WHERE position = 3",
        "UPDATE larder_journal SET targets = x'' || substr(targets, 1, length(targets) - 1) WHERE position = 3",
        "UPDATE larder_journal SET targets = 7 WHERE position = 3",
        "UPDATE larder_journal SET targets = 'text' WHERE position = 3",
        "UPDATE larder_journal SET cause = x'ff' WHERE position = 3",
        "UPDATE larder_journal SET nonce = 'text' WHERE position = 3",
        "UPDATE larder_journal SET nonce = nonce + 1 WHERE position = 5",
        "DELETE FROM larder_journal WHERE position = 3",
        "DELETE FROM larder_journal WHERE position = 1",
        "DELETE FROM larder_journal WHERE position = 5",
        "DELETE FROM larder_journal",
        "UPDATE larder_head SET position = 6",
        "UPDATE larder_head SET nonce = nonce + 1",
    ];
    for damage in damages {
        let db = Db::new();
        let journal = db.journal();
        for n in 0..5 {
            append(&journal, n).await;
        }
        assert_eq!(first_page(&journal).await.unwrap().records.len(), 5);
        db.sql(damage);
        let error = first_page(&journal).await.expect_err(damage);
        assert!(error.is_diverged(), "{damage}: {error}");
        // Whoever distrusts everything before the head can go on from there, at the latest from the next one.
        let head = journal.history(NS).await.unwrap().head;
        assert_eq!(journal.read(NS, head, 10).await.unwrap().head, head, "{damage}");
        let next = append(&journal, 9).await;
        if let Err(error) = journal.read(NS, head, 10).await {
            assert!(error.is_diverged(), "{damage}: {error}");
            assert_eq!(journal.history(NS).await.unwrap().head, next);
        }
        append(&journal, 10).await;
        assert_eq!(journal.read(NS, next, 10).await.unwrap().records.len(), 1, "{damage}");
    }
}

#[tokio::test]
async fn a_damaged_head_is_an_error() {
    for damage in [
        "UPDATE larder_head SET epoch = x'00'",
        "UPDATE larder_head SET position = 'text'",
        "UPDATE larder_head SET position = -1",
        "UPDATE larder_head SET oldest_position = 9",
    ] {
        let db = Db::new();
        let journal = db.journal();
        let seen = append(&journal, 1).await;
        db.sql(&format!("PRAGMA ignore_check_constraints = ON; {damage}"));
        assert!(journal.history(NS).await.is_err(), "{damage}");
        assert!(journal.read(NS, seen, 1).await.is_err(), "{damage}");
    }
}

#[tokio::test]
async fn a_head_that_was_deleted_begins_a_new_epoch_and_ignores_the_old_records() {
    let db = Db::new();
    let journal = db.journal();
    for n in 0..5 {
        append(&journal, n).await;
    }
    let seen = journal.history(NS).await.unwrap().head;
    db.sql("DELETE FROM larder_head");
    assert_diverged(journal.read(NS, seen, 1).await);
    let start = journal.history(NS).await.unwrap();
    assert_ne!(start.head.epoch, seen.epoch);
    assert_eq!(start.head.position, 0);
    assert_eq!(journal.read(NS, start.head, 10).await.unwrap().records.len(), 0);
    let link = append(&journal, 6).await;
    let page = journal.read(NS, start.head, 10).await.unwrap();
    assert_eq!(page.records.iter().map(|r| r.link).collect::<Vec<_>>(), [link]);
}

#[tokio::test]
async fn large_records_are_read_in_pages_of_bounded_size() {
    let db = Db::new();
    let journal = db.journal();
    let start = journal.history(NS).await.unwrap().head;
    for n in 0..6u64 {
        let target = Target::tag(tag![n, vec![n as u8; 7 << 20]]);
        journal.append(NS, &[target], &Cause::default()).await.unwrap();
    }
    let page = journal.read(NS, start, 100).await.unwrap();
    assert_eq!((page.records.len(), page.head.position), (2, 6));
    let rest = journal.read(NS, page.records[1].link, 100).await.unwrap();
    assert_eq!(rest.records[0].link.position, 3);
}

#[tokio::test]
async fn a_write_that_finds_the_database_locked_fails_and_leaves_nothing() {
    let db = Db::new();
    let options = SqliteJournalOptions::default().busy_wait(Duration::from_millis(100));
    let journal = SqliteJournal::open_with(db.path(), options).unwrap();
    let head = append(&journal, 1).await;
    let other = Connection::open(db.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = journal.append(NS, &[Target::everything()], &Cause::default()).await.expect_err("locked");
    assert!(!error.is_indeterminate(), "{error}");
    assert_eq!(journal.history(NS).await.unwrap().head, head);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(append(&journal, 2).await.position, 2);
}

#[tokio::test]
async fn reads_are_answered_while_somebody_else_writes() {
    let db = Db::new();
    let journal = db.journal();
    let head = append(&journal, 1).await;
    let mut other = Connection::open(db.path()).unwrap();
    let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    outbox::invalidate(&tx, NS, [Target::everything()], "pending").unwrap();
    assert_eq!(journal.read(NS, head, 1).await.unwrap().records.len(), 0);
    tx.commit().unwrap();
    assert_eq!(journal.read(NS, head, 1).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn what_else_the_application_writes_is_no_change() {
    let db = Db::new();
    let journal = db.journal();
    let head = append(&journal, 1).await;
    journal.read(NS, head, 1).await.unwrap();
    let app = Connection::open(db.path()).unwrap();
    app.execute_batch("CREATE TABLE data(id INTEGER)").unwrap();
    let waiting = journal.clone();
    let mut told = tokio::spawn(async move { waiting.changed(NS).await });
    for _ in 0..20 {
        app.execute("INSERT INTO data VALUES (1)", []).unwrap();
        // Each answer means that the reader's thread has looked.
        journal.read(NS, head, 1).await.unwrap();
    }
    assert!(!told.is_finished());
    outbox::invalidate(&app, NS, [Target::everything()], "booked").unwrap();
    tokio::time::timeout(HINT_MAX, &mut told).await.expect("a hint").unwrap();
}

#[test]
fn a_database_that_connections_cannot_share_is_refused() {
    for path in [":memory:", "", "file:app.db?mode=memory"] {
        let error = SqliteJournal::open(path).err().expect("refused").to_string();
        assert!(error.contains("expected the path of a file"), "{error}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let db = Db::new();
    drop(db.journal());
    db.sql("UPDATE larder_settings SET value = 3 WHERE name = 'schema'");
    let error = SqliteJournal::open(db.path()).err().expect("refused").to_string();
    assert!(error.contains("schema version is 3; expected at most 2"), "{error}");
}

#[tokio::test]
async fn a_schema_that_becomes_newer_under_a_running_journal_is_refused() {
    let db = Db::new();
    let journal = db.journal();
    let head = append(&journal, 1).await;
    db.sql("UPDATE larder_settings SET value = 3 WHERE name = 'schema'");
    let error = journal.read(NS, head, 1).await.expect_err("refused").to_string();
    assert!(error.contains("schema version is 3"), "{error}");
    assert!(journal.append(NS, &[Target::everything()], &Cause::default()).await.is_err());
}

/// The tables as version 1 made them, with one record.
const VERSION_1: &str = "
CREATE TABLE larder_settings(name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE larder_head(
    namespace TEXT PRIMARY KEY NOT NULL,
    epoch BLOB NOT NULL CHECK (typeof(epoch) = 'blob' AND length(epoch) = 16),
    position INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    oldest_position INTEGER NOT NULL,
    oldest_nonce INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE larder_journal(
    namespace TEXT NOT NULL,
    position INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    targets BLOB NOT NULL,
    cause TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (namespace, position)
) WITHOUT ROWID;
INSERT INTO larder_settings VALUES ('schema', 1), ('records_max', 1000);
INSERT INTO larder_head VALUES ('NS', x'00000000000000000000000000000007', 1, 5, 0, 0);
INSERT INTO larder_journal VALUES ('NS', 1, 5, x'00', 'booked', 0);
";

fn make_version_1(db: &Db) {
    db.sql(&VERSION_1.replace("'NS'", &format!("'{NS}'")));
}

/// What a program before write guards left behind: its history goes on, as it was.
async fn goes_on_from_version_1(journal: &SqliteJournal, records: u64) {
    let history = journal.history(NS).await.unwrap();
    assert_eq!((history.head.epoch, history.head.position), (Epoch::new(7), records));
    let page = journal.read(NS, history.oldest, 10).await.unwrap();
    assert!(page.records.iter().all(|record| record.act == Act::Invalidate));
    assert_eq!((page.records.len() as u64, page.records[0].link.nonce), (records, 5));
    let act = Act::Open { intent: IntentId::new(9), lasts: Duration::from_secs(1) };
    journal.record(NS, act, &[Target::everything()], &Cause::default()).await.unwrap();
    assert_eq!(journal.history(NS).await.unwrap().open.len(), 1);
}

#[tokio::test]
async fn tables_of_version_1_are_brought_up_to_date_when_opened() {
    let db = Db::new();
    make_version_1(&db);
    goes_on_from_version_1(&db.journal(), 1).await;
    let again = db.journal().history(NS).await.unwrap();
    assert_eq!((again.head.position, again.open.len()), (2, 1));
}

#[tokio::test]
async fn tables_of_version_1_are_brought_up_to_date_by_the_outbox() {
    let db = Db::new();
    make_version_1(&db);
    let mut app = Connection::open(db.path()).unwrap();
    let tx = app.transaction().unwrap();
    outbox::invalidate(&tx, NS, [Target::everything()], "booked").unwrap();
    tx.rollback().unwrap();
    let tx = app.transaction().unwrap();
    outbox::invalidate(&tx, NS, [Target::everything()], "booked").unwrap();
    tx.commit().unwrap();
    goes_on_from_version_1(&db.journal(), 2).await;
}

/// A backup from before the upgrade is restored under a running journal: the reader must not stumble over tables it does
/// not know, and whoever starts over brings them up to date.
#[tokio::test]
async fn tables_of_version_1_under_a_running_journal_are_no_history_until_brought_up_to_date() {
    let db = Db::new();
    let journal = db.journal();
    let head = append(&journal, 1).await;
    db.sql("DROP TABLE larder_settings; DROP TABLE larder_head; DROP TABLE larder_journal; DROP TABLE larder_intents");
    make_version_1(&db);
    assert!(journal.read(NS, head, 1).await.expect_err("not this history").is_diverged());
    goes_on_from_version_1(&journal, 1).await;
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let db = Db::new();
    let text = "this is the application's precious text file, and no database at all".repeat(100);
    std::fs::write(db.path(), &text).unwrap();
    let error = SqliteJournal::open(db.path()).err().expect("refused").to_string();
    assert!(error.contains("not a database"), "{error}");
    assert_eq!(std::fs::read_to_string(db.path()).unwrap(), text);
}

#[test]
fn a_directory_that_does_not_exist_is_refused() {
    let db = Db::new();
    let path = db.dir.path().join("missing").join("app.db");
    assert!(SqliteJournal::open(&path).is_err());
    assert!(!Path::new(&path).exists());
}

#[tokio::test]
async fn opening_again_and_again_keeps_the_history() {
    let db = Db::new();
    let mut epochs = Vec::new();
    for n in 1..=5 {
        let journal = db.journal();
        assert_eq!(append(&journal, n).await.position, n);
        epochs.push(journal.history(NS).await.unwrap().head.epoch);
        if n % 2 == 0 {
            journal.close().await;
        }
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
}

#[tokio::test]
async fn the_applications_tables_are_left_alone() {
    let db = Db::new();
    db.sql("CREATE TABLE data(id INTEGER); INSERT INTO data VALUES (7); PRAGMA user_version = 42");
    let journal = db.journal();
    append(&journal, 1).await;
    let app = Connection::open(db.path()).unwrap();
    assert_eq!(app.query_row("SELECT id FROM data", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    assert_eq!(app.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 42);
}

#[tokio::test]
async fn closing_does_not_wait_for_another_connections_transaction() {
    let db = Db::new();
    let options = SqliteJournalOptions::default().busy_wait(Duration::from_secs(3_600));
    let journal = SqliteJournal::open_with(db.path(), options).unwrap();
    append(&journal, 1).await;
    let other = Connection::open(db.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (targets, cause) = ([Target::everything()], Cause::default());
    let mut pending = journal.append(NS, &targets, &cause);
    std::future::poll_fn(|context| {
        assert!(pending.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(pending);
    // Would last an hour.
    drop(journal);
}
