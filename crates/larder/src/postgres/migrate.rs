//! The schema: plain SQL files, in order, each of which may be applied again. Applying them is a right of its own, which no
//! node needs.

use super::{PostgresError, settings::Settings};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

const FILES: [&str; 9] = [
    include_str!("sql/001_tables.sql"),
    include_str!("sql/002_targets.sql"),
    include_str!("sql/003_outbox.sql"),
    include_str!("sql/004_sequencer.sql"),
    include_str!("sql/005_nodes.sql"),
    include_str!("sql/006_entries.sql"),
    include_str!("sql/007_capture.sql"),
    include_str!("sql/008_source.sql"),
    include_str!("sql/009_replication.sql"),
];

/// The version this program knows.
const VERSION: i32 = FILES.len() as i32;

/// Two at once wait for each other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1818325604, 0)";

const FOUND: &str = "SELECT to_regclass('larder.migrations') IS NOT NULL";

/// Refuses a schema that this program does not know.
pub(super) async fn check(client: &Client) -> Result<(), PostgresError> {
    let rows = client.query_typed("SELECT larder.version()", &[]).await?;
    match rows.first().and_then(|row| row.try_get::<_, Option<i32>>(0).ok()).flatten() {
        Some(VERSION) => Ok(()),
        found => Err(other(found.unwrap_or(0))),
    }
}

fn other(found: i32) -> PostgresError {
    let remedy =
        if found > VERSION { "it was migrated by a newer Larder" } else { "run larder::postgres::migrate" };
    PostgresError::undone(format!(
        "the database has version {found} of Larder's schema; expected {VERSION}: {remedy}"
    ))
}

/// Brings Larder's schema in the database that a URL names to the version that this program knows, in one transaction; doing
/// it again changes nothing. Needs the right to create a schema, which nodes and writers do not need.
///
/// # Errors
/// When the database cannot be reached, refuses, or was migrated by a newer Larder.
pub async fn migrate(url: &str) -> Result<(), PostgresError> {
    let (mut client, connection) = Settings::parse(url)?.connect().await?;
    let connection = tokio::spawn(connection);
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK).await?;
    let is_there = transaction.query_typed(FOUND, &[]).await?;
    let mut found = 0;
    if is_there.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        let said =
            transaction.simple_query("SELECT coalesce(max(version), 0) FROM larder.migrations").await?;
        found = said
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            })
            .ok_or_else(|| PostgresError::undone("larder.migrations is not understood"))?;
    }
    if found > VERSION {
        return Err(other(found));
    }
    for file in FILES.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(file).await?;
    }
    transaction.commit().await?;
    drop(client);
    let _ = connection.await;
    Ok(())
}

/// Runs statements in one transaction that waits for migrations, on a schema that this program knows. What they returned, one
/// row after the other.
pub(crate) async fn in_transaction(url: &str, sql: &str) -> Result<Vec<SimpleQueryRow>, PostgresError> {
    let (mut client, connection) = Settings::parse(url)?.connect().await?;
    let connection = tokio::spawn(connection);
    check(&client).await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK).await?;
    let said = transaction.simple_query(sql).await?;
    transaction.commit().await?;
    drop(client);
    let _ = connection.await;
    let rows = said.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}
