//! The SQLite store and its file: expiry, the size cap, damage, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use larder::store::{SqliteStore, SqliteStoreOptions};
use larder::testing::ManualClock;
use larder_core::port::{Clock, Store, Stored};
use rusqlite::Connection;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const FAR: u64 = 32_503_680_000_000;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache.db")
    }

    fn store(&self) -> SqliteStore {
        self.with(SqliteStoreOptions::default())
    }

    fn with(&self, options: SqliteStoreOptions) -> SqliteStore {
        SqliteStore::open_with(self.path(), options).unwrap()
    }

    fn aside(&self) -> PathBuf {
        self.0.path().join("cache.db.damaged")
    }

    /// In a process of its own: a file opened and closed in this one would drop SQLite's locks on it.
    fn shell(&self, script: &str) {
        let status = Command::new("sh").args(["-ec", script]).env("F", self.path()).status();
        assert!(status.unwrap().success());
    }
}

/// Only asked for housekeeping by hand.
fn by_hand() -> SqliteStoreOptions {
    SqliteStoreOptions::default().reclaim_every(Duration::from_secs(3_600))
}

fn entry(n: u32, bytes: usize, expires_ms: u64) -> Stored {
    Stored { key: n.to_be_bytes().to_vec(), bytes: vec![n as u8; bytes], expires_ms }
}

async fn put(store: &SqliteStore, numbers: std::ops::Range<u32>, bytes: usize) {
    let entries = numbers.map(|n| entry(n, bytes, FAR)).collect();
    store.put_many(entries).await.unwrap();
}

/// Which of these it holds.
async fn held(store: &SqliteStore, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let keys: Vec<Vec<u8>> = numbers.clone().map(|n| n.to_be_bytes().to_vec()).collect();
    let found = store.get_many(&keys).await.unwrap();
    numbers.zip(found).filter(|(_, found)| found.is_some()).map(|(n, _)| n).collect()
}

#[tokio::test]
async fn entries_survive_a_restart() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..100, 500).await;
    store.close().await;
    let store = dir.store();
    assert_eq!(held(&store, 0..101).await, (0..100).collect::<Vec<_>>());
    assert_eq!(store.usage().await.unwrap().0, 100);
    // Dropped, not closed.
    put(&store, 100..101, 500).await;
    drop(store);
    assert_eq!(dir.store().usage().await.unwrap().0, 101);
}

#[tokio::test]
async fn what_was_accepted_before_a_close_is_kept() {
    let dir = Dir::new();
    let store = dir.store();
    let mut pending = Vec::new();
    for n in 0..20u32 {
        let mut put = store.put_many(vec![entry(n, 10_000, FAR)]);
        match poll_once(&mut put) {
            Some(done) => done.unwrap(),
            None => pending.push(put),
        }
    }
    store.close().await;
    for put in pending {
        put.await.unwrap();
    }
    assert_eq!(dir.store().usage().await.unwrap().0, 20);
}

/// Polls once, without a waker that anybody hears.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn expired_entries_are_reclaimed_and_others_stay() {
    let dir = Dir::new();
    let clock = ManualClock::default();
    let store = dir.with(by_hand().clock(Arc::new(clock.clone())));
    let soon = clock.wall_ms() + 1_000;
    let entries = (0..1_000).map(|n| entry(n, 100, if n % 2 == 0 { soon } else { FAR }));
    store.put_many(entries.collect()).await.unwrap();
    assert_eq!(store.reclaim().await.unwrap(), 0);
    clock.advance(Duration::from_millis(1_000));
    assert_eq!(store.reclaim().await.unwrap(), 500);
    assert_eq!(held(&store, 0..1_000).await, (0..1_000).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    assert_eq!(store.usage().await.unwrap().0, 500);
}

#[tokio::test]
async fn expired_entries_are_reclaimed_in_the_background() {
    let dir = Dir::new();
    let options = SqliteStoreOptions::default().reclaim_every(Duration::from_millis(1));
    let store = dir.with(options);
    store.put_many((0..2_000).map(|n| entry(n, 100, 1)).collect()).await.unwrap();
    eventually("everything expired is gone", async || store.usage().await.unwrap().0 == 0).await;
}

#[tokio::test]
async fn an_expiry_that_a_later_put_moved_is_the_one_that_counts() {
    let dir = Dir::new();
    let clock = ManualClock::default();
    let store = dir.with(by_hand().clock(Arc::new(clock.clone())));
    let soon = clock.wall_ms() + 1_000;
    store.put_many(vec![entry(1, 10, soon), entry(2, 10, FAR)]).await.unwrap();
    store.put_many(vec![entry(1, 10, FAR), entry(2, 10, soon)]).await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(store.reclaim().await.unwrap(), 1);
    assert_eq!(held(&store, 1..3).await, [1]);
}

#[tokio::test]
async fn the_size_cap_holds_and_the_oldest_go_first() {
    const CAP: u64 = 4 << 20;
    let dir = Dir::new();
    let store = dir.with(by_hand().bytes_max(CAP));
    for n in 0..40 {
        put(&store, n * 100..(n + 1) * 100, 3_000).await;
        // Rewriting makes young again.
        put(&store, 0..1, 3_000).await;
        let (_, bytes) = store.usage().await.unwrap();
        assert!(bytes <= CAP, "{bytes} bytes in use");
    }
    let kept = held(&store, 0..4_000).await;
    assert_eq!(kept.len() as u64, store.usage().await.unwrap().0);
    assert!(kept.len() > 500, "{} entries are kept", kept.len());
    let youngest = 4_000 - (kept.len() as u32 - 1);
    assert_eq!(kept[0], 0);
    assert_eq!(kept[1..], (youngest..4_000).collect::<Vec<_>>());
    store.close().await;
    let file = std::fs::metadata(dir.path()).unwrap().len();
    assert!(file <= CAP + (1 << 20), "the file takes {file} bytes");
}

#[tokio::test]
async fn a_lower_cap_takes_effect_when_opened_again() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..3_000, 3_000).await;
    store.close().await;
    let store =
        dir.with(SqliteStoreOptions::default().bytes_max(2 << 20).reclaim_every(Duration::from_millis(1)));
    eventually("the cap holds", async || store.usage().await.unwrap().1 <= 2 << 20).await;
    assert!(held(&store, 2_999..3_000).await == [2_999]);
}

#[tokio::test]
async fn the_file_shrinks_when_what_filled_it_is_gone() {
    let dir = Dir::new();
    let store = dir.with(SqliteStoreOptions::default().reclaim_every(Duration::from_millis(1)));
    put(&store, 0..5_000, 4_000).await;
    assert!(store.usage().await.unwrap().1 > 20_000_000);
    let keys: Vec<Vec<u8>> = (0..5_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    store.remove_many(&keys).await.unwrap();
    let pages = || {
        let db = Connection::open(dir.path()).unwrap();
        db.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    eventually("most pages are given back", async || pages() < 1_000).await;
    store.close().await;
    // Whichever of the store's connections closes last decides whether SQLite writes its log back into the file at once
    // or when it is next opened. This test once depended on that.
    Connection::open(dir.path())
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .unwrap();
    let bytes = std::fs::metadata(dir.path()).unwrap().len();
    assert!(bytes < 5_000_000, "{bytes} bytes");
}

#[tokio::test]
async fn an_entry_too_large_for_the_cap_is_refused_and_nothing_of_its_batch_is_put() {
    let dir = Dir::new();
    let store = dir.with(SqliteStoreOptions::default().bytes_max(4 << 20));
    let error = store.put_many(vec![entry(1, 10, FAR), entry(2, 2 << 20, FAR)]).await.unwrap_err();
    assert!(error.to_string().contains("an entry takes 2097156 bytes; expected at most 1048576"), "{error}");
    assert_eq!(store.usage().await.unwrap().0, 0);
}

#[tokio::test]
async fn a_full_queue_refuses_puts_and_recovers() {
    let dir = Dir::new();
    let options = SqliteStoreOptions::default().queue_bytes_max(1 << 20).busy_wait(Duration::from_secs(60));
    let store = dir.with(options);
    put(&store, 0..1, 10).await;
    let blocker = Connection::open(dir.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut accepted = Vec::new();
    let refused = loop {
        let mut put = store.put_many(vec![entry(accepted.len() as u32, 100_000, FAR)]);
        match poll_once(&mut put) {
            None => accepted.push(put),
            Some(answer) => break answer.unwrap_err(),
        }
        assert!(accepted.len() < 100, "the queue is bounded");
    };
    assert!(refused.to_string().contains("not yet written"), "{refused}");
    let keys = [7u32.to_be_bytes().to_vec()];
    let mut removal = store.remove_many(&keys);
    assert!(poll_once(&mut removal).is_none(), "a removal waits for room");
    blocker.execute_batch("COMMIT").unwrap();
    assert!(!accepted.is_empty());
    for put in accepted {
        put.await.unwrap();
    }
    removal.await.unwrap();
    put(&store, 500..501, 100_000).await;
    assert_eq!(held(&store, 7..8).await, Vec::<u32>::new());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside() {
    let dir = Dir::new();
    let junk = b"no database at all ".repeat(1_000);
    for round in 0..3u8 {
        let mut junk = junk.clone();
        junk.push(round);
        std::fs::write(dir.path(), &junk).unwrap();
        let store = dir.store();
        put(&store, 0..10, 100).await;
        assert_eq!(held(&store, 0..10).await.len(), 10);
        store.close().await;
        assert_eq!(std::fs::read(dir.aside()).unwrap(), junk, "the last damaged file is kept");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(dir.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cache.db", "cache.db.damaged"], "at most one is kept");
}

#[tokio::test]
async fn a_truncated_file_is_set_aside_when_it_is_found_out() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..2_000, 1_000).await;
    store.close().await;
    let file = std::fs::OpenOptions::new().write(true).open(dir.path()).unwrap();
    file.set_len(40_960).unwrap();
    drop(file);
    let store = dir.store();
    works_again(&store).await;
    assert!(dir.aside().exists());
}

#[tokio::test]
async fn a_file_damaged_while_it_is_open_is_set_aside() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..5_000, 1_000).await;
    store.close().await;
    let store = dir.store();
    assert_eq!(held(&store, 0..1).await, [0]);
    // Everything but the first page.
    dir.shell("dd if=/dev/urandom of=$F bs=4096 seek=1 count=1500 conv=notrunc 2>/dev/null");
    works_again(&store).await;
    assert!(dir.aside().exists());
    store.close().await;
    let verdict: String = Connection::open(dir.path())
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

/// A damaged store may fail for a while, or lose everything, but never answers with bytes that were not put.
async fn works_again(store: &SqliteStore) {
    eventually("the store works again", async || {
        let keys: Vec<Vec<u8>> = (0..2_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let Ok(found) = store.get_many(&keys).await else {
            // The writer mends what a reader found, at its next step.
            let _ = store.put_many(vec![entry(9_999, 10, FAR)]).await;
            return false;
        };
        for (n, bytes) in found.into_iter().enumerate() {
            assert!(bytes.is_none_or(|bytes| bytes == vec![n as u8; 1_000]));
        }
        store.put_many((0..2_000).map(|n| entry(n, 1_000, FAR)).collect()).await.is_ok()
    })
    .await;
    assert_eq!(held(store, 0..2_000).await.len(), 2_000);
}

#[tokio::test]
async fn a_file_deleted_while_it_is_open_is_begun_anew() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..2_000, 1_000).await;
    dir.shell("rm -f $F $F-wal $F-shm");
    works_again(&store).await;
    assert!(!dir.aside().exists(), "there was nothing to set aside");
    assert!(dir.path().exists());
}

#[tokio::test]
async fn two_stores_share_one_file() {
    let dir = Dir::new();
    let clock = ManualClock::default();
    let (a, b) = (dir.with(by_hand().clock(Arc::new(clock.clone()))), dir.store());
    put(&a, 0..50, 100).await;
    put(&b, 50..100, 100).await;
    assert_eq!(held(&a, 0..100).await.len(), 100);
    assert_eq!((a.usage().await.unwrap().0, b.usage().await.unwrap().0), (100, 100));
    a.close().await;
    put(&b, 0..1, 100).await;
    assert_eq!(b.usage().await.unwrap().0, 100);
}

#[test]
fn another_applications_database_is_refused_and_left_alone() {
    let dir = Dir::new();
    let app = Connection::open(dir.path()).unwrap();
    app.execute_batch("CREATE TABLE appointments(id INTEGER); INSERT INTO appointments VALUES (7)").unwrap();
    let error = SqliteStore::open(dir.path()).err().expect("refused").to_string();
    assert!(error.contains("another application's database"), "{error}");
    assert_eq!(app.query_row("SELECT id FROM appointments", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    assert!(!dir.aside().exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = Dir::new();
    let store = dir.store();
    put(&store, 0..1, 10).await;
    store.close().await;
    Connection::open(dir.path()).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let error = SqliteStore::open(dir.path()).err().expect("refused").to_string();
    assert!(error.contains("schema version is 2; expected at most 1"), "{error}");
    assert!(!dir.aside().exists());
}

#[test]
fn a_database_that_connections_cannot_share_is_refused() {
    for path in [":memory:", "", "file:cache.db"] {
        let error = SqliteStore::open(path).err().expect("refused").to_string();
        assert!(error.contains("expected the path of a file"), "{error}");
    }
}

/// Asks again until it is so. The bound only turns a hang into a failure.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "not within 30 s: {what}");
        tokio::task::yield_now().await;
    }
}
