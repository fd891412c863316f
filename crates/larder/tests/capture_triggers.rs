//! Triggers from a mapping: whoever writes a table, what its rows feed is invalidated.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::capture::{self, CaptureState, Mapping, Table};
use larder::{Cache, Policy, Segment, Segments, Target, Tenant, key, tag};
use larder_core::{Link, Record};
use postgres_rig::{Database, NS, connect, database, head, named, read_all};
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::Client;

const TABLE: &str =
    "CREATE TABLE public.appointment (id bigint PRIMARY KEY, branch_id int, day date, note text)";

fn appointments() -> Mapping {
    Mapping::new(NS).table(
        Table::new("public", "appointment")
            .tag(["branch", "{branch_id}"])
            .key("availability", ["{branch_id}", "{day}"]),
    )
}

/// What a row of this branch and day feeds.
fn fed(branch: i32, day: &str) -> [Target; 2] {
    [Target::tag(tag!["branch", branch]), Target::key("availability", key![branch, day])]
}

struct Rig {
    database: Database<'static>,
    session: Client,
    at: Link,
}

impl Rig {
    async fn make(table: &str, mapping: &Mapping) -> Option<Rig> {
        let database = database().await?;
        let session = database.session().await;
        session.batch_execute(table).await.unwrap();
        capture::apply(&database.url(), mapping).await.unwrap();
        let at = head(&database.journal()).await;
        Some(Rig { database, session, at })
    }

    /// What these statements bring into the journal.
    async fn records(&mut self, statements: &str) -> Vec<Record> {
        self.session.batch_execute(statements).await.unwrap();
        let records = read_all(&self.database.journal(), self.at).await;
        self.at = records.last().map_or(self.at, |record| record.link);
        records
    }

    async fn targets(&mut self, statements: &str) -> HashSet<Target> {
        named(&self.records(statements).await).into_iter().collect()
    }
}

fn set(targets: impl IntoIterator<Item = Target>) -> HashSet<Target> {
    targets.into_iter().collect()
}

/// The story: somebody corrects a row in psql, and nobody tells the cache. It must notice, and say why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_changed_by_hand_invalidates_what_it_feeds_and_explain_says_so() {
    let Some(rig) = Rig::make(TABLE, &appointments()).await else { return };
    rig.session
        .batch_execute("INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')")
        .await
        .unwrap();
    let cache = Cache::builder(NS).journal(rig.database.journal()).build().await.unwrap();
    let policy = Policy::ttl(Duration::from_secs(600));
    let days = cache.region::<String>("availability", policy.clone()).unwrap();
    let branches = cache.region::<String>("branch", policy).unwrap();
    for day in ["2026-11-21", "2026-11-22"] {
        let load = async |_| Ok::<_, std::io::Error>("old".to_owned());
        days.get_or_load(key![7, day], load).await.unwrap();
    }
    let load = async |load: larder::Load<String>| {
        load.tag(tag!["branch", 7]);
        Ok::<_, std::io::Error>("old".to_owned())
    };
    branches.get_or_load(key![7], load).await.unwrap();
    let explained = days.explain(key![7, "2026-11-21"]).await.unwrap();
    assert!(explained.is_fresh() && explained.is_held(), "{explained}");

    rig.session.batch_execute("UPDATE public.appointment SET note = 'by hand' WHERE id = 1").await.unwrap();
    let explained = days.explain(key![7, "2026-11-21"]).await.unwrap();
    assert!(explained.is_invalidated(), "{explained}");
    let record = explained.record().unwrap();
    assert_eq!(record.cause.as_str(), "postgres trigger public.appointment UPDATE");
    let said =
        format!("invalidated by record {}: postgres trigger public.appointment UPDATE", record.link.position);
    assert_eq!(explained.to_string(), said);
    assert!(days.get(key![7, "2026-11-21"]).await.unwrap().is_none());
    assert!(days.get(key![7, "2026-11-22"]).await.unwrap().is_some(), "another day is another key");
    assert!(days.explain(key![7, "2026-11-22"]).await.unwrap().is_fresh());
    assert!(branches.explain(key![7]).await.unwrap().is_invalidated(), "by its tag");
    assert!(branches.get(key![7]).await.unwrap().is_none());
    let explained = days.explain(key![8, "2026-11-21"]).await.unwrap();
    assert!(!explained.is_held() && explained.record().is_none(), "{explained}");

    // What made it stale is the first record after it was born, not the last.
    rig.session.batch_execute("DELETE FROM public.appointment").await.unwrap();
    assert_eq!(days.explain(key![7, "2026-11-21"]).await.unwrap().to_string(), said);
    let load = async |_| Ok::<_, std::io::Error>("new".to_owned());
    days.get_or_load(key![7, "2026-11-21"], load).await.unwrap();
    let explained = days.explain(key![7, "2026-11-21"]).await.unwrap().to_string();
    assert!(explained.starts_with("fresh; last named by record"), "{explained}");
    assert!(explained.ends_with("public.appointment DELETE"), "{explained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_counts_as_it_was_and_as_it_is() {
    let Some(mut rig) = Rig::make(TABLE, &appointments()).await else { return };
    let first = fed(7, "2026-11-21");
    let insert = "INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')";
    assert_eq!(rig.targets(insert).await, set(first.clone()));
    let same = "UPDATE public.appointment SET note = 'y'";
    assert_eq!(rig.targets(same).await, set(first.clone()), "a column that no target reads");
    let moved = rig.records("UPDATE public.appointment SET branch_id = 8").await;
    assert_eq!(moved.len(), 1);
    assert_eq!(set(named(&moved)), set(first.into_iter().chain(fed(8, "2026-11-21"))));
    let upsert = "INSERT INTO public.appointment VALUES (1, 9, '2026-11-22', 'x'), (2, 5, '2026-11-23', 'x')
        ON CONFLICT (id) DO UPDATE SET branch_id = excluded.branch_id";
    let upserted = [fed(8, "2026-11-21"), fed(9, "2026-11-21"), fed(5, "2026-11-23")].concat();
    assert_eq!(rig.targets(upsert).await, set(upserted));
    assert_eq!(rig.targets("DELETE FROM public.appointment WHERE id = 2").await, set(fed(5, "2026-11-23")));
    assert!(rig.records("DELETE FROM public.appointment WHERE id = 2").await.is_empty(), "nothing happened");
    let undone = "BEGIN; DELETE FROM public.appointment; ROLLBACK";
    assert!(rig.records(undone).await.is_empty());
}

/// A tag can be carried by any key, so a table that was emptied leaves nothing certain; a key is below its region.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_invalidates_all_that_any_row_could_have_fed() {
    let Some(mut rig) = Rig::make(TABLE, &appointments()).await else { return };
    let all = Target::everything().within(&Tenant::common());
    let cleared = rig.targets("TRUNCATE public.appointment").await;
    assert_eq!(cleared, set([all, Target::region("availability")]));
    let keys = Table::new("public", "appointment")
        .tenant("acme")
        .key("availability", ["day", "{branch_id}", "x"])
        .prefix("reports", ["{day}"])
        .tag(["all appointments"]);
    capture::apply(&rig.database.url(), &Mapping::new(NS).table(keys.clone())).await.unwrap();
    let cleared = rig.targets("TRUNCATE public.appointment").await;
    let expected = [
        Target::prefix("availability", key!["day"]),
        Target::region("reports"),
        Target::tag(tag!["all appointments"]),
    ];
    assert_eq!(cleared, set(expected.map(|target| target.within(&Tenant::named("acme")))));
    let of_rows = Mapping::new(NS).table(keys.tenant("{note}"));
    capture::apply(&rig.database.url(), &of_rows).await.unwrap();
    assert_eq!(rig.targets("TRUNCATE public.appointment").await, set([Target::everything()]));
    let tenants = rig.targets("INSERT INTO public.appointment(id, note) VALUES (1, 'acme'), (2, NULL)").await;
    let tags =
        [Tenant::named("acme"), Tenant::common()].map(|t| Target::tag(tag!["all appointments"]).within(&t));
    assert!(tags.iter().all(|tag| tenants.contains(tag)), "{tenants:?}");
}

/// What a statement writes is bounded by what it names, not by how many rows it touches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_of_many_rows_writes_few_records_and_names_each_target_once() {
    let mapping = appointments();
    let Some(mut rig) = Rig::make(TABLE, &mapping).await else { return };
    let fill = "INSERT INTO public.appointment SELECT n, n % 10, '2026-11-21', 'x' FROM generate_series(1, 20000) AS n";
    let filled = rig.records(fill).await;
    assert_eq!((filled.len(), filled[0].targets.len()), (1, 20));
    let updated = rig.records("UPDATE public.appointment SET note = 'y'").await;
    assert_eq!((updated.len(), updated[0].targets.len()), (1, 20));
    // 14 MiB of tags.
    let table = Table::new("public", "appointment").tag(["{note}"]);
    capture::apply(&rig.database.url(), &Mapping::new(NS).table(table)).await.unwrap();
    let long = "UPDATE public.appointment SET note = repeat(id::text, 1572864) WHERE id <= 9";
    let records = rig.records(long).await;
    let tags = named(&records);
    assert_eq!((records.len(), tags.len()), (2, 10), "nine tags, and the one that the rows had before");
    assert!(records.iter().all(|record| Target::encode_many(&record.targets).len() < 12 << 20));
}

async fn refused(rig: &Rig, table: Table) -> String {
    let refused = capture::apply(&rig.database.url(), &Mapping::new(NS).table(table)).await;
    refused.expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_does_not_fit_is_refused_with_what_would() {
    let Some(rig) = Rig::make(TABLE, &appointments()).await else { return };
    let table = || Table::new("public", "appointment");
    for (wrong, says) in [
        (
            table().tag(["branch-{branch}"]),
            "tag [\"branch-{branch}\"] names column \"branch\"; expected one of: id, branch_id, day, note",
        ),
        (table().tenant("{company}").tag(["x"]), "tenant names column \"company\""),
        (Table::new("public", "appointments").tag(["x"]), "table public.appointments, which does not exist"),
        (Table::new("pg_catalog", "pg_views").tag(["x"]), "pg_views is no ordinary table"),
        (
            table().key("r", ["{branch_id"]),
            "public.appointment, key [\"r\", \"{branch_id\"]: \"{branch_id\" has a { that",
        ),
        (table().key("r", ["}"]), "closes nothing"),
        (table().key("r", ["{}"]), "without a name"),
        (table().tag(["\0"]), "NUL"),
        (table(), "feeds nothing"),
    ] {
        let message = refused(&rig, wrong).await;
        assert!(message.contains(says), "{message}");
    }
    let twice = appointments().table(table().tag(["x"]));
    assert!(twice.sql().unwrap_err().to_string().contains("mapped twice"));
    let bare = Database::bare(rig.database.server).await;
    let message = capture::apply(&bare.url(), &appointments()).await.unwrap_err().to_string();
    assert!(message.contains("run larder::postgres::migrate"), "{message}");
}

/// A name is what it is, however much it looks like SQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_quoted() {
    let names =
        [r#"Weird "" name"#, "a'b\\c;--", "$capture0$", "{brace}", "très long: ééééééééééééééééééééééé"];
    let mut mapping = Mapping::new(r#"it's "\ a namespace"#);
    let mut tables = String::from("CREATE SCHEMA \"S x\"\";\";");
    for name in names {
        let escaped = name.replace('{', "{{").replace('}', "}}");
        let column = format!("{{{name}}}");
        let table = Table::new("S x\";", name).key(format!("{name}'"), [format!("{escaped}\\'")]);
        // A column's name has no braces in a mapping.
        let table = if name.contains('{') { table } else { table.tag(["t", &column]) };
        mapping = mapping.table(table);
        let quoted = name.replace('"', "\"\"");
        tables += &format!("CREATE TABLE \"S x\"\";\".\"{quoted}\" (\"{quoted}\" text);");
    }
    let Some(mut rig) = Rig::make(&tables, &mapping).await else { return };
    let journal = rig.database.journal();
    use larder::port::Journal as _;
    let namespace = r#"it's "\ a namespace"#;
    for name in names {
        let at = journal.history(namespace).await.unwrap().head;
        let quoted = name.replace('"', "\"\"");
        assert!(rig.records(&format!("INSERT INTO \"S x\"\";\".\"{quoted}\" VALUES ('v')")).await.is_empty());
        let page = journal.read(namespace, at, 10).await.unwrap();
        let mut expected = set([Target::key(&format!("{name}'"), key![format!("{name}\\'")])]);
        if !name.contains('{') {
            expected.insert(Target::tag(tag!["t", "v"]));
        }
        assert_eq!(set(named(&page.records)), expected, "{name}");
        assert_eq!(page.records[0].cause.as_str(), format!("postgres trigger S x\";.{name} INSERT"));
    }
    let all_on = capture::list(&rig.database.url()).await.unwrap();
    assert_eq!(all_on.len(), 4 * names.len());
    assert!(
        all_on.iter().all(|one| one.state == CaptureState::On && one.namespace == namespace),
        "{all_on:?}"
    );
    capture::remove(&rig.database.url(), &mapping).await.unwrap();
    assert!(capture::list(&rig.database.url()).await.unwrap().is_empty());
}

/// A value is the segment that `key!` makes of what a driver reads of it; whatever the writer's session is set to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_the_segment_that_the_application_writes() {
    let types = "
        CREATE TYPE public.mood AS ENUM ('good', 'bad');
        CREATE DOMAIN public.small AS integer; CREATE DOMAIN public.smaller AS public.small;
        CREATE TABLE public.v (n int, i2 smallint, i4 integer, i8 bigint, num numeric, money numeric(10, 2), t text,
            vc varchar(20), ch char(5), ck \"char\", nm name, u uuid, b boolean, b2 boolean, by bytea, d date, ts timestamp, tz timestamptz,
            tz2 timestamptz, far timestamptz, tm time, iv interval, f float8, mood public.mood, dom public.smaller, js jsonb, j json,
            ar integer[], o oid, ip inet);
        CREATE TABLE public.w (n int, t text, tz timestamptz, b boolean, num numeric);";
    let columns = [
        "i2", "i4", "i8", "num", "money", "t", "vc", "ch", "ck", "nm", "u", "b", "b2", "by", "d", "ts", "tz",
        "tz2", "far", "tm", "iv", "f", "mood", "dom", "js", "j", "ar", "o", "ip",
    ];
    let all = columns
        .iter()
        .fold(Table::new("public", "v"), |table, column| table.tag([*column, &format!("{{{column}}}")]));
    let words = Table::new("public", "w").tag(["{t}-{tz}/{b}:{num}{{}}"]).key("w", ["{num}"]);
    let Some(mut rig) = Rig::make(types, &Mapping::new(NS).table(all).table(words)).await else { return };
    let insert = "SET timezone = 'Asia/Kolkata'; SET datestyle = 'German'; SET bytea_output = 'escape'; SET extra_float_digits = -15;
        SET intervalstyle = 'iso_8601';
        INSERT INTO public.v VALUES (1, -1, -300, 9007199254740993, 18446744073709551616, 7, E'é \"{}\\n', 'vc', 'ch', 'c', 'nm',
            'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', true, false, '\\x00ff', '2026-11-21', '2026-11-21 09:30', '2026-11-21 09:30:00.5+02',
            '2026-11-21 09:30:00+05:30', 'infinity', '09:30', '1 day 2 hours', 0.1, 'good', 5, '{\"a\": 1}', '[1]', '{1,2}', 42, '10.0.0.1')";
    let expected = [
        tag!["i2", -1],
        tag!["i4", -300],
        tag!["i8", 9_007_199_254_740_993_i64],
        tag!["num", 18_446_744_073_709_551_616_u128],
        tag!["money", "7.00"],
        tag!["t", "é \"{}\n"],
        tag!["vc", "vc"],
        tag!["ch", "ch   "],
        tag!["ck", "c"],
        tag!["nm", "nm"],
        tag!["u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        tag!["b", true],
        tag!["b2", false],
        tag!["by", [0x00_u8, 0xff]],
        tag!["d", "2026-11-21"],
        tag!["ts", "2026-11-21T09:30:00"],
        tag!["tz", "2026-11-21T07:30:00.5Z"],
        tag!["tz2", "2026-11-21T04:00:00Z"],
        tag!["far", "infinity"],
        tag!["tm", "09:30:00"],
        tag!["iv", "1 day 02:00:00"],
        tag!["f", "0.1"],
        tag!["mood", "good"],
        tag!["dom", 5],
        tag!["js", "{\"a\": 1}"],
        tag!["j", "[1]"],
        tag!["ar", "{1,2}"],
        tag!["o", 42],
        tag!["ip", "10.0.0.1"],
    ];
    let found = rig.targets(insert).await;
    for tag in expected {
        assert!(found.contains(&Target::tag(tag.clone())), "{tag:?} is not in {found:?}");
    }
    assert_eq!(found.len(), columns.len());
    let empty = rig.targets("DELETE FROM public.v; INSERT INTO public.v(n) VALUES (1)").await;
    for column in columns {
        assert!(empty.contains(&Target::tag(tag![column, Segment::None])), "{column}");
    }
    let rows = "INSERT INTO public.w VALUES (1, 'x', '2026-11-21 09:30:00+00', true, 7.50), (2, NULL, NULL, NULL, NULL),
        (3, '', NULL, NULL, 7.5), (4, 'y', NULL, false, 'NaN'), (5, 'y', NULL, false, 7)";
    let words = ["x-2026-11-21T09:30:00Z/true:7.50{}", "-/:{}", "-/:7.5{}", "y-/false:NaN{}", "y-/false:7{}"];
    let keys = [key!["7.50"], key![Segment::None], key!["7.5"], key!["NaN"], key![7]];
    let key = |key: Segments| Target::key("w", key);
    assert_eq!(
        rig.targets(rows).await,
        set(words.map(|word| Target::tag(tag![word])).into_iter().chain(keys.map(key)))
    );
}

/// The rows of a partitioned table, written by its name or by a partition's; and a partition that nobody told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_captured_and_new_ones_are_missed_aloud() {
    let tables = "
        CREATE TABLE public.appointment (id bigint, branch_id int, day date, note text) PARTITION BY RANGE (day);
        CREATE TABLE public.y2026 PARTITION OF public.appointment FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE TABLE public.y2027 PARTITION OF public.appointment FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')
            PARTITION BY RANGE (day);
        CREATE TABLE public.y2027a (note text, day date, branch_id int, id bigint);
        ALTER TABLE public.y2027 ATTACH PARTITION public.y2027a FOR VALUES FROM ('2027-01-01') TO ('2027-07-01');";
    let Some(mut rig) = Rig::make(tables, &appointments()).await else { return };
    let both = "INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x'), (2, 8, '2027-01-01', 'x')";
    let found = rig.records(both).await;
    assert_eq!(found.len(), 1);
    assert_eq!(set(named(&found)), set([fed(7, "2026-11-21"), fed(8, "2027-01-01")].concat()));
    let direct = rig.records("UPDATE public.y2027a SET note = 'y'").await;
    assert_eq!(set(named(&direct)), set(fed(8, "2027-01-01")));
    assert_eq!(direct[0].cause.as_str(), "postgres trigger public.y2027a UPDATE");
    let across = rig.targets("UPDATE public.appointment SET day = '2027-01-02' WHERE id = 1").await;
    assert_eq!(across, set([fed(7, "2026-11-21"), fed(7, "2027-01-02")].concat()));
    assert!(
        capture::list(&rig.database.url()).await.unwrap().iter().all(|one| one.state == CaptureState::On)
    );

    rig.session
        .batch_execute("CREATE TABLE public.y2028 PARTITION OF public.appointment DEFAULT")
        .await
        .unwrap();
    let holes = holes(&rig).await;
    assert_eq!(holes.len(), 4, "{holes:?}");
    assert!(holes.iter().all(|one| one.0 == "public.y2028" && one.2 == CaptureState::Missing), "{holes:?}");
    let seen = rig.targets("INSERT INTO public.appointment VALUES (3, 9, '2028-01-01', 'x')").await;
    assert_eq!(seen, set(fed(9, "2028-01-01")), "by the table's name it is captured all the same");
    assert!(rig.records("UPDATE public.y2028 SET note = 'z'").await.is_empty(), "the hole");
    capture::apply(&rig.database.url(), &appointments()).await.unwrap();
    assert_eq!(rig.targets("UPDATE public.y2028 SET note = 'z'").await, set(fed(9, "2028-01-01")));
}

/// What is not captured: table, operation, state.
async fn holes(rig: &Rig) -> Vec<(String, String, CaptureState)> {
    let all = capture::list(&rig.database.url()).await.unwrap().into_iter();
    all.filter(|one| one.state != CaptureState::On).map(|one| (one.table, one.operation, one.state)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_switched_off_is_said_and_applying_switches_it_on() {
    let Some(mut rig) = Rig::make(TABLE, &appointments()).await else { return };
    let hidden = "SET session_replication_role = replica; INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x');
        RESET session_replication_role";
    assert!(rig.records(hidden).await.is_empty(), "as documented");
    assert!(holes(&rig).await.is_empty(), "which nobody can see afterwards");
    let of = |operation: &str, state| ("public.appointment".to_owned(), operation.to_owned(), state);
    let name: String =
        rig.session.query_one("SELECT function::text FROM larder.captures", &[]).await.unwrap().get(0);
    let tamper = format!("ALTER TABLE public.appointment DISABLE TRIGGER {name}_update, ENABLE REPLICA TRIGGER {name}_insert;
        DROP TRIGGER {name}_delete ON public.appointment; ALTER TABLE public.appointment ENABLE ALWAYS TRIGGER {name}_truncate");
    rig.session.batch_execute(&tamper).await.unwrap();
    let expected = [
        of("DELETE", CaptureState::Missing),
        of("INSERT", CaptureState::Replica),
        of("UPDATE", CaptureState::Off),
    ];
    assert_eq!(holes(&rig).await, expected);
    capture::apply(&rig.database.url(), &appointments()).await.unwrap();
    assert!(holes(&rig).await.is_empty());
    assert_eq!(rig.targets("UPDATE public.appointment SET note = 'y'").await, set(fed(7, "2026-11-21")));

    rig.session.batch_execute("ALTER TABLE public.appointment RENAME TO renamed").await.unwrap();
    let renamed = rig.records("DELETE FROM public.renamed").await;
    assert_eq!(renamed[0].cause.as_str(), "postgres trigger public.renamed DELETE");
    rig.session.batch_execute("DROP TABLE public.renamed").await.unwrap();
    assert!(holes(&rig).await.iter().all(|hole| hole.2 == CaptureState::NoTable));
    capture::remove(&rig.database.url(), &appointments()).await.unwrap();
    assert!(holes(&rig).await.is_empty());
}

/// Another table takes the name of a mapped one, as migrations do: the triggers went away with the old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_swapped_is_a_hole_until_the_mapping_is_applied_anew() {
    let Some(rig) = Rig::make(TABLE, &appointments()).await else { return };
    let swap = "ALTER TABLE public.appointment RENAME TO appointment_old;
        CREATE TABLE public.appointment (LIKE public.appointment_old INCLUDING ALL)";
    rig.session.batch_execute(swap).await.unwrap();
    let found = holes(&rig).await;
    assert_eq!(found.len(), 4, "every operation");
    assert!(found.iter().all(|hole| hole.0 == "public.appointment" && hole.2 == CaptureState::Missing));
    capture::apply(&rig.database.url(), &appointments()).await.unwrap();
    assert!(holes(&rig).await.is_empty());
}

/// Who migrates need not own the tables: `TRIGGER` is enough, until somebody has disabled one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_make_triggers_is_enough() {
    let Some(server) = postgres_rig::shared() else { return };
    let database = Database::make(server).await;
    let session = database.session().await;
    // Of the server, and another test's perhaps.
    let _ = session.batch_execute("CREATE ROLE migrator LOGIN").await;
    let reset = format!(
        "DROP SCHEMA larder CASCADE; DROP SCHEMA IF EXISTS larder_capture CASCADE;
        GRANT CREATE ON DATABASE {} TO migrator; {TABLE}; GRANT TRIGGER ON public.appointment TO migrator",
        database.name
    );
    session.batch_execute(&reset).await.unwrap();
    let url = server.url("migrator", &database.name);
    larder::postgres::migrate(&url).await.unwrap();
    capture::apply(&url, &appointments()).await.unwrap();
    assert!(capture::list(&url).await.unwrap().iter().all(|one| one.state == CaptureState::On));
}

/// Nothing is to be done by applying again, so nobody has to wait: not even behind a transaction that writes the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_again_changes_nothing_and_waits_for_nobody() {
    let Some(mut rig) = Rig::make(TABLE, &appointments()).await else { return };
    assert_eq!(appointments().sql().unwrap(), appointments().sql().unwrap());
    let triggers = "SELECT array_agg(t.oid ORDER BY t.oid) FROM pg_trigger AS t";
    let before: Vec<u32> = rig.session.query_one(triggers, &[]).await.unwrap().get(0);
    rig.session
        .batch_execute("BEGIN; INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')")
        .await
        .unwrap();
    capture::apply(&rig.database.url(), &appointments()).await.unwrap();
    rig.database.session().await.batch_execute(&appointments().sql().unwrap()).await.unwrap();
    assert_eq!(rig.targets("COMMIT").await, set(fed(7, "2026-11-21")));
    let after: Vec<u32> = rig.session.query_one(triggers, &[]).await.unwrap().get(0);
    assert_eq!((before.len(), before), (4, after));
    // Another namespace's mapping of the same table stands beside it.
    let other = Mapping::new("other").table(Table::new("public", "appointment").tag(["x"]));
    capture::apply(&rig.database.url(), &other).await.unwrap();
    assert_eq!(rig.targets("DELETE FROM public.appointment").await, set(fed(7, "2026-11-21")));
    capture::remove(&rig.database.url(), &other).await.unwrap();
    assert_eq!(capture::list(&rig.database.url()).await.unwrap().len(), 4);
}

/// A role that may write the table, has no right to anything of Larder's, and tries to have its own code run with the rights
/// of who applied the mapping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_needs_no_rights_and_gains_none() {
    let Some(mut rig) = Rig::make(TABLE, &appointments()).await else { return };
    let role = format!("clerk_{}", rig.database.name);
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON public.appointment TO {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role};
        GRANT CREATE ON DATABASE {} TO {role}; CREATE TABLE public.ran (by text); GRANT ALL ON public.ran TO {role}",
        rig.database.name
    );
    rig.session.batch_execute(&grants).await.unwrap();
    let clerk = connect(&rig.database.server.url(&role, &rig.database.name)).await;
    let trap = |name: &str, of: &str, gives: &str| {
        format!(
            "CREATE FUNCTION {name}({of}) RETURNS {gives} LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO public.ran VALUES (current_user); RETURN NULL; END $$;"
        )
    };
    let attack = [
        "SET synchronous_commit = off;".to_owned(),
        trap("pg_temp.format", "text, anyelement", "text"),
        trap("public.format", "text, integer", "text"),
        trap("public.varint", "integer", "bytea"),
        trap("public.spy", "", "boolean"),
        "CREATE DOMAIN pg_temp.bytea AS pg_catalog.bytea CHECK (public.spy() IS NULL);".into(),
        "CREATE DOMAIN pg_temp.oid AS pg_catalog.oid CHECK (public.spy() IS NULL);".into(),
        "CREATE TEMP TABLE larder_rows (id bigint, branch_id int, day date, note text);".into(),
        "CREATE SCHEMA evil;".into(),
        trap("evil.larder_concat", "bytea, bytea", "bytea"),
        "CREATE OPERATOR evil.|| (leftarg = bytea, rightarg = bytea, function = evil.larder_concat);".into(),
        "CREATE TYPE public.mood AS ENUM ('good', 'bad');".into(),
        trap("public.as_text", "public.mood", "text"),
        "CREATE CAST (public.mood AS text) WITH FUNCTION public.as_text(public.mood) AS IMPLICIT;".into(),
        "CREATE TABLE public.moods (mood public.mood);".into(),
        "GRANT TRIGGER ON public.moods TO larder; SET search_path = evil, pg_temp, public, pg_catalog;"
            .into(),
    ];
    clerk.batch_execute(&attack.concat()).await.unwrap();
    let moods = Mapping::new(NS).table(Table::new("public", "moods").tag(["{mood}", "is {mood}"]));
    capture::apply(&rig.database.url(), &moods).await.unwrap();
    clerk.batch_execute("INSERT INTO public.appointment VALUES (1, 7, '2026-11-21', 'x')").await.unwrap();
    clerk.batch_execute("INSERT INTO public.moods VALUES ('good')").await.unwrap();
    let found = rig.targets("SELECT").await;
    assert_eq!(found, set(fed(7, "2026-11-21").into_iter().chain([Target::tag(tag!["good", "is good"])])));
    let ran: i64 = rig.session.query_one("SELECT count(*) FROM public.ran", &[]).await.unwrap().get(0);
    assert_eq!(ran, 0, "code of the clerk's ran");
    // The commit that a crash may take back is the writer's wish, and not the record's.
    let durable = "BEGIN; INSERT INTO public.appointment VALUES (2, 7, '2026-11-21', 'x')";
    clerk.batch_execute(durable).await.unwrap();
    let set: String = clerk.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(set, "local");
    clerk.batch_execute("ROLLBACK").await.unwrap();
    for forbidden in
        ["SELECT larder.capture('booking', 'x', ARRAY['\\x00'::bytea])", "SELECT * FROM larder.captured()"]
    {
        let refused = clerk.batch_execute(forbidden).await.expect_err(forbidden);
        assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
    }
}

/// Rows that go because others went, that come by COPY, by MERGE, or in a table's children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_writing_is_captured() {
    let tables = format!(
        "CREATE TABLE public.branch (id int PRIMARY KEY); INSERT INTO public.branch VALUES (7), (8); {TABLE};
        ALTER TABLE public.appointment ADD FOREIGN KEY (branch_id) REFERENCES public.branch ON DELETE CASCADE;
        CREATE TABLE public.special (extra text) INHERITS (public.appointment)"
    );
    let Some(mut rig) = Rig::make(&tables, &appointments()).await else { return };
    let copy = "COPY public.appointment FROM PROGRAM 'echo 1,7,2026-11-21,x' CSV";
    assert_eq!(rig.targets(copy).await, set(fed(7, "2026-11-21")));
    let child = "INSERT INTO public.special VALUES (2, 8, '2026-11-22', 'x', 'more')";
    assert_eq!(rig.targets(child).await, set(fed(8, "2026-11-22")));
    let both = rig.targets("UPDATE public.appointment SET note = 'y'").await;
    assert_eq!(both, set([fed(7, "2026-11-21"), fed(8, "2026-11-22")].concat()));
    let merge = "MERGE INTO public.appointment AS a USING (VALUES (1)) AS v(id) ON a.id = v.id
        WHEN MATCHED THEN UPDATE SET day = '2026-11-23'";
    let merged = [fed(7, "2026-11-21"), fed(7, "2026-11-23")].concat();
    assert_eq!(rig.targets(merge).await, set(merged));
    let gone = rig.records("DELETE FROM public.branch WHERE id = 7").await;
    assert_eq!(set(named(&gone)), set(fed(7, "2026-11-23")));
    assert_eq!(gone[0].cause.as_str(), "postgres trigger public.appointment DELETE");
}
