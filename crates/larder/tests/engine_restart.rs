//! Restarts on real files: the journal in the application's database, the store in a file of its own. A restarted
//! process starts warm, and never serves what was invalidated while it was down, however it went down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::SqliteJournal;
use larder::store::SqliteStore;
use larder::{Cache, Load, Outcome, Policy, Region, Source, Target, key, outbox, tag};
use rig::{NS, secs};
use rusqlite::Connection;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long something that happens by itself may take before a test calls it lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// An application's database, with bookings of branches, and the cache's file beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        place.app().execute_batch("CREATE TABLE booked(branch INTEGER PRIMARY KEY, n INTEGER)").unwrap();
        place
    }

    fn app(&self) -> Connection {
        open_app(&self.0.path().join("app.db"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn cache(&self) -> Cache {
        cache_in(self.0.path()).await
    }
}

fn open_app(path: &Path) -> Connection {
    let app = Connection::open(path).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.busy_timeout(PATIENCE).unwrap();
    app
}

async fn cache_in(directory: &Path) -> Cache {
    let journal = SqliteJournal::open(directory.join("app.db")).unwrap();
    let store = SqliteStore::open(directory.join("cache.db")).unwrap();
    Cache::builder(NS).journal(journal).store(store).build().await.unwrap()
}

fn region_of(cache: &Cache) -> Region<i64> {
    cache.region("slots", policy()).unwrap()
}

fn policy() -> Policy {
    Policy::ttl(secs(3600)).level(larder::Level::Eventual)
}

/// Books once more at a branch, and says so in the same transaction.
fn book(app: &mut Connection, branch: i64) {
    let tx = app.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    write(&tx, branch);
    tx.commit().unwrap();
}

fn write(tx: &rusqlite::Transaction<'_>, branch: i64) {
    let sql = "INSERT INTO booked VALUES (?1, 1) ON CONFLICT (branch) DO UPDATE SET n = n + 1";
    tx.execute(sql, [branch]).unwrap();
    outbox::invalidate(tx, NS, [Target::tag(tag!["branch", branch])], "booked").unwrap();
}

fn booked(app: &Connection, branch: i64) -> i64 {
    let sql = "SELECT coalesce((SELECT n FROM booked WHERE branch = ?1), 0)";
    app.query_row(sql, [branch], |row| row.get(0)).unwrap()
}

async fn load(region: &Region<i64>, app: PathBuf, branch: i64) -> Outcome<i64> {
    let load = async move |load: Load<i64>| {
        load.tag(tag!["branch", branch]);
        Ok::<_, larder::Error>(booked(&open_app(&app), branch))
    };
    region.get_or_load(key![branch], load).await.unwrap()
}

#[tokio::test]
async fn a_restart_is_warm_and_misses_what_was_invalidated_while_it_was_down() {
    let place = Place::new();
    let cache = place.cache().await;
    for branch in 0..3 {
        load(&region_of(&cache), place.file("app.db"), branch).await;
    }
    cache.close().await;
    let mut app = place.app();
    book(&mut app, 1);
    let tx = app.transaction().unwrap();
    write(&tx, 2);
    tx.rollback().unwrap();

    let cache = place.cache().await;
    let region = region_of(&cache);
    let warm = region.get(key![0]).await.unwrap().unwrap();
    assert_eq!((*warm, warm.source()), (0, Source::Store(0)));
    assert!(region.get(key![1]).await.unwrap().is_none(), "booked meanwhile");
    assert!(region.get(key![2]).await.unwrap().is_some(), "rolled back: never happened");
    assert_eq!(*load(&region, place.file("app.db"), 1).await, 1);
    cache.close().await;
}

#[tokio::test]
async fn a_new_program_reads_nothing_of_the_old_ones_type() {
    let place = Place::new();
    let cache = place.cache().await;
    load(&region_of(&cache), place.file("app.db"), 0).await;
    cache.close().await;
    let cache = place.cache().await;
    let newer = cache.region::<i64>("slots", policy().schema(2)).unwrap();
    assert!(newer.get(key![0]).await.unwrap().is_none());
    cache.close().await;
}

#[tokio::test]
async fn a_write_by_another_connection_is_noticed_by_itself_and_at_once_when_asked_for() {
    let place = Place::new();
    let cache = place.cache().await;
    let region = region_of(&cache);
    let mut app = place.app();
    load(&region, place.file("app.db"), 7).await;
    book(&mut app, 7);
    cache.sync().await.unwrap();
    assert_eq!(*load(&region, place.file("app.db"), 7).await, 1);
    book(&mut app, 7);
    let began = Instant::now();
    while region.contains(key![7]).await.unwrap() {
        assert!(began.elapsed() < PATIENCE, "never noticed");
        tokio::task::yield_now().await;
    }
    cache.close().await;
}

#[tokio::test]
async fn two_processes_on_one_file_invalidate_each_other() {
    let place = Place::new();
    let (one, two) = (place.cache().await, cache_in_with_own_store(&place).await);
    let (here, there) = (region_of(&one), region_of(&two));
    load(&here, place.file("app.db"), 7).await;
    load(&there, place.file("app.db"), 7).await;
    here.invalidate(key![7]).await.unwrap();
    two.sync().await.unwrap();
    assert!(!there.contains(key![7]).await.unwrap());
    two.invalidate([Target::everything()]).await.unwrap();
    one.sync().await.unwrap();
    assert!(!here.contains(key![7]).await.unwrap());
    one.close().await;
    two.close().await;
}

async fn cache_in_with_own_store(place: &Place) -> Cache {
    let journal = SqliteJournal::open(place.file("app.db")).unwrap();
    let store = SqliteStore::open(place.file("second.db")).unwrap();
    Cache::builder(NS).journal(journal).store(store).build().await.unwrap()
}

#[tokio::test]
async fn a_database_restored_from_a_backup_makes_what_was_cached_since_a_miss() {
    // The backup knows neither the bookings made after it nor their records. Entries loaded after it hold values the
    // restored database never had; their positions will be handed out again to other records.
    let place = Place::new();
    let cache = place.cache().await;
    let mut app = place.app();
    book(&mut app, 1);
    load(&region_of(&cache), place.file("app.db"), 1).await;
    cache.close().await;
    app.execute("VACUUM INTO ?1", [place.file("backup.db").to_str()]).unwrap();
    book(&mut app, 1);
    let cache = place.cache().await;
    assert_eq!(*load(&region_of(&cache), place.file("app.db"), 1).await, 2);
    cache.close().await;
    drop(app);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(place.file(&format!("app.db{end}")));
    }
    std::fs::rename(place.file("backup.db"), place.file("app.db")).unwrap();
    // The same position as the lost record, of another branch.
    book(&mut place.app(), 9);

    let cache = place.cache().await;
    let region = region_of(&cache);
    assert!(!region.contains(key![1]).await.unwrap(), "two bookings, of which the database knows one");
    assert_eq!(*load(&region, place.file("app.db"), 1).await, 1);
    assert!(region.contains(key![1]).await.unwrap());
    cache.close().await;
}

/// The same old copy is restored twice. The first time the node notices, and begins another history; the second time
/// the journal is back in the one that it had left. It adopted that again, and with it what a store still held of before
/// the record that was lost.
#[tokio::test]
async fn a_history_that_was_left_is_never_adopted_again() {
    let place = Place::new();
    let cache = cache_in_with_own_store(&place).await;
    let region = region_of(&cache);
    book(&mut place.app(), 1);
    cache.sync().await.unwrap();
    load(&region, place.file("app.db"), 1).await;
    let began = Instant::now();
    while cache.stats().stores[0].counts.puts == 0 {
        assert!(began.elapsed() < PATIENCE, "the store has it");
        tokio::task::yield_now().await;
    }
    place.app().execute("VACUUM INTO ?1", [place.file("backup.db").to_str()]).unwrap();
    let first = cache.stats().journal.epoch;
    book(&mut place.app(), 1);
    cache.sync().await.unwrap();
    let mut seen = vec![first];
    for _ in 0..2 {
        std::fs::copy(place.file("backup.db"), place.file("copy.db")).unwrap();
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(place.file(&format!("app.db{end}")));
        }
        std::fs::rename(place.file("copy.db"), place.file("app.db")).unwrap();
        cache.sync().await.unwrap();
        let epoch = cache.stats().journal.epoch;
        assert!(!seen.contains(&epoch), "{seen:?} and again {epoch}");
        seen.push(epoch);
        assert!(!region.contains(key![1]).await.unwrap(), "a record that is lost had named it");
    }
    cache.close().await;
}

/// A branch nobody books at.
const QUIET: i64 = 100;

/// Not a test of its own: the process that the next test kills. Books and reads at random until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os("LARDER_KILLED_IN").map(PathBuf::from) else { return };
    let cache = cache_in(&directory).await;
    load(&region_of(&cache), directory.join("app.db"), QUIET).await;
    cache.close().await;
    let cache = cache_in(&directory).await;
    let region = region_of(&cache);
    let mut app = open_app(&directory.join("app.db"));
    for n in 0_i64.. {
        let branch = n * 7 % 10;
        book(&mut app, branch);
        for branch in 0..10 {
            load(&region, directory.join("app.db"), branch).await;
        }
        println!("booked {n}");
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_leaves_files_that_open_and_nothing_invalidated_behind() {
    for round in 0..3 {
        let place = Place::new();
        let mut killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env("LARDER_KILLED_IN", place.0.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        let booked_line = |line: &Result<String, std::io::Error>| line.as_ref().unwrap().contains("booked");
        assert!(lines.filter(booked_line).nth(20 + round).is_some(), "it ran");
        killed.kill().unwrap();
        killed.wait().unwrap();

        // What was booked after the crash, by somebody else, counts too.
        let mut app = place.app();
        book(&mut app, 3);
        let cache = place.cache().await;
        let region = region_of(&cache);
        for branch in 0..10 {
            if let Some(hit) = region.get(key![branch]).await.unwrap() {
                assert_eq!(*hit, booked(&app, branch), "round {round}: branch {branch} is stale");
            }
        }
        assert!(!region.contains(key![3]).await.unwrap());
        assert!(
            region.contains(key![QUIET]).await.unwrap(),
            "round {round}: what was safe in the store is lost"
        );
        cache.close().await;
    }
}
