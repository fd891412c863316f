//! Queries as loaders, on the primary and on a standby that lags.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::journal::PostgresJournal;
use larder::source::{PostgresOrigin, PostgresSource};
use larder::{Cache, Error, Level, Load, Policy, Region, Segment, Segments, Source, key, outbox};
use larder_core::{Target, tag};
use larder_rig::Postgres;
use postgres_rig::{Database, NS, connect, database, until};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn free(
    region: &Region<Vec<i32>>,
    source: &PostgresSource<i32>,
    key: Segments,
) -> Result<Vec<i32>, Error> {
    let source = source.clone();
    let load = async move |load: Load<Vec<i32>>| source.rows(&load).await;
    region.get_or_load(key, load).await.map(|found| found.to_vec())
}

/// Everything there is to say of what failed.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_segments_of_a_key_are_the_parameters_of_a_query() {
    let Some(database) = database().await else { return };
    // No schema of Larder's where the rows are.
    let origin = Database::bare(database.server).await;
    let session = origin.session().await;
    let table = "CREATE TABLE v (n int, branch int, day date, who text, id uuid, raw bytea, b boolean, note text, big numeric);
        INSERT INTO v VALUES (1, -7, '2026-11-21', 'ann''s \\ \"x\"', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', true, NULL,
            340282366920938463463374607431768211455), (2, -7, '2026-11-22', '7', NULL, NULL, false, '', 0),
            (3, -7, '2026-11-22', '7', NULL, NULL, false, '', 0)";
    session.batch_execute(table).await.unwrap();
    let cache = Cache::builder(NS).build().await.unwrap();
    let policy = Policy::ttl(Duration::from_secs(60)).negative_ttl(Duration::from_secs(60));
    let region = cache.region::<Vec<i32>>("slots", policy.clone()).unwrap();
    let reads = PostgresOrigin::with_connections(&origin.url(), 1).unwrap();
    let rows = |sql: &str| {
        reads.source(format!("SELECT n FROM v WHERE {sql} ORDER BY n DESC"), |row| row.try_get::<_, i32>("n"))
    };
    let all = "branch = $1 AND day = $2 AND who = $3 AND id = $4 AND raw = $5 AND b = $6 AND note IS NOT DISTINCT FROM $7 AND big = $8";
    let one = key![
        -7,
        "2026-11-21",
        "ann's \\ \"x\"",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        [0x00_u8, 0xff],
        true,
        Segment::None,
        u128::MAX
    ];
    assert_eq!(free(&region, &rows(all), one).await.unwrap(), [1]);
    assert_eq!(free(&region, &rows("who = $1"), key!["7"]).await.unwrap(), [3, 2], "in the query's order");
    assert_eq!(free(&region, &rows("n < $1"), key![0]).await.unwrap(), [0; 0]);

    let single = cache.region::<i32>("one", policy).unwrap();
    let row = reads.source("SELECT n FROM v WHERE n >= $1", |row| row.try_get::<_, i32>(0));
    let get = async |n: i32| {
        let row = row.clone();
        single.get_or_load(key![n], async move |load| row.row(&load).await).await
    };
    assert_eq!(*get(3).await.unwrap(), 3);
    assert!(get(4).await.unwrap_err().is_absent());
    assert!(said(&get(2).await.unwrap_err()).contains("2 rows for one key"));

    // Whatever the query tries, nothing is written; whatever becomes of one, the next one finds a connection.
    let writing = reads.source("DELETE FROM v WHERE n = $1 RETURNING n", |row| row.try_get::<_, i32>(0));
    let unused = said(&free(&region, &writing, key![91, "more"]).await.unwrap_err());
    assert!(unused.contains("parameter $2"), "{unused}");
    let refused = said(&free(&region, &writing, key![91]).await.unwrap_err());
    assert!(refused.contains("read-only transaction"), "{refused}");
    let wrong = reads.source("SELECT who FROM v WHERE n = $1", |row| row.try_get::<_, i32>(0));
    assert!(said(&free(&region, &wrong, key![2]).await.unwrap_err()).contains("deserializing"));
    let slow = reads.clone().deadline(Duration::from_millis(100));
    let slow = slow.source("SELECT n FROM v, pg_sleep(20) WHERE n = $1", |row| row.try_get::<_, i32>(0));
    let began = Instant::now();
    let late = said(&free(&region, &slow, key![92]).await.unwrap_err());
    assert!(late.contains("within") || late.contains("timeout"), "{late}");
    assert_eq!(free(&region, &rows("n = $1"), key![1]).await.unwrap(), [1]);
    assert!(began.elapsed() < Duration::from_secs(10), "the query was not cancelled");
    until("the server has given it up", async || {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(20) WHERE%'
            AND pid <> pg_backend_pid()";
        session.query_one(running, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

/// A primary and a standby of it that replays when it is told to.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    session: Client,
    replay: Client,
}

impl Pair {
    async fn start() -> Option<Pair> {
        if !Postgres::is_installed() {
            return None;
        }
        let primary = Postgres::start_primary(&[("fsync", "on")]).unwrap();
        let standby = Postgres::start_standby("second", primary.address(), &[]).unwrap();
        let url = primary.url("larder", "postgres");
        larder::postgres::migrate(&url).await.unwrap();
        let session = connect(&url).await;
        let setup = "CREATE TABLE public.slots (branch int, hour int); INSERT INTO public.slots VALUES (7, 9), (8, 9);
            CREATE ROLE reader LOGIN; GRANT SELECT ON public.slots TO reader; GRANT USAGE ON SCHEMA larder TO reader;
            GRANT EXECUTE ON FUNCTION larder.shows TO reader";
        session.batch_execute(setup).await.unwrap();
        let replay = connect(&standby.url("larder", "postgres")).await;
        let pair = Pair { primary, standby, session, replay };
        until("the standby is there", async || {
            let there = pair.replay.query_one("SELECT to_regclass('public.slots') IS NOT NULL", &[]).await;
            there.is_ok_and(|row| row.get(0)) && connected(&pair.standby.url("reader", "postgres")).await
        })
        .await;
        Some(pair)
    }

    fn journal(&self) -> PostgresJournal {
        PostgresJournal::open(&self.primary.url("larder", "postgres")).unwrap()
    }

    /// The standby, by the rights it needs.
    fn source(&self, origin: impl FnOnce(PostgresOrigin) -> PostgresOrigin) -> PostgresSource<i32> {
        let standby = PostgresOrigin::open(&self.standby.url("reader", "postgres")).unwrap();
        let sql = "SELECT hour FROM public.slots WHERE branch = $1";
        origin(standby).source(sql, |row| row.try_get::<_, i32>("hour"))
    }

    async fn replays(&self, does: bool) {
        let sql = if does { "SELECT pg_wal_replay_resume()" } else { "SELECT pg_wal_replay_pause()" };
        self.replay.batch_execute(sql).await.unwrap();
        until("replay stands still, or goes on", async || {
            let state = self.replay.query_one("SELECT pg_get_wal_replay_pause_state()", &[]).await.unwrap();
            state.get::<_, &str>(0) == if does { "not paused" } else { "paused" }
        })
        .await;
    }

    /// Books the hour of branch 7, and says so in the same transaction.
    async fn book(&mut self, hour: i32) {
        let tx = self.session.transaction().await.unwrap();
        tx.execute("UPDATE public.slots SET hour = $1 WHERE branch = 7", &[&hour]).await.unwrap();
        outbox::postgres::invalidate(&tx, NS, [Target::tag(tag!["branch", 7])], "booked").await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn connected(url: &str) -> bool {
    tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok()
}

/// The story. A booking commits on the primary; the reader's node has applied its record, and loads from a standby that has not
/// replayed it. What that shows must neither be kept as new nor be returned as new, however long the standby lags.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_believed_once_it_shows_what_the_node_has_applied() {
    let Some(mut pair) = Pair::start().await else { return };
    let cache = Cache::builder(NS).journal(pair.journal()).build().await.unwrap();
    let bounded = Policy::ttl(Duration::from_secs(600)).level(Level::Bounded(Duration::from_millis(600)));
    let region = cache.region::<Vec<i32>>("slots", bounded.clone()).unwrap();
    let unchecked = cache.region::<Vec<i32>>("unchecked", bounded).unwrap();
    let patient = pair.source(|origin| origin.standby().deadline(Duration::from_secs(10)));
    let hasty = pair.source(|origin| origin.standby().deadline(Duration::from_millis(200)));
    let naive = pair.source(|origin| origin);
    let read = async |region: &Region<Vec<i32>>, source: &PostgresSource<i32>, branch: i32| {
        let source = source.clone();
        let load = async move |load: Load<Vec<i32>>| {
            load.tag(tag!["branch", branch]);
            source.rows(&load).await
        };
        region.get_or_load(key![branch], load).await.map(|found| (found.to_vec(), found.source()))
    };
    assert_eq!(read(&region, &patient, 7).await.unwrap(), (vec![9], Source::Loader));
    assert_eq!(read(&region, &patient, 7).await.unwrap(), (vec![9], Source::Memory), "kept");

    pair.replays(false).await;
    pair.book(10).await;
    cache.sync().await.unwrap();
    // The mistake, to see that the standby does lag: the old value, kept as if it were new.
    assert_eq!(read(&unchecked, &naive, 7).await.unwrap(), (vec![9], Source::Loader));
    assert_eq!(read(&unchecked, &naive, 7).await.unwrap(), (vec![9], Source::Memory));
    let held_off = said(&read(&region, &hasty, 7).await.unwrap_err());
    assert!(held_off.contains("the standby lags"), "{held_off}");
    assert!(read(&region, &hasty, 8).await.is_err(), "nobody knows which of its rows are old");
    let (waited, ()) = tokio::join!(read(&region, &patient, 7), pair.replays(true));
    assert_eq!(waited.unwrap(), (vec![10], Source::Loader));
    assert_eq!(read(&region, &hasty, 7).await.unwrap(), (vec![10], Source::Memory), "kept");

    // What this process announces without the outbox is as good.
    pair.replays(false).await;
    pair.session.batch_execute("UPDATE public.slots SET hour = 11 WHERE branch = 7").await.unwrap();
    cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap();
    assert!(read(&region, &hasty, 7).await.is_err());
    pair.replays(true).await;
    assert_eq!(read(&region, &patient, 7).await.unwrap(), (vec![11], Source::Loader));
    assert_eq!(read(&region, &hasty, 7).await.unwrap(), (vec![11], Source::Memory), "kept");

    // Without the primary nobody knows what a standby must show; unless no bound was asked for.
    let eventual = Policy::ttl(Duration::from_secs(600)).level(Level::Eventual);
    let eventual = cache.region::<Vec<i32>>("eventual", eventual).unwrap();
    pair.primary.kill();
    until("the lease has lapsed", async || read(&region, &hasty, 7).await.is_err()).await;
    let unknown = said(&read(&region, &hasty, 7).await.unwrap_err());
    assert!(unknown.contains("journal"), "{unknown}");
    assert_eq!(read(&eventual, &hasty, 7).await.unwrap().0, [11]);
}
