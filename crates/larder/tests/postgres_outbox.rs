//! What applications call inside of their transactions: from Rust, and from any language.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::port::Journal;
use larder::{Cache, Load, Policy, outbox};
use larder_core::{Act, Cause, IntentId, Segments, Target, Tenant, key, tag};
use postgres_rig::{NS, call, connect, database, head, named, read_all, target, until, wait, with_roles};
use proptest::prelude::*;
use std::convert::Infallible;
use std::time::Duration;
use tokio_postgres::IsolationLevel;

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Int(i128),
    Large(u128),
    Bool(bool),
}

impl Part {
    fn json(&self) -> String {
        match self {
            Part::Text(text) => serde_json::to_string(text).unwrap(),
            Part::Int(n) => n.to_string(),
            Part::Large(n) => n.to_string(),
            Part::Bool(b) => b.to_string(),
        }
    }
}

fn segments(parts: &[Part]) -> Segments {
    let mut builder = Segments::builder();
    for part in parts {
        builder = match part {
            Part::Text(text) => builder.with(text.as_str()),
            Part::Int(n) => builder.with(*n),
            Part::Large(n) => builder.with(*n),
            Part::Bool(b) => builder.with(*b),
        };
    }
    builder.finish()
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        // Postgres' texts have no NUL.
        "[^\\x00]{0,40}".prop_map(Part::Text),
        (0usize..20_000).prop_map(|n| Part::Text("é".repeat(n))),
        any::<i128>().prop_map(Part::Int),
        any::<i16>().prop_map(|n| Part::Int(n.into())),
        (0u32..128).prop_map(|shift| Part::Large(1u128 << shift)),
        (0u32..128).prop_map(|shift| Part::Int(-(1i128 << shift.min(126)))),
        any::<u128>().prop_map(Part::Large),
        any::<bool>().prop_map(Part::Bool),
    ]
}

fn list(parts: &[Part], first: Option<&str>) -> String {
    let first = first.map(|text| serde_json::to_string(text).unwrap());
    let all: Vec<String> = first.into_iter().chain(parts.iter().map(Part::json)).collect();
    format!("[{}]", all.join(","))
}

/// What SQL encodes is what Rust encodes, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_names_targets_as_rust_does() {
    let Some(database) = database().await else { return };
    let (journal, session) = (database.journal(), database.session().await);
    let at = std::cell::Cell::new(head(&journal).await);
    let lists = prop::collection::vec(prop::collection::vec(part(), 0..5), 1..4);
    let case = (lists, "[^\\x00]{0,12}", prop::option::of("[^\\x00]{0,12}"), any::<bool>());
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let sql = "SELECT larder.invalidate($1, $2::text::jsonb, $3::text::jsonb, $4::text::jsonb, $5, $6, $7)";
    let checked = runner.run(&case, |(lists, region, tenant, everything)| {
        let json = |first: Option<&str>| {
            format!("[{}]", lists.iter().map(|parts| list(parts, first)).collect::<Vec<_>>().join(","))
        };
        let (tags, keys) = (json(None), json(Some(&region)));
        let mut expected: Vec<Target> = Vec::new();
        expected.extend(lists.iter().map(|parts| Target::tag(larder_core::Tag::new(segments(parts)))));
        expected.extend(lists.iter().map(|parts| Target::key(&region, segments(parts))));
        expected.extend(lists.iter().map(|parts| Target::prefix(&region, segments(parts))));
        expected.extend(everything.then(Target::everything));
        if let Some(tenant) = &tenant {
            let tenant = Tenant::named(tenant.as_str());
            expected = expected.iter().map(|target| target.within(&tenant)).collect();
        }
        let records = wait(async {
            session.execute(sql, &[&NS, &tags, &keys, &keys, &everything, &tenant, &"why"]).await.unwrap();
            read_all(&journal, at.get()).await
        });
        at.set(records.last().unwrap().link);
        prop_assert_eq!(&records[0].targets, &expected);
        prop_assert_eq!(records[0].cause.as_str(), "why");
        prop_assert_eq!(records.len(), 1);
        Ok(())
    });
    checked.unwrap();
}

/// Where a length takes one byte more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_writes_every_length_as_rust_does() {
    let Some(database) = database().await else { return };
    let session = database.session().await;
    let around = |n: i32| n - 12..n + 2;
    for length in around(128).chain(around(16_384)).chain(around(2_097_152)) {
        let sql = "SELECT larder.target(3, NULL, NULL, to_jsonb(repeat('x', $1)))";
        let encoded: Vec<u8> = session.query_one(sql, &[&length]).await.unwrap().get(0);
        let expected = [Target::tag(tag!["x".repeat(length as usize)])];
        assert!(encoded == Target::encode_many(&expected), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_named_is_refused_and_nothing_is_nothing() {
    let Some(database) = database().await else { return };
    let (journal, session) = (database.journal(), database.session().await);
    let start = head(&journal).await;
    for (wrong, says) in [
        ("tags => '{}'", "JSON arrays"),
        ("tags => '[[1.5]]'", "not whole"),
        ("tags => '[[340282366920938463463374607431768211456]]'", "128 bits"),
        ("tags => '[[{}]]'", "an object"),
        ("keys => '[[7]]'", "its region"),
        ("keys => '[[]]'", "its region"),
        ("tags => NULL", "null"),
    ] {
        let error = session.batch_execute(&format!("SELECT larder.invalidate('booking', {wrong})")).await;
        let error = error.expect_err(wrong);
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains(says), "{wrong}: {message}");
    }
    session.batch_execute("SELECT larder.invalidate('booking')").await.unwrap();
    outbox::postgres::invalidate(&session, NS, [], "nothing").await.unwrap();
    assert_eq!(head(&journal).await, start);
    // Short forms.
    session
        .batch_execute("SELECT larder.invalidate('booking', tags => '[\"vip\"]', prefixes => '[\"slots\"]')")
        .await
        .unwrap();
    let expected = [Target::tag(tag!["vip"]), Target::region("slots")];
    assert_eq!(named(&read_all(&journal, start).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_from_rust_lives_and_dies_with_its_transaction() {
    let Some(database) = database().await else { return };
    let (journal, mut session) = (database.journal(), database.session().await);
    let start = head(&journal).await;
    let tx = session.transaction().await.unwrap();
    outbox::postgres::invalidate(&tx, NS, [target(1)], "lost").await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = session.transaction().await.unwrap();
    outbox::postgres::invalidate(&tx, NS, [target(2), Target::everything()], "kept '\0").await.unwrap();
    let savepoint = tx.savepoint("s").await.unwrap();
    outbox::postgres::invalidate(&savepoint, NS, [target(3)], "lost").await.unwrap();
    savepoint.rollback().await.unwrap();
    tx.commit().await.unwrap();
    let records = read_all(&journal, start).await;
    assert_eq!(named(&records), [target(2), Target::everything()]);
    assert_eq!(records[0].cause.as_str(), "kept '\0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_targets_are_one_record_and_too_many_bytes_are_refused() {
    let Some(database) = database().await else { return };
    let (journal, session) = (database.journal(), database.session().await);
    let start = head(&journal).await;
    let targets: Vec<Target> = (0..100_000).map(target).collect();
    outbox::postgres::invalidate(&session, NS, targets.clone(), "many").await.unwrap();
    let records = read_all(&journal, start).await;
    assert_eq!(named(&records), targets);
    let sql = "SELECT larder.invalidate('booking', tags =>
                   (SELECT jsonb_agg(jsonb_build_array('n', n) ORDER BY n) FROM generate_series(0, 9999) AS n))";
    session.batch_execute(sql).await.unwrap();
    assert_eq!(named(&read_all(&journal, records[0].link).await), targets[..10_000]);

    let huge = Target::key("region", Segments::builder().with(vec![7u8; 17 << 20]).finish());
    let error = outbox::postgres::invalidate(&session, NS, [huge], "huge").await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("16777216"), "{error}");
    let sql = "SELECT larder.invalidate('booking', tags => jsonb_build_array(repeat('x', 17000000)))";
    let error = session.batch_execute(sql).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("16777216"), "{error}");
}

/// A transaction whose loss nobody would notice is made one whose commit is on disk; others are left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_may_be_lost_is_made_durable() {
    let Some(database) = database().await else { return };
    let session = database.session().await;
    for (set, then) in [("off", "local"), ("on", "on"), ("remote_write", "remote_write")] {
        session
            .batch_execute(&format!("BEGIN; SET LOCAL synchronous_commit = {set}; {}", call(1)))
            .await
            .unwrap();
        let now: String = session.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
        session.batch_execute("COMMIT").await.unwrap();
        assert_eq!(now, then);
    }
    let after: String = session.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(after, "on");
}

/// The price of a hint in each transaction would be that commits wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_running_cache_is_invalidated_by_plain_sql() {
    let Some(database) = database().await else { return };
    let session = database.session().await;
    let cache = Cache::builder(NS).journal(database.journal()).build().await.unwrap();
    let slots = cache.region::<u32>("slots", Policy::ttl(Duration::from_secs(600))).unwrap();
    let load = async |load: Load<_>| {
        load.tag(tag!["branch", 7]);
        Ok::<_, Infallible>(9)
    };
    for hint in ["", "; NOTIFY larder"] {
        slots.get_or_load(key![1], load).await.unwrap();
        assert!(slots.get(key![1]).await.unwrap().is_some());
        let sql = format!("SELECT larder.invalidate('booking', tags => '[[\"branch\", 7]]'){hint}");
        session.batch_execute(&sql).await.unwrap();
        until("it is gone", async || slots.get(key![1]).await.unwrap().is_none()).await;
    }
    // Whoever cannot wait for the next renewal asks.
    slots.get_or_load(key![1], load).await.unwrap();
    let targets = [Target::tag(tag!["branch", 7])];
    outbox::postgres::invalidate(&session, NS, targets, "booked").await.unwrap();
    cache.sync().await.unwrap();
    assert!(slots.get(key![1]).await.unwrap().is_none());
    cache.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_write_is_ended_by_the_commit_of_its_transaction() {
    let Some(database) = database().await else { return };
    let (journal, mut session) = (database.journal(), database.session().await);
    let intent = IntentId::new(u64::MAX - 1);
    let opens = Act::Open { intent, lasts: Duration::from_secs(60) };
    journal.record(NS, opens, &[target(1)], &Cause::default()).await.unwrap();
    let open = journal.history(NS).await.unwrap().open;
    for commits in [false, true] {
        let tx = session.transaction().await.unwrap();
        outbox::postgres::commit(&tx, NS, &open[0], "booked").await.unwrap();
        assert_eq!(journal.history(NS).await.unwrap().open, open);
        if commits { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
    }
    let history = journal.history(NS).await.unwrap();
    assert!(history.open.is_empty());
    let records = read_all(&journal, history.oldest).await;
    assert_eq!(records[1].act, Act::Close { intent });
    assert_eq!(records[1].targets, [target(1)]);
    // As when its time is over, and a node has closed it: nobody waits any more for what is written.
    let tx = session.transaction().await.unwrap();
    let error = outbox::postgres::commit(&tx, NS, &open[0], "booked").await.unwrap_err();
    assert!(error.is_guard_expired(), "{error}");
    tx.rollback().await.unwrap();
    // Under another isolation it would see what was open when the transaction began.
    let tx =
        session.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    let error = outbox::postgres::commit(&tx, NS, &open[0], "booked").await.unwrap_err().to_string();
    assert!(error.contains("expected read committed"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_may_do_more_than_was_granted() {
    let Some(database) = database().await else { return };
    with_roles(&database).await;
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let writer = connect(&database.server.url("writer", &database.name)).await;
    let node = connect(&database.server.url("node", &database.name)).await;
    writer.batch_execute(&call(1)).await.unwrap();
    outbox::postgres::invalidate(&writer, NS, [target(2)], "booked").await.unwrap();
    assert_eq!(named(&read_all(&journal, start).await), [target(1), target(2)]);
    for refused in
        ["SELECT larder.roll('\\x', '\\x')", "SELECT * FROM larder.outbox", "DELETE FROM larder.journal"]
    {
        let error = writer.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{refused}");
    }
    for refused in [call(1).as_str(), "SELECT * FROM larder.heads", "UPDATE larder.heads SET position = 0"] {
        let error = node.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{refused}");
    }
    let error = outbox::postgres::invalidate(&node, NS, [target(2)], "booked").await.unwrap_err();
    assert!(error.is_not_set_up(), "{error}");
}
