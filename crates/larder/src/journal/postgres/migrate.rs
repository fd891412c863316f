//! The schema: plain SQL files, in order, each of which may be applied again. Applying them is a right of its own, which no
//! node needs.

use super::{fault, line};
use larder_core::port::JournalError;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const FILES: [&str; 5] = [
    include_str!("sql/001_tables.sql"),
    include_str!("sql/002_targets.sql"),
    include_str!("sql/003_outbox.sql"),
    include_str!("sql/004_sequencer.sql"),
    include_str!("sql/005_nodes.sql"),
];

/// The version this program knows.
const VERSION: i32 = FILES.len() as i32;

/// Two at once wait for each other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1818325604, 0)";

const FOUND: &str = "SELECT to_regclass('larder.migrations') IS NOT NULL";

/// Refuses a schema that this program does not know.
pub(super) async fn check(client: &Client) -> Result<(), JournalError> {
    let rows = client.query_typed("SELECT larder.version()", &[]).await;
    let rows = rows.map_err(|error| fault::unread(&error))?;
    match rows.first().and_then(|row| row.try_get::<_, Option<i32>>(0).ok()).flatten() {
        Some(VERSION) => Ok(()),
        found => Err(other(found.unwrap_or(0))),
    }
}

fn other(found: i32) -> JournalError {
    let remedy =
        if found > VERSION { "it was migrated by a newer Larder" } else { "run PostgresJournal::migrate" };
    JournalError::refused(format!(
        "the database has version {found} of Larder's schema; expected {VERSION}: {remedy}"
    ))
}

/// Brings the schema to this program's version, in one transaction.
pub(super) async fn migrate(url: &str) -> Result<(), JournalError> {
    let failed = |error: tokio_postgres::Error| fault::unread(&error);
    let (mut client, connection) = line::settings(url)?.connect(NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    let is_there = transaction.query_typed(FOUND, &[]).await.map_err(failed)?;
    let mut found = 0;
    if is_there.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        let said = transaction.simple_query("SELECT coalesce(max(version), 0) FROM larder.migrations").await;
        found = said
            .map_err(failed)?
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            })
            .ok_or_else(|| JournalError::refused("larder.migrations is not understood"))?;
    }
    if found > VERSION {
        return Err(other(found));
    }
    for file in FILES.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(file).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    drop(client);
    let _ = connection.await;
    Ok(())
}
