//! Rows of the outbox become records: all that are visible, none that is not, each once, in one dense order.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::port::Journal;
use larder_core::{Cause, Epoch, Link, NodeId};
use postgres_rig::{NS, PATIENCE, append, call, database, head, named, read_all, target, until};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Ids are handed out before commits: whoever reads "everything above the last id" skips the one that commits late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_becomes_visible_after_a_later_one_is_not_lost() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let (mut slow, mut quick) = (database.session().await, database.session().await);
    let slow_tx = slow.transaction().await.unwrap();
    slow_tx.batch_execute(&call(1)).await.unwrap();
    let quick_tx = quick.transaction().await.unwrap();
    quick_tx.batch_execute(&call(2)).await.unwrap();
    quick_tx.commit().await.unwrap();
    let first = read_all(&journal, start).await;
    assert_eq!(named(&first), [target(2)]);
    slow_tx.commit().await.unwrap();
    let second = read_all(&journal, first[0].link).await;
    assert_eq!(named(&second), [target(1)]);
    assert_eq!(second[0].link.position, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rolled_back_was_never_there_and_savepoints_count() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let session = database.session().await;
    let script = format!(
        "BEGIN; {}; ROLLBACK;
         BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; {}; RELEASE s; COMMIT;",
        call(1),
        call(2),
        call(3),
        call(4)
    );
    session.batch_execute(&script).await.unwrap();
    assert_eq!(named(&read_all(&journal, start).await), [target(2), target(4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_counts_when_it_is_committed_by_whomever() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let session = database.session().await;
    session.batch_execute(&format!("BEGIN; {}; PREPARE TRANSACTION 'booked'", call(1))).await.unwrap();
    session.batch_execute(&call(2)).await.unwrap();
    let first = read_all(&journal, start).await;
    assert_eq!(named(&first), [target(2)]);
    database.session().await.batch_execute("COMMIT PREPARED 'booked'").await.unwrap();
    assert_eq!(named(&read_all(&journal, first[0].link).await), [target(1)]);
}

/// Lock first, then look: a reader that skipped the busy lock, or whose snapshot was older than it, would answer without a
/// record that was committed before it was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_the_lock_and_then_sees_what_was_committed() {
    let Some(database) = database().await else { return };
    let (journal, start) = (Arc::new(database.journal()), head(&database.journal()).await);
    let (mut holder, writer) = (database.session().await, database.session().await);
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute(&format!("SELECT larder.lock('{NS}')")).await.unwrap();
    writer.batch_execute(&call(1)).await.unwrap();
    let reader = Arc::clone(&journal);
    let reading = tokio::spawn(async move { read_all(&reader, start).await });
    until("the reader waits", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
        writer.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    assert!(!reading.is_finished());
    // Committed while the reader waits: its step sees this one too.
    writer.batch_execute(&call(2)).await.unwrap();
    holding.commit().await.unwrap();
    assert_eq!(named(&reading.await.unwrap()), [target(1), target(2)]);
}

/// A session that holds the lock and stands still must not gather others behind it until there are no more connections: whoever
/// waits is told so by the server, before its own patience ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_lock_for_long_is_refused_and_leaves_no_session_behind() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let (mut holder, writer) = (database.session().await, database.session().await);
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute(&format!("SELECT larder.lock('{NS}')")).await.unwrap();
    writer.batch_execute(&call(1)).await.unwrap();
    let cause = Cause::default();
    let targets = [target(2)];
    let (read, appended) = tokio::join!(journal.read(NS, start, 10), journal.append(NS, &targets, &cause));
    assert!(read.unwrap_err().to_string().contains("55P03"));
    let error = appended.unwrap_err();
    assert!(!error.is_indeterminate() && error.to_string().contains("55P03"), "{error}");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
    assert_eq!(writer.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    holding.commit().await.unwrap();
    assert_eq!(named(&read_all(&journal, start).await), [target(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_sequencers_lose_nothing_and_repeat_nothing() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 40;
    let Some(database) = database().await else { return };
    let start = head(&database.journal()).await;
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let session = database.session().await;
        tasks.push(tokio::spawn(async move {
            for n in 0..EACH {
                session.batch_execute(&call(writer * EACH + n)).await.unwrap();
            }
        }));
    }
    let readers = [database.journal(), database.journal(), database.journal()].map(|journal| {
        tokio::spawn(async move {
            let (mut at, mut records) = (start, Vec::new());
            while records.len() < (WRITERS * EACH) as usize {
                records.extend(read_all(&journal, at).await);
                at = records.last().map_or(start, |record: &larder_core::Record| record.link);
            }
            records
        })
    });
    let mut all = Vec::new();
    for reader in readers {
        all.push(tokio::time::timeout(PATIENCE, reader).await.expect("a record is lost").unwrap());
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(all.iter().all(|records| *records == all[0]), "one history");
    let positions: Vec<u64> = all[0].iter().map(|record| record.link.position).collect();
    assert_eq!(positions, (1..=WRITERS * EACH).collect::<Vec<_>>());
    let names: BTreeSet<String> = named(&all[0]).iter().map(ToString::to_string).collect();
    assert_eq!(names.len() as u64, WRITERS * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_one_step_can_move_is_moved_before_anything_is_answered() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let session = database.session().await;
    let many = "INSERT INTO larder.outbox(namespace, kind, intent, targets, cause)
                SELECT 'booking', 0, 0, '\\x00', '' FROM generate_series(1, 12000)";
    session.batch_execute(many).await.unwrap();
    let page = journal.read(NS, start, 10).await.unwrap();
    assert_eq!((page.records.len(), page.head.position), (10, 12_000));
    let left = session.query_one("SELECT count(*) FROM larder.outbox", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

/// A hole is found by whoever reads through it; never skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_missing_or_damaged_is_divergence() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    for n in 1..=4 {
        append(&journal, n).await;
    }
    let session = database.session().await;
    session.batch_execute("UPDATE larder.journal SET targets = '\\x09' WHERE position = 3").await.unwrap();
    assert!(journal.read(NS, start, 10).await.unwrap_err().is_diverged());
    session.batch_execute("DELETE FROM larder.journal WHERE position = 2").await.unwrap();
    assert!(journal.read(NS, start, 10).await.unwrap_err().is_diverged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_isolation_is_refused_where_it_would_miss_something() {
    let Some(database) = database().await else { return };
    head(&database.journal()).await;
    let session = database.session().await;
    session.batch_execute(&call(1)).await.unwrap();
    let name = &database.name;
    let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'");
    session.batch_execute(&set).await.unwrap();
    let error = database.journal().history(NS).await.unwrap_err().to_string();
    assert!(error.contains("read committed"), "{error}");
}

/// Old records go by bytes too, and the floor rises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_dropped_by_their_bytes() {
    let Some(database) = database().await else { return };
    let (journal, start) = (database.journal(), head(&database.journal()).await);
    let session = database.session().await;
    let large = "INSERT INTO larder.outbox(namespace, kind, intent, targets, cause)
                 SELECT 'booking', 0, 0, '\\x01' || larder.run('\\x00' || larder.text_segment(repeat('x', 1000000))), ''
                 FROM generate_series(1, 90)";
    session.batch_execute(large).await.unwrap();
    let history = journal.history(NS).await.unwrap();
    let kept = history.head.position - history.oldest.position;
    assert!((60..=68).contains(&kept), "64 MiB of 90 MB are kept: {kept}");
    assert!(journal.read(NS, start, 1).await.unwrap_err().is_compacted());
    let mut records = 0;
    let mut at = history.oldest;
    while at != history.head {
        let page = journal.read(NS, at, 1000).await.unwrap();
        assert!(page.records.len() <= 17, "a page ends after 16 MiB");
        records += page.records.len() as u64;
        at = page.records.last().unwrap().link;
    }
    assert_eq!(records, kept);
}

/// Whoever appends something, and then asks who is there, finds every node that was given an answer without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_seen_to_be_there_before_it_is_given_its_records() {
    let Some(database) = database().await else { return };
    let (journal, lasts) = (database.journal(), Duration::from_secs(60));
    let start = head(&journal).await;
    let me = NodeId::new(u128::MAX - 3);
    assert_eq!(journal.attendance(NS).await.unwrap().unwrap().whole_for, Duration::ZERO);
    // The node's session is held back between having said that it is there and being answered.
    let mut holder = database.session().await;
    let writer = database.session().await;
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute(&format!("SELECT larder.lock('{NS}')")).await.unwrap();
    writer.batch_execute(&call(1)).await.unwrap();
    let reader = journal.clone();
    let reading = tokio::spawn(async move { reader.read_attending(NS, me, lasts, start, 10).await });
    let other = database.journal();
    until("it is there", async || other.attendance(NS).await.unwrap().unwrap().nodes == [(me, start)]).await;
    assert!(!reading.is_finished(), "it has not been answered yet");
    holding.commit().await.unwrap();
    let page = reading.await.unwrap().unwrap();
    assert_eq!(page.records.len(), 1);
    let there = journal.read_attending(NS, me, lasts, page.head, 10).await.unwrap();
    assert_eq!((there.records.len(), there.head), (0, page.head));
    assert_eq!(other.attendance(NS).await.unwrap().unwrap().nodes, [(me, page.head)]);
    until("it has been whole for a while", async || {
        other.attendance(NS).await.unwrap().unwrap().whole_for >= Duration::from_millis(20)
    })
    .await;
    journal.attend(NS, me, page.head, Duration::from_millis(30)).await.unwrap();
    until("it is forgotten", async || other.attendance(NS).await.unwrap().unwrap().nodes.is_empty()).await;
    journal.attend(NS, me, Link { epoch: Epoch::new(7), position: 3, nonce: 9 }, lasts).await.unwrap();
    journal.attend(NS, me, start, Duration::ZERO).await.unwrap();
    assert!(other.attendance(NS).await.unwrap().unwrap().nodes.is_empty());
}

/// Idle, a node costs one statement for each renewal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_finds_nothing_takes_no_lock() {
    let Some(database) = database().await else { return };
    let journal = database.journal();
    let start = append(&journal, 1).await;
    let (me, lasts) = (NodeId::new(1), Duration::from_secs(600));
    journal.read_attending(NS, me, lasts, start, 10).await.unwrap();
    let mut holder = database.session().await;
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute(&format!("SELECT larder.lock('{NS}')")).await.unwrap();
    for _ in 0..20 {
        assert!(journal.read_attending(NS, me, lasts, start, 10).await.unwrap().records.is_empty());
    }
    holding.commit().await.unwrap();
}
