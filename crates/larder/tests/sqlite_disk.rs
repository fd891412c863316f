//! A disk that takes no more writes, and then does again: nothing is lost, nothing needs a restart.
//!
//! The limit on file size (`RLIMIT_FSIZE`) makes every write beyond it fail, for root too. It holds for a process, so
//! each test runs this binary again, with the signal ignored that would end it, and sets the limit there. Linux
//! only, for the command `prlimit`.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use larder::journal::SqliteJournal;
use larder::outbox;
use larder::store::SqliteStore;
use larder_core::port::{Journal, Store, Stored};
use larder_core::{Cause, Target, tag};
use rusqlite::Connection;
use std::path::PathBuf;
use std::process::Command;

const NS: &str = "booking";
const DIR: &str = "LARDER_TEST_DIR";

/// Runs a test of this file in a process of its own that survives writes over the limit.
fn run(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(DIR, dir.path())
        .status();
    assert!(status.unwrap().success(), "{test} failed in its process");
}

fn told() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Limits the size to which this process may write files; `None` lifts it.
fn limit(bytes: Option<u64>) {
    let limit = bytes.map_or("--fsize=unlimited:unlimited".to_owned(), |b| format!("--fsize={b}:unlimited"));
    let status = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

#[test]
fn child_journal() {
    let Some(dir) = told() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = dir.join("app.db");
        let journal = SqliteJournal::open(&path).unwrap();
        let app = Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE data(id INTEGER)").unwrap();
        let (targets, cause) = ([Target::tag(tag!["large", vec![7u8; 100_000]])], Cause::from("test"));
        let start = journal.history(NS).await.unwrap().head;
        let head = journal.append(NS, &targets, &cause).await.unwrap();
        for limited in [1, 65_536] {
            limit(Some(limited));
            for _ in 0..3 {
                journal.append(NS, &targets, &cause).await.expect_err("no room");
                let booking = (|| {
                    let tx = app.unchecked_transaction()?;
                    tx.execute("INSERT INTO data VALUES (1)", [])?;
                    outbox::invalidate(&tx, NS, targets.clone(), "booked").map_err(Box::new)?;
                    tx.commit()?;
                    Ok::<_, Box<dyn std::error::Error>>(())
                })();
                assert!(booking.is_err());
                // Reading goes on.
                assert_eq!(journal.history(NS).await.unwrap().head, head);
                assert_eq!(journal.read(NS, start, 10).await.unwrap().records.len(), 1);
            }
            limit(None);
        }
        let next = journal.append(NS, &targets, &cause).await.unwrap();
        assert_eq!(next.position, head.position + 1);
        outbox::invalidate(&app, NS, targets.clone(), "booked").unwrap();
        assert_eq!(journal.read(NS, start, 10).await.unwrap().records.len(), 3);
        assert_eq!(app.query_row("SELECT count(*) FROM data", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    });
}

#[test]
fn a_journal_on_a_full_disk_reads_on_and_writes_again_when_there_is_room() {
    run("child_journal");
}

#[test]
fn child_store() {
    let Some(dir) = told() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(dir.join("cache.db")).unwrap();
        let entry = |n: u32| Stored {
            key: n.to_be_bytes().to_vec(),
            bytes: vec![n as u8; 100_000],
            expires_ms: u64::MAX,
        };
        store.put_many(vec![entry(1)]).await.unwrap();
        let keys = [entry(1).key, entry(2).key];
        for limited in [1, 65_536] {
            limit(Some(limited));
            for _ in 0..3 {
                store.put_many(vec![entry(2)]).await.expect_err("no room");
                let found = store.get_many(&keys).await.unwrap();
                assert_eq!(found, [Some(entry(1).bytes), None]);
            }
            limit(None);
        }
        store.put_many(vec![entry(2)]).await.unwrap();
        assert_eq!(store.get_many(&keys).await.unwrap(), [Some(entry(1).bytes), Some(entry(2).bytes)]);
        assert_eq!(store.usage().await.unwrap().0, 2);
        store.close().await;
        assert!(!dir.join("cache.db.damaged").exists(), "a full disk is no damage");
    });
}

#[test]
fn a_store_on_a_full_disk_reads_on_and_writes_again_when_there_is_room() {
    run("child_store");
}

#[test]
fn child_opens_on_a_full_disk() {
    let Some(dir) = told() else { return };
    limit(Some(1));
    let journal = SqliteJournal::open(dir.join("app.db")).map(|_| ());
    let store = SqliteStore::open(dir.join("cache.db")).map(|_| ());
    limit(None);
    assert!(journal.unwrap_err().to_string().contains("app.db"));
    assert!(store.unwrap_err().to_string().contains("cache.db"));
    SqliteJournal::open(dir.join("app.db")).unwrap();
    SqliteStore::open(dir.join("cache.db")).unwrap();
}

#[test]
fn opening_on_a_full_disk_fails_with_the_path_and_works_later() {
    run("child_opens_on_a_full_disk");
}
