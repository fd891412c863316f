//! A process that is stopped and resumed. While it stood still, another one wrote and more time than its bound went by;
//! its readers run on before its follower does. A clock kept by a thread, or one that does not count the pause, shows
//! them a lease that still holds, and they serve the old value.
//!
//! Only comparisons of moments decide; how long anything takes does not matter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use larder::journal::SqliteJournal;
use larder::{Cache, Level, Load, Policy, Target, key, outbox, tag};
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NS: &str = "booking";
const BOUND: Duration = Duration::from_millis(150);
const ROUNDS: u64 = 8;
const READERS: usize = 3;

fn open(directory: &Path) -> Connection {
    let app = Connection::open(directory.join("app.db")).unwrap();
    app.busy_timeout(Duration::from_secs(20)).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("CREATE TABLE IF NOT EXISTS booked(n INTEGER)").unwrap();
    app
}

fn booked(app: &Connection) -> u64 {
    let n: i64 = app.query_row("SELECT count(*) FROM booked", [], |row| row.get(0)).unwrap();
    n.unsigned_abs()
}

/// The clock both processes share.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Reads without a pause; says when the last read of each version began.
async fn read_on(region: larder::Region<u64>, directory: PathBuf) {
    let mut last: Option<(u64, Duration)> = None;
    loop {
        let began = now();
        let directory = directory.clone();
        let load = async move |load: Load<u64>| {
            load.tag(tag!["booked"]);
            Ok::<_, larder::Error>(booked(&open(&directory)))
        };
        let version = *region.get_or_load(key![1], load).await.unwrap();
        match last {
            None => println!("ready"),
            Some((before, at)) if before != version => println!("read {before} {}", at.as_nanos()),
            Some(_) => {}
        }
        last = Some((version, began));
        tokio::task::yield_now().await;
    }
}

/// Not a test of its own: the process that the next test stops and resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_stopped() {
    let Some(directory) = std::env::var_os("LARDER_STOPPED_IN").map(PathBuf::from) else { return };
    let journal = SqliteJournal::open(directory.join("app.db")).unwrap();
    let cache = Cache::builder(NS).journal(journal).build().await.unwrap();
    let region =
        cache.region("slots", Policy::ttl(Duration::from_secs(3600)).level(Level::Bounded(BOUND))).unwrap();
    let readers: Vec<_> =
        (0..READERS).map(|_| tokio::spawn(read_on(region.clone(), directory.clone()))).collect();
    for reader in readers {
        reader.await.unwrap();
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_resumed_process_serves_nothing_older_than_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = open(directory.path());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_stopped", "--nocapture"])
        .env("LARDER_STOPPED_IN", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().filter(|line| line.contains("ready")).take(READERS).count(), READERS);
    // When each version was acknowledged; version 0 was there from the beginning.
    let mut acknowledged = vec![now()];
    let mut judged = 0;
    for round in 0..ROUNDS {
        signal(&child, "-STOP");
        let tx = app.transaction().unwrap();
        tx.execute("INSERT INTO booked VALUES (1)", []).unwrap();
        outbox::invalidate(&tx, NS, [Target::tag(tag!["booked"])], "booked").unwrap();
        tx.commit().unwrap();
        acknowledged.push(now());
        // Every other time for longer than the lease.
        let pause = if round % 2 == 0 { BOUND * 2 } else { BOUND / 4 };
        while now() < acknowledged[round as usize + 1] + pause {
            std::thread::yield_now();
        }
        signal(&child, "-CONT");
        // Each reader tells when it last read the version before.
        for _ in 0..READERS {
            let line = lines.find(|line| line.contains("read ")).expect("a reader's word");
            let words: Vec<u128> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            let (version, began) = (words[0] as usize, words[1]);
            let limit = (acknowledged[version + 1] + BOUND).as_nanos();
            assert!(began < limit, "round {round}: version {version} was read {} ns too late", began - limit);
            judged += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(judged, READERS as u64 * ROUNDS);
}
