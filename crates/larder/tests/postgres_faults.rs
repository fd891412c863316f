//! What databases do that lose, lag, go away or come back as they once were.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::journal::PostgresJournal;
use larder::port::{Journal, JournalError};
use larder_core::{Cause, Link, NodeId};
use larder_rig::Postgres;
use postgres_rig::{Database, NS, append, call, database, head, named, read_all, shared, target, until};
use std::fs;
use std::time::Duration;

/// Asks until there is an answer that is not "it cannot be reached".
async fn read_when_back(journal: &PostgresJournal, after: Link) -> Result<usize, JournalError> {
    let mut answer = None;
    until("it is back", async || {
        match journal.read(NS, after, 100).await {
            Ok(page) => answer = Some(Ok(page.records.len())),
            Err(error) if error.is_diverged() || error.is_compacted() => answer = Some(Err(error)),
            Err(_) => {}
        }
        answer.is_some()
    })
    .await;
    answer.unwrap()
}

async fn head_when_back(journal: &PostgresJournal) -> Link {
    let mut found = None;
    until("it is back", async || {
        found = journal.history(NS).await.ok().map(|history| history.head);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Commits that were acknowledged are there after kill -9, in and out of order; so the history goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_goes_on_with_the_same_history() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start_with(&[("fsync", "on")]).unwrap();
    let database = Database::make(&server).await;
    let (journal, other) = (database.journal(), database.journal());
    let start = append(&journal, 1).await;
    let lasts = Duration::from_secs(600);
    journal.attend(NS, NodeId::new(1), start, lasts).await.unwrap();
    until("it has been whole for a while", async || {
        journal.attendance(NS).await.unwrap().unwrap().whole_for >= Duration::from_millis(50)
    })
    .await;
    let mut session = database.session().await;
    session.batch_execute(&call(2)).await.unwrap();
    let lost = session.transaction().await.unwrap();
    lost.batch_execute(&call(3)).await.unwrap();
    server.kill();
    assert!(journal.append(NS, &[target(4)], &Cause::default()).await.is_err());
    server.restart().unwrap();
    assert_eq!(read_when_back(&journal, start).await.unwrap(), 1, "what was committed, and no more");
    let records = read_all(&journal, start).await;
    assert_eq!(named(&records), [target(2)]);
    assert_eq!(head_when_back(&other).await, records[0].link);
    let attendance = journal.attendance(NS).await.unwrap().unwrap();
    assert_eq!(
        (attendance.nodes.len(), attendance.whole_for),
        (0, Duration::ZERO),
        "who was there is forgotten"
    );
    // Hints come in again.
    until("it listens again", async || {
        let _ = tokio::time::timeout(Duration::from_millis(20), journal.changed(NS)).await;
        journal.is_listening(NS) == Some(true)
    })
    .await;
}

/// A server that does not care for the loss of power may have lost anything at each start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_fsync_is_another_history() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start().unwrap();
    let database = Database::make(&server).await;
    let journal = database.journal();
    let before = append(&journal, 1).await;
    server.restart().unwrap();
    assert!(read_when_back(&journal, before).await.unwrap_err().is_diverged());
    let after = head_when_back(&journal).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.position, before.position);
}

/// A copy of the directory is put back: the same cluster, the same timeline, and positions that will be handed out again. Whoever
/// lived through it knows how far the WAL was; a node that had applied all that the copy has finds nothing missing otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_put_back_is_another_history() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start_with(&[("fsync", "on")]).unwrap();
    let database = Database::make(&server).await;
    let journal = database.journal();
    let place = append(&journal, 1).await;
    let backup = server.kill_and_copy().unwrap();
    server.restart().unwrap();
    assert_eq!(read_when_back(&journal, place).await.unwrap(), 0, "a restart alone is none");
    // Data is written, seen and cached, and its record is not in order yet when everything is lost.
    let session = database.session().await;
    session.batch_execute("CREATE TABLE rows AS SELECT generate_series(1, 100000) AS n").await.unwrap();
    assert_eq!(journal.read(NS, place, 1).await.unwrap().head, place);
    server.restart_from(&backup).unwrap();
    assert!(read_when_back(&journal, place).await.unwrap_err().is_diverged());
    assert_ne!(head_when_back(&journal).await.epoch, place.epoch);
    let settled = head(&journal).await;
    assert_eq!(journal.read(NS, settled, 1).await.unwrap().head, settled, "and it settles");
}

/// As after a failover: another timeline, which may lack what was acknowledged. Nobody who lived through it is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_timeline_is_another_history_and_a_standby_is_refused() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start_with(&[("fsync", "on"), ("restore_command", "false")]).unwrap();
    let database = Database::make(&server).await;
    let before = append(&database.journal(), 1).await;
    server.kill();
    fs::write(server.data().join("standby.signal"), "").unwrap();
    server.restart().unwrap();
    // It lets nobody in until it has replayed everything.
    let mut refused = None;
    until("it refuses", async || {
        let answer = database.journal().read(NS, before, 1).await;
        refused = Some(answer.expect_err("a standby answered"));
        refused.as_ref().is_some_and(|error| error.to_string().contains("standby"))
    })
    .await;
    let error = refused.unwrap();
    assert!(!error.is_diverged(), "{error}");
    for error in [
        database.journal().history(NS).await.unwrap_err(),
        database.journal().attendance(NS).await.unwrap_err(),
        database.journal().append(NS, &[target(1)], &Cause::default()).await.unwrap_err(),
    ] {
        assert!(!error.is_indeterminate() && error.to_string().contains("25006"), "{error}");
    }
    let session = database.session().await;
    session.query_one("SELECT pg_promote()", &[]).await.unwrap();
    let journal = database.journal();
    assert!(read_when_back(&journal, before).await.unwrap_err().is_diverged());
    let after = head_when_back(&journal).await;
    assert!(after.epoch != before.epoch && after.position == before.position);
    assert_eq!(append(&journal, 2).await.position, before.position + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_there_or_not_ours_is_said_clearly() {
    let Some(server) = shared() else { return };
    let url = server.url("larder", "template1");
    let error = PostgresJournal::open(&url).unwrap().history(NS).await.unwrap_err().to_string();
    assert!(error.contains("migrate"), "{error}");
    let database = database().await.unwrap();
    larder::postgres::migrate(&database.url()).await.unwrap();
    let url = database.url();
    let (one, two) = tokio::join!(larder::postgres::migrate(&url), larder::postgres::migrate(&url));
    one.unwrap();
    two.unwrap();
    let place = append(&database.journal(), 1).await;
    let session = database.session().await;
    session.batch_execute("DELETE FROM larder.migrations WHERE version > 2").await.unwrap();
    let error = database.journal().history(NS).await.unwrap_err().to_string();
    assert!(error.contains("version 2") && error.contains("migrate"), "{error}");
    larder::postgres::migrate(&database.url()).await.unwrap();
    assert_eq!(head(&database.journal()).await, place);
    session.batch_execute("INSERT INTO larder.migrations VALUES (1000)").await.unwrap();
    for error in [
        database.journal().history(NS).await.unwrap_err().to_string(),
        larder::postgres::migrate(&database.url()).await.unwrap_err().to_string(),
    ] {
        assert!(error.contains("newer"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_in_no_error() {
    const SECRET: &str = "hunter2";
    let mut errors = Vec::new();
    for url in [
        format!("postgres://user:{SECRET}@127.0.0.1:1/app"),
        format!("postgres://user:{SECRET}@127.0.0.1:notaport/app"),
        format!("host=127.0.0.1 {SECRET}"),
        format!("postgres://user:{SECRET}@127.0.0.1:1/app?sslmode=require"),
    ] {
        match PostgresJournal::open(&url) {
            Ok(journal) => errors.push(journal.history(NS).await.unwrap_err()),
            Err(error) => errors.push(error),
        }
    }
    for error in errors {
        let said = format!("{error} {error:?}");
        assert!(!said.contains(SECRET), "{said}");
    }
}
