//! Capture by logical replication: what triggers would have named, once, and never before it is visible.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::capture::{self, Mapping, Replication, Table};
use larder::journal::PostgresJournal;
use larder::port::Journal as _;
use larder::{Target, Tenant, key, tag};
use larder_core::Record;
use larder_rig::Postgres;
use postgres_rig::{Database, NS, connect, until};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::Client;

const TABLE: &str =
    "CREATE TABLE public.appointment (id bigint PRIMARY KEY, branch_id int, day date, note text);
    ALTER TABLE public.appointment REPLICA IDENTITY FULL";

fn appointments(namespace: &str) -> Mapping {
    Mapping::new(namespace).table(
        Table::new("public", "appointment")
            .tag(["branch", "{branch_id}"])
            .key("availability", ["{branch_id}", "{day}"]),
    )
}

fn fed(branch: i32, day: &str) -> [Target; 2] {
    [Target::tag(tag!["branch", branch]), Target::key("availability", key![branch, day])]
}

fn set(targets: impl IntoIterator<Item = Target>) -> HashSet<Target> {
    targets.into_iter().collect()
}

fn shared() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    let start = || Postgres::start_with(&[("fsync", "off"), ("wal_level", "logical")]).unwrap();
    Postgres::is_installed().then(|| SERVER.get_or_init(start))
}

/// A runner, until it is dropped.
struct Running(AbortHandle);

impl Running {
    fn start(replication: Replication) -> Self {
        let replication = Arc::new(replication.pause(Duration::from_millis(10)));
        Running(tokio::spawn(async move { replication.run().await }).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Rig<'a> {
    database: Database<'a>,
    session: Client,
    journal: PostgresJournal,
}

impl<'a> Rig<'a> {
    async fn make(server: &'a Postgres, tables: &str) -> Rig<'a> {
        let database = Database::make(server).await;
        let session = database.session().await;
        session.batch_execute(tables).await.unwrap();
        let journal = database.journal();
        Rig { database, session, journal }
    }

    fn replication(&self, mapping: &Mapping) -> Replication {
        // Slots belong to the server.
        Replication::open(&self.database.url(), mapping, &format!("slot_{}", self.database.name)).unwrap()
    }

    /// All records of a namespace.
    async fn records(&self, namespace: &str) -> Vec<Record> {
        let Ok(history) = self.journal.history(namespace).await else { return Vec::new() };
        let page = self.journal.read(namespace, history.oldest, 10_000).await;
        page.map_or_else(|_| Vec::new(), |page| page.records)
    }

    /// Waits until a namespace has so many records.
    async fn has(&self, namespace: &str, n: usize) -> Vec<Record> {
        let mut records = Vec::new();
        until(&format!("{n} records of {namespace}"), async || {
            records = self.records(namespace).await;
            records.len() >= n
        })
        .await;
        records
    }
}

/// The two ways of capture say the same of every statement, whatever the types.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replication_names_what_triggers_name() {
    let Some(server) = shared() else { return };
    let rig = Rig::make(server, "
        CREATE TYPE public.mood AS ENUM ('good', 'bad'); CREATE DOMAIN public.small AS integer; CREATE DOMAIN public.smaller AS public.small;
        CREATE TABLE public.v (n int, i2 smallint, i8 bigint, num numeric, money numeric(10, 2), t text, ch char(5), u uuid,
            b boolean, by bytea, d date, ts timestamp, tz timestamptz, tm time, iv interval, f float8, mood public.mood, dom public.smaller,
            j json, ar integer[], o oid, long text) PARTITION BY LIST (n);
        CREATE TABLE public.v1 PARTITION OF public.v FOR VALUES IN (1, 2); CREATE TABLE public.v2 PARTITION OF public.v DEFAULT;
        ALTER TABLE public.v1 REPLICA IDENTITY FULL; ALTER TABLE public.v2 REPLICA IDENTITY FULL;
        ALTER TABLE public.v1 ALTER COLUMN long SET STORAGE EXTERNAL;
        CREATE TABLE public.w (a int, b text, c text, PRIMARY KEY (a, b));
        CREATE TABLE public.other (a int)").await;
    let columns = [
        "n", "i2", "i8", "num", "money", "t", "ch", "u", "b", "by", "d", "ts", "tz", "tm", "iv", "f", "mood",
        "dom", "j", "ar", "o",
    ];
    let mapping = |namespace: &str| {
        let v = columns
            .iter()
            .fold(Table::new("public", "v"), |table, column| table.tag([*column, &format!("{{{column}}}")]));
        let v = v.tenant("{t}").tag(["{t}-{tz}/{b}:{num}{{}}{ts}"]).prefix("long", ["{long}"]);
        Mapping::new(namespace)
            .table(v)
            .table(Table::new("public", "w").key("w", ["{a}", "{b}"]).tag(["all w"]))
    };
    capture::apply(&rig.database.url(), &mapping("triggers")).await.unwrap();
    let replication = rig.replication(&mapping(NS));
    replication.prepare().await.unwrap();
    let _running = Running::start(replication);
    let statements = [
        "SET timezone = 'Asia/Kolkata'; SET datestyle = 'German'; SET bytea_output = 'escape'; SET intervalstyle = 'iso_8601';
        INSERT INTO public.v VALUES (1, -1, 9007199254740993, 18446744073709551616, 7, E'é \"{}\\n', 'ch',
            'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', true, '\\x00ff', '2026-11-21', '2026-11-21 09:30', '2026-11-21 09:30:00.5+02',
            '09:30', '1 day 2 hours', 0.1, 'good', 5, '[1]', '{1,2}', 42, repeat('x', 9000))",
        "INSERT INTO public.v(n, num, b, tz, money) VALUES (2, 7.50, false, 'infinity', 1.10),
            (3, -340282366920938463463374607431768211455, NULL, '0044-03-15 12:00:00 BC', 0),
            (4, 340282366920938463463374607431768211456, true, NULL, NULL), (5, 'NaN', true, NULL, NULL), (6, 0, true, NULL, NULL)",
        "UPDATE public.v SET i2 = 7 WHERE n = 1",
        "UPDATE public.v SET n = 9 WHERE n = 1",
        "UPDATE public.v2 SET t = 'direct' WHERE n = 9",
        "INSERT INTO public.w VALUES (1, 'x', 'c'), (2, 'y', 'c')",
        "UPDATE public.w SET c = 'd'",
        "UPDATE public.w SET b = 'z' WHERE a = 1",
        "DELETE FROM public.w WHERE a = 1",
        "DELETE FROM public.v WHERE n > 2",
        "INSERT INTO public.other VALUES (1)",
        "TRUNCATE public.w",
        "TRUNCATE public.v",
        "BEGIN; INSERT INTO public.w VALUES (1, 'x', 'c'); SAVEPOINT s; INSERT INTO public.w VALUES (2, 'x', 'c'); ROLLBACK TO s; COMMIT",
        "BEGIN; INSERT INTO public.w VALUES (5, 'x', 'c'); ROLLBACK",
        "INSERT INTO public.w VALUES (8, 'x', 'c')",
    ];
    let (mut by_triggers, mut by_replication) =
        (rig.records("triggers").await.len(), rig.has(NS, 1).await.len());
    for statement in statements {
        rig.session.batch_execute(statement).await.unwrap();
        let expected = rig.records("triggers").await.split_off(by_triggers);
        by_triggers += expected.len();
        if expected.is_empty() {
            continue;
        }
        let found = rig.has(NS, by_replication + 1).await.split_off(by_replication);
        by_replication += found.len();
        let all = |records: &[Record]| set(records.iter().flat_map(|record| record.targets.clone()));
        assert!(
            all(&found) == all(&expected),
            "{statement}: {} and {} targets",
            found[0].targets.len(),
            expected[0].targets.len()
        );
        let (said, of) = (found[0].cause.as_str(), expected[0].cause.as_str());
        let (same, of_v) = (of.replace("trigger", "replication"), of.contains(".v"));
        assert!(said == same || of_v && said.starts_with("postgres replication public.v"), "{said}");
    }
    assert_eq!(rig.records(NS).await.len(), by_replication, "nothing is there twice");

    // A partition that is younger than the run: once nobody knows whose it is, and then it is known.
    let partition = "CREATE TABLE public.v3 PARTITION OF public.v FOR VALUES IN (77); ALTER TABLE public.v3 REPLICA IDENTITY FULL;
        INSERT INTO public.v3(n) VALUES (77)";
    rig.session.batch_execute(partition).await.unwrap();
    assert_eq!(rig.has(NS, by_replication + 1).await[by_replication].targets, [Target::everything()]);
    until("its sessions are made again", async || {
        rig.session.batch_execute("UPDATE public.v3 SET i2 = 5").await.unwrap();
        let records = rig.records(NS).await;
        records.last().is_some_and(|record| record.targets.contains(&Target::tag(tag!["n", 77])))
    })
    .await;
}

/// A commit is in the WAL before anybody sees it: while it waits for a synchronous standby. Invalidated by then, a reader would
/// load the old value again, and keep it as new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_nobody_sees_yet_invalidates_nothing_yet() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start_with(&[("fsync", "off"), ("wal_level", "logical")]).unwrap();
    let rig = Rig::make(&server, TABLE).await;
    let _running = Running::start(rig.replication(&appointments(NS)));
    rig.has(NS, 1).await;
    let session = rig.database.session().await;
    session.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    session.batch_execute("SELECT pg_reload_conf(); SET synchronous_commit = local").await.unwrap();
    until("commits wait", async || {
        let sql = "SELECT current_setting('synchronous_standby_names') = 'nobody'";
        session.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    let writer = rig.database.session().await;
    let writing = tokio::spawn(async move {
        writer
            .batch_execute("INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')")
            .await
            .unwrap();
    });
    until("the writer waits", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT INTO public.appointment%'";
        session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    until("it was decoded, and asked for again and again", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT larder.replicated%' AND datname = current_database()
            AND query_start > (SELECT query_start + interval '50 ms' FROM pg_stat_activity
                WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT INTO public.appointment%')";
        session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    let seen: i64 = session.query_one("SELECT count(*) FROM public.appointment", &[]).await.unwrap().get(0);
    assert_eq!((seen, rig.records(NS).await.len()), (0, 1));
    session.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    session.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    writing.await.unwrap();
    let records = rig.has(NS, 2).await;
    assert_eq!(set(records[1].targets.clone()), set(fed(7, "2026-11-21")));
    assert_eq!(records[1].cause.as_str(), "postgres replication public.appointment INSERT");
}

/// What was written while nobody ran is captured by who runs next; what was captured is not captured again, although a crash takes the
/// slot back; and a slot that the server gave up is made anew, with everything invalidated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_where_the_last_one_ended() {
    if !Postgres::is_installed() {
        return;
    }
    let server =
        Postgres::start_with(&[("fsync", "on"), ("wal_level", "logical"), ("max_slot_wal_keep_size", "1MB")])
            .unwrap();
    let rig = Rig::make(&server, TABLE).await;
    let replication = || rig.replication(&appointments(NS));
    let first = Running::start(replication());
    assert_eq!(
        rig.has(NS, 1).await[0].targets,
        [Target::everything()],
        "nobody knows what was written before"
    );
    rig.session
        .batch_execute("INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')")
        .await
        .unwrap();
    rig.has(NS, 2).await;
    drop(first);
    rig.session.batch_execute("UPDATE public.appointment SET branch_id = 8").await.unwrap();
    let (one, two) = (Running::start(replication()), Running::start(replication()));
    let both = [fed(7, "2026-11-21"), fed(8, "2026-11-21")].concat();
    assert_eq!(set(rig.has(NS, 3).await[2].targets.clone()), set(both));
    until("the slot has moved on", async || {
        replication()
            .state()
            .await
            .unwrap()
            .is_some_and(|state| state.behind_bytes < 4096 && state.wal_status != "lost")
    })
    .await;
    drop((one, two));
    server.kill();
    server.restart().unwrap();
    let session = connect(&rig.database.url()).await;
    let gone_back =
        "SELECT confirmed_flush_lsn < (SELECT lsn FROM larder.capture_slots) FROM pg_replication_slots";
    let gone_back: bool = session.query_one(gone_back, &[]).await.unwrap().get(0);
    session.batch_execute("DELETE FROM public.appointment").await.unwrap();
    let second = Running::start(replication());
    let records = rig.has(NS, 4).await;
    assert_eq!(set(records[3].targets.clone()), set(fed(8, "2026-11-21")));
    assert_eq!(records.len(), 4, "twice, or lost (the slot had gone back: {gone_back})");

    drop(second);
    until("the server has dropped what the slot needs", async || {
        let write = "SELECT pg_logical_emit_message(false, 'larder', repeat('x', 1000000)) FROM generate_series(1, 5)";
        session.batch_execute(write).await.unwrap();
        session.batch_execute("SELECT pg_switch_wal()").await.unwrap();
        session.batch_execute("CHECKPOINT").await.unwrap();
        replication().state().await.unwrap().is_some_and(|state| state.wal_status == "lost")
    })
    .await;
    session.batch_execute("INSERT INTO public.appointment VALUES (2, 9, '2026-11-21', 'x')").await.unwrap();
    let _third = Running::start(replication());
    assert_eq!(rig.has(NS, 5).await[4].targets, [Target::everything()]);
    session.batch_execute("UPDATE public.appointment SET note = 'y'").await.unwrap();
    assert_eq!(set(rig.has(NS, 6).await[5].targets.clone()), set(fed(9, "2026-11-21")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_captured_is_refused_before_it_begins() {
    let Some(server) = shared() else { return };
    let rig = Rig::make(
        server,
        "CREATE TABLE public.appointment (id bigint PRIMARY KEY, branch_id int, day date, note text)",
    )
    .await;
    let refused = async |mapping: &Mapping| rig.replication(mapping).prepare().await.unwrap_err().to_string();
    let message = refused(&appointments(NS)).await;
    assert!(
        message.contains("lacks column \"branch_id\"") && message.contains("REPLICA IDENTITY FULL"),
        "{message}"
    );
    let missing = Mapping::new(NS).table(Table::new("public", "appointment").tag(["{branch}"]));
    let message = refused(&missing).await;
    assert!(message.contains("expected one of: id, branch_id, day, note"), "{message}");
    let key = Mapping::new(NS).table(Table::new("public", "appointment").tag(["{id}"]));
    rig.replication(&key).prepare().await.unwrap();
    assert!(Replication::open(&rig.database.url(), &key, "Slot'").is_err());
    if let Some(server) = postgres_rig::shared() {
        let plain = Rig::make(server, TABLE).await;
        let message = plain.replication(&appointments(NS)).prepare().await.unwrap_err().to_string();
        assert!(message.contains("wal_level"), "{message}");
    }

    // Another identity, while it is captured: what an old row fed is then unknown, and so it is all.
    let _running = Running::start(rig.replication(&key));
    let other = "INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x'); ALTER TABLE public.appointment ALTER note SET NOT NULL;
        CREATE UNIQUE INDEX by_note ON public.appointment (note);
        ALTER TABLE public.appointment REPLICA IDENTITY USING INDEX by_note";
    rig.session.batch_execute(other).await.unwrap();
    rig.session.batch_execute("DELETE FROM public.appointment").await.unwrap();
    let records = rig.has(NS, 3).await;
    assert_eq!(records[1].targets, [Target::tag(tag![1])]);
    assert_eq!(records[2].targets, [Target::everything().within(&Tenant::common())]);
}
