//! Several real processes on one file: they notice each other, and one that is killed leaves no half of anything.
//!
//! A test that needs another process runs this test binary again, asking for one of the `child_` tests, which do
//! nothing unless told where the database is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use larder::journal::SqliteJournal;
use larder::outbox;
use larder::store::SqliteStore;
use larder_core::port::{Journal, Store, Stored};
use larder_core::{Cause, Link, Record, Target, key};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const NS: &str = "booking";
const DB: &str = "LARDER_TEST_DB";
/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(test: &str, db: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(DB, db)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    /// The next line the child says to us, without the mark.
    fn line(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|l| l.strip_prefix("> ").map(str::to_owned))
    }

    /// What it said before it died.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told() -> Option<PathBuf> {
    std::env::var_os(DB).map(PathBuf::from)
}

fn slot_target(id: i64) -> Target {
    Target::key("availability", key![id])
}

async fn records(journal: &SqliteJournal) -> Vec<Record> {
    let mut after = journal.history(NS).await.unwrap().oldest;
    let mut records = Vec::new();
    loop {
        let page = journal.read(NS, after, 500).await.unwrap();
        let Some(last) = page.records.last() else { return records };
        after = last.link;
        records.extend(page.records);
    }
}

/// Books, changes its mind, and invalidates, until killed; says each acknowledged append.
#[test]
fn child_books_until_killed() {
    let Some(path) = told() else { return };
    let mut db = Connection::open(&path).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    let journal = SqliteJournal::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first: i64 =
        db.query_row("SELECT ifnull(max(id), 0) + 1 FROM bookings", [], |row| row.get(0)).unwrap();
    for id in first.. {
        let mut tx = db.transaction().unwrap();
        if id % 7 == 0 {
            let sp = tx.savepoint().unwrap();
            book(&sp, -id);
            drop(sp);
        }
        book(&tx, id);
        if id % 3 == 0 {
            tx.rollback().unwrap();
        } else {
            tx.commit().unwrap();
            println!("\n> booked {id}");
        }
        if id % 5 == 0 {
            let append = async { journal.append(NS, &[Target::everything()], &Cause::from("own")).await };
            let link = runtime.block_on(append).unwrap();
            println!("\n> own {} {}", link.position, link.nonce);
        }
    }
}

fn book(db: &Connection, id: i64) {
    db.execute("INSERT INTO bookings(id) VALUES (?1)", [id]).unwrap();
    outbox::invalidate(db, NS, [slot_target(id)], "booked").unwrap();
}

/// The story: the process dies between the write and the invalidation, in the middle of a commit, in the middle of
/// a checkpoint. Whatever is in the database afterwards, the journal says; whatever the journal says is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_every_booking_has_its_record_and_every_record_its_booking() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let setup = Connection::open(&path).unwrap();
    setup.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE bookings(id INTEGER PRIMARY KEY)").unwrap();
    drop(setup);
    let mut acknowledged = BTreeMap::new();
    let mut booked = Vec::new();
    for round in 0..6u64 {
        let mut process = Process::start("child_books_until_killed", &path);
        let mut said: Vec<String> = (0..(20 + round * 37)).map(|_| process.line().unwrap()).collect();
        said.extend(process.kill());
        for line in said {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["booked", id] => booked.push(id.parse::<i64>().unwrap()),
                ["own", position, nonce] => {
                    acknowledged.insert(position.parse::<u64>().unwrap(), nonce.parse::<u64>().unwrap());
                }
                // Cut short by the kill.
                _ => {}
            }
        }
        verify(&path, &booked, &acknowledged).await;
    }
    assert!(acknowledged.len() > 10);
}

async fn verify(path: &Path, booked: &[i64], acknowledged: &BTreeMap<u64, u64>) {
    let journal = SqliteJournal::open(path).unwrap();
    let records = records(&journal).await;
    let positions: Vec<u64> = records.iter().map(|r| r.link.position).collect();
    assert_eq!(positions, (1..=records.len() as u64).collect::<Vec<_>>(), "positions are dense");
    for (position, nonce) in acknowledged {
        assert_eq!(records[*position as usize - 1].link.nonce, *nonce, "an acknowledged append stays");
    }
    let db = Connection::open(path).unwrap();
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let mut statement = db.prepare("SELECT id FROM bookings ORDER BY id").unwrap();
    let rows: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(booked.iter().all(|id| rows.binary_search(id).is_ok()), "an acknowledged booking stays");
    let said = records.iter().filter(|r| r.cause.as_str() == "booked");
    let said: Vec<&[Target]> = said.map(|r| &r.targets[..]).collect();
    let expected: Vec<[Target; 1]> = rows.iter().map(|id| [slot_target(*id)]).collect();
    assert!(
        said.iter().copied().eq(expected.iter().map(|t| &t[..])),
        "records and bookings are the same list"
    );
}

/// Answers each record it sees with one of its own, until killed.
#[test]
fn child_echoes() {
    let Some(path) = told() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let journal = SqliteJournal::open(&path).unwrap();
        let mut after: Link = journal.history(NS).await.unwrap().head;
        println!("\n> ready");
        loop {
            let page = journal.read(NS, after, 100).await.unwrap();
            for record in &page.records {
                after = record.link;
                if record.cause.as_str() == "ping" {
                    journal.append(NS, &record.targets, &Cause::from("pong")).await.unwrap();
                }
            }
            if page.records.is_empty() {
                journal.changed(NS).await;
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_on_one_file_notice_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let journal = SqliteJournal::open(&path).unwrap();
    let mut process = Process::start("child_echoes", &path);
    assert_eq!(process.line().as_deref(), Some("ready"));
    let app = Connection::open(&path).unwrap();
    let mut after = journal.history(NS).await.unwrap().head;
    for n in 0..20 {
        let target = slot_target(n);
        if n % 2 == 0 {
            journal.append(NS, std::slice::from_ref(&target), &Cause::from("ping")).await.unwrap();
        } else {
            outbox::invalidate(&app, NS, [target.clone()], "ping").unwrap();
        }
        let answered = async {
            loop {
                let page = journal.read(NS, after, 100).await.unwrap();
                let pong = page.records.iter().find(|r| r.cause.as_str() == "pong").cloned();
                match pong {
                    Some(pong) => return pong,
                    None => drop(journal.changed(NS).await),
                }
            }
        };
        let pong = tokio::time::timeout(HANG, answered).await.expect("an answer");
        assert_eq!(pong.targets, [target]);
        after = pong.link;
    }
}

/// Fills the store until killed; says what was committed.
#[test]
fn child_fills_a_store_until_killed() {
    let Some(path) = told() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&path).unwrap();
        for n in 0u32.. {
            store.put_many(vec![stored(n % 500), stored((n * 7) % 500)]).await.unwrap();
            if n % 3 == 0 {
                store.remove_many(&[(n % 450).to_be_bytes().to_vec()]).await.unwrap();
            }
            println!("\n> put {n}");
        }
    });
}

fn stored(n: u32) -> Stored {
    Stored { key: n.to_be_bytes().to_vec(), bytes: n.to_be_bytes().repeat(1_000), expires_ms: u64::MAX }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_process_was_killed_opens_and_holds_only_what_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    for round in 0..5 {
        let mut process = Process::start("child_fills_a_store_until_killed", &path);
        for _ in 0..(30 + round * 90) {
            process.line().unwrap();
        }
        process.kill();
        let store = SqliteStore::open(&path).unwrap();
        let keys: Vec<Vec<u8>> = (0..500u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let found = store.get_many(&keys).await.unwrap();
        let held = found.iter().flatten().count() as u64;
        assert!(held > 0);
        for (n, bytes) in found.into_iter().enumerate() {
            assert!(bytes.is_none_or(|bytes| bytes == stored(n as u32).bytes));
        }
        assert_eq!(store.usage().await.unwrap().0, held, "the count is right after recovery");
    }
    assert!(!dir.path().join("cache.db.damaged").exists());
}
