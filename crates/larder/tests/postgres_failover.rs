//! A primary with a standby behind a proxy, an application's table, and a cache that follows whoever takes writes: what is
//! served after a failover, and while a part of it stands still.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::journal::PostgresJournal;
use larder::port::Journal;
use larder::{Cache, Level, Load, Outcome, Policy, Region, key, outbox};
use larder_core::{Target, tag};
use larder_rig::{Postgres, Proxy};
use postgres_rig::{NS, connect, until};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const BOUND: Duration = Duration::from_millis(600);

/// A primary, and one standby that hears of it through a proxy.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    way: Proxy,
}

impl Pair {
    /// `synchronous`: commits wait for the standby.
    async fn start(synchronous: bool) -> Option<Pair> {
        if !Postgres::is_installed() {
            return None;
        }
        let primary = Postgres::start_primary(&[("fsync", "on")]).unwrap();
        let way = Proxy::start(primary.address()).unwrap();
        let standby = Postgres::start_standby("second", way.address(), &[("fsync", "on")]).unwrap();
        let pair = Pair { primary, standby, way };
        larder::postgres::migrate(&pair.primary_url()).await.unwrap();
        let session = connect(&pair.primary_url()).await;
        session
            .batch_execute("CREATE TABLE slots (id bigint PRIMARY KEY, holder bigint NOT NULL)")
            .await
            .unwrap();
        session.batch_execute("INSERT INTO slots SELECT n, 0 FROM generate_series(1, 9) AS n").await.unwrap();
        if synchronous {
            session.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'second'").await.unwrap();
            session.batch_execute("SELECT pg_reload_conf()").await.unwrap();
            until("commits wait", async || {
                let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
                session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
            })
            .await;
        }
        pair.caught_up().await;
        Some(pair)
    }

    fn primary_url(&self) -> String {
        self.primary.url("larder", "postgres")
    }

    /// Both, as a service names them, in any order.
    fn url(&self) -> String {
        format!("postgres://larder@{},{}/postgres", self.standby.address(), self.primary.address())
    }

    /// Until the standby has all that the primary has.
    async fn caught_up(&self) {
        let (primary, standby) =
            (connect(&self.primary_url()).await, connect(&self.standby.url("larder", "postgres")).await);
        until("the standby has caught up", async || {
            let sent: String =
                primary.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap().get(0);
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{sent}'::pg_lsn");
            standby.query_one(&sql, &[]).await.unwrap().get(0)
        })
        .await;
    }

    async fn cache(&self) -> (Cache, Region<i64>) {
        let journal = PostgresJournal::open(&self.url()).unwrap();
        let cache = Cache::builder(NS).journal(journal).build().await.unwrap();
        let slots = cache
            .region("slots", Policy::ttl(Duration::from_secs(600)).level(Level::Bounded(BOUND)))
            .unwrap();
        (cache, slots)
    }

    /// Both, with the primary first: an application's connection waits for whoever stands still.
    fn app_url(&self) -> String {
        let (primary, standby) = (self.primary.address(), self.standby.address());
        format!("postgres://larder@{primary},{standby}/postgres?target_session_attrs=read-write")
    }

    /// Of whoever takes writes.
    async fn session(&self) -> Result<Client, tokio_postgres::Error> {
        open(&self.app_url()).await
    }
}

async fn open(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn of(slot: i64) -> Target {
    Target::tag(tag!["slot", slot])
}

/// Gives a slot to somebody, with the record in the same transaction.
async fn book(session: &mut Client, slot: i64, holder: i64) -> Result<(), tokio_postgres::Error> {
    let tx = session.transaction().await?;
    tx.execute("UPDATE slots SET holder = $2 WHERE id = $1", &[&slot, &holder]).await?;
    outbox::postgres::invalidate(&tx, NS, [of(slot)], "booked").await.unwrap();
    tx.commit().await
}

async fn read(pair: &Pair, slots: &Region<i64>, slot: i64) -> Result<Outcome<i64>, larder::Error> {
    let url = pair.app_url();
    let load = async move |load: Load<i64>| {
        load.tag(tag!["slot", slot]);
        let session = open(&url).await?;
        let row = session.query_one("SELECT holder FROM slots WHERE id = $1", &[&slot]).await?;
        Ok::<i64, tokio_postgres::Error>(row.get(0))
    };
    slots.get_or_load(key![slot], load).await
}

async fn read_when_answered(pair: &Pair, slots: &Region<i64>, slot: i64) -> i64 {
    let mut found = None;
    until("there is an answer", async || {
        found = read(pair, slots, slot).await.ok().map(|outcome| *outcome);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// What was acknowledged, cached, and then lost with the primary is not there any more: a cache that goes on serving it sells
/// what nobody has bought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_has_lost_is_not_served_any_more() {
    let Some(pair) = Pair::start(false).await else { return };
    let (cache, slots) = pair.cache().await;
    let mut session = pair.session().await.unwrap();
    book(&mut session, 1, 10).await.unwrap();
    assert_eq!(*read(&pair, &slots, 9).await.unwrap(), 0, "it has a lease from here on");
    let token = cache.token().await.unwrap();
    pair.caught_up().await;
    pair.way.swallow(true);
    book(&mut session, 1, 11).await.unwrap();
    // Most often before this node has applied the record: then no position of its own is missing from what is left.
    let served = read(&pair, &slots, 1).await.unwrap();
    assert_eq!(*served, 11);
    pair.primary.kill();
    pair.standby.promote().unwrap();
    let promoted = Instant::now();
    until(
        "the lost write is forgotten",
        async || matches!(read(&pair, &slots, 1).await, Ok(outcome) if *outcome == 10),
    )
    .await;
    // The lease of before may have lasted that long; what a connection takes to be made again is this machine's affair.
    assert!(promoted.elapsed() < BOUND + Duration::from_secs(10), "{:?}", promoted.elapsed());
    // And nobody serves it from then on, nor takes its place in the old history for one in this.
    assert_eq!(*read(&pair, &slots, 1).await.unwrap(), 10);
    let reached = cache.reach(&token).await.unwrap();
    assert_eq!(*read(&pair, &slots, 1).await.unwrap(), 10, "{reached:?}");
    // The new primary takes writes, and they arrive.
    let mut session = pair.session().await.unwrap();
    book(&mut session, 1, 12).await.unwrap();
    cache.sync().await.unwrap();
    assert_eq!(*read(&pair, &slots, 1).await.unwrap(), 12);
}

/// With a synchronous standby nothing acknowledged is lost, and the node that lived through it needs nobody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_without_loss_keeps_what_was_acknowledged() {
    let Some(pair) = Pair::start(true).await else { return };
    let (cache, slots) = pair.cache().await;
    let mut session = pair.session().await.unwrap();
    for holder in 20..30 {
        assert_ne!(read_when_answered(&pair, &slots, 2).await, holder);
        book(&mut session, 2, holder).await.unwrap();
    }
    pair.primary.kill();
    pair.standby.promote().unwrap();
    // The standby of before waits for no standby.
    until("the journal is followed again", async || cache.sync().await.is_ok()).await;
    assert_eq!(read_when_answered(&pair, &slots, 2).await, 29);
    let mut session = pair.session().await.unwrap();
    book(&mut session, 2, 30).await.unwrap();
    cache.sync().await.unwrap();
    assert_eq!(*read(&pair, &slots, 2).await.unwrap(), 30);
}

/// Commits hang, and whoever gives up leaves a row that is committed on the primary alone. Readers go on: leases do not wait for
/// standbys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_that_stands_still_stops_writers_and_no_reader() {
    let Some(pair) = Pair::start(true).await else { return };
    let (cache, slots) = pair.cache().await;
    let mut session = pair.session().await.unwrap();
    assert_eq!(*read(&pair, &slots, 3).await.unwrap(), 0);
    pair.standby.freeze();
    let cancel = session.cancel_token();
    let writing = tokio::spawn(async move { book(&mut session, 3, 31).await });
    let watching = pair.session().await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting = async || watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0);
    until("the commit waits", async || waiting().await == 1).await;
    cache.sync().await.unwrap();
    assert_eq!(*read(&pair, &slots, 3).await.unwrap(), 0, "not visible yet");
    // The writer's patience is over: a commit that is here, and perhaps nowhere else.
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    writing.await.unwrap().unwrap();
    let began = Instant::now();
    cache.sync().await.unwrap();
    assert_eq!(*read(&pair, &slots, 3).await.unwrap(), 31);
    assert!(began.elapsed() < Duration::from_secs(3), "no lease waited: {:?}", began.elapsed());
    // Nor does an invalidation without a transaction: it holds the lock that all who put rows into order need.
    cache.invalidate([of(3)]).await.unwrap();
    cache.sync().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "no record waited: {:?}", began.elapsed());
    assert_eq!(waiting().await, 0, "nor does anybody of ours");
    pair.standby.thaw();
    pair.caught_up().await;
}

/// The primary stands still for three bounds: what was cached is served for as long as a lease lasts, then nothing is; and when it
/// goes on, so does everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stands_still_is_waited_for_and_never_guessed_at() {
    let Some(pair) = Pair::start(false).await else { return };
    let (cache, slots) = pair.cache().await;
    let mut session = pair.session().await.unwrap();
    assert_eq!(*read(&pair, &slots, 4).await.unwrap(), 0);
    pair.primary.freeze();
    let frozen = Instant::now();
    until("nothing is served from memory", async || {
        slots.get(key![4]).await.is_ok_and(|found| found.is_none())
    })
    .await;
    until("three bounds are over", async || frozen.elapsed() > 3 * BOUND).await;
    assert!(slots.get(key![4]).await.unwrap().is_none(), "nobody has renewed the lease");
    pair.primary.thaw();
    book(&mut session, 4, 41).await.unwrap();
    until("it is followed again", async || cache.sync().await.is_ok()).await;
    assert_eq!(read_when_answered(&pair, &slots, 4).await, 41);
}

/// Sessions that put the outbox into order are ended again and again, in the middle of it: every record is there once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequencers_that_are_ended_at_any_step_lose_and_repeat_nothing() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start_with(&[("fsync", "on")]).unwrap();
    let database = postgres_rig::Database::make(&server).await;
    let (journal, other) = (database.journal(), database.journal());
    let start = postgres_rig::head(&journal).await;
    let mut writer = database.session().await;
    let killer = database.session().await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'larder' AND pid <> pg_backend_pid()";
    const RECORDS: u64 = 300;
    let writing = tokio::spawn(async move {
        for n in 0..RECORDS {
            let tx = writer.transaction().await.unwrap();
            tx.batch_execute(&postgres_rig::call(n)).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    let mut ended = 0;
    while !writing.is_finished() {
        let (_, _, killed) =
            tokio::join!(journal.history(NS), other.read(NS, start, 10), killer.query_one(kill, &[]));
        ended += killed.unwrap().get::<_, i64>(0);
    }
    writing.await.unwrap();
    assert!(ended > 10, "sessions were ended: {ended}");
    until("it answers", async || journal.history(NS).await.is_ok()).await;
    let records = postgres_rig::read_all(&journal, start).await;
    assert_eq!(postgres_rig::named(&records), (0..RECORDS).map(postgres_rig::target).collect::<Vec<_>>());
    let positions = records.iter().map(|record| record.link.position);
    assert!(positions.eq(start.position + 1..=start.position + RECORDS), "dense");
}
