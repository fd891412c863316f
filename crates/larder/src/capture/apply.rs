//! Putting a mapping's triggers into a database, looking whether they are there, taking them away. Each is one transaction.

use super::Mapping;
use crate::postgres::{PostgresError, in_transaction};
use std::fmt;

/// Puts the triggers of a mapping into the database that a URL names, all or none, as the role that migrated Larder's schema:
/// the triggers write with its rights, so that writers need none. That role needs the right `TRIGGER` on each table. Applying it
/// again changes nothing, save that it adds what is missing (on partitions made since) and enables what was disabled, which takes a
/// table's owner. Tables that
/// were mapped before and are not now keep their triggers: [`remove`] them.
///
/// A trigger that is not there yet waits up to 3 s for the transactions that write the table.
///
/// # Errors
/// When the mapping is not well-formed, names a table or a column that does not exist, or the database refuses.
pub async fn apply(url: &str, mapping: &Mapping) -> Result<(), PostgresError> {
    let sql = mapping.sql().map_err(|error| PostgresError::undone(error.to_string()))?;
    in_transaction(url, &sql).await.map(drop)
}

/// Takes the triggers of all tables of a mapping away; no error if they are not there.
///
/// # Errors
/// When the database cannot be reached, or refuses.
pub async fn remove(url: &str, mapping: &Mapping) -> Result<(), PostgresError> {
    let sql = mapping.removal().map_err(|error| PostgresError::undone(error.to_string()))?;
    in_transaction(url, &sql).await.map(drop)
}

/// What is captured now: each operation on each mapped table and its partitions, of all namespaces. Whatever is not
/// [`CaptureState::On`] is a hole: writes go by unseen.
///
/// # Errors
/// When the database cannot be reached, or refuses: the role needs `EXECUTE` on `larder.captured`.
pub async fn list(url: &str) -> Result<Vec<Captured>, PostgresError> {
    let rows =
        in_transaction(url, "SELECT namespace, relation, operation, state FROM larder.captured()").await?;
    let captured = rows.iter().map(|row| {
        let word = |at: usize| row.get(at).unwrap_or_default();
        let state = match word(3) {
            "on" => CaptureState::On,
            "off" => CaptureState::Off,
            "replica" => CaptureState::Replica,
            "no table" => CaptureState::NoTable,
            _ => CaptureState::Missing,
        };
        Captured { namespace: word(0).into(), table: word(1).into(), operation: word(2).into(), state }
    });
    Ok(captured.collect())
}

/// One operation on one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Whose keys the mapping names.
    pub namespace: String,
    /// The table or partition, `schema.table`, with quotes where SQL needs them.
    pub table: String,
    /// `INSERT`, `UPDATE`, `DELETE` or `TRUNCATE`.
    pub operation: String,
    /// Whether it is seen.
    pub state: CaptureState,
}

/// Whether an operation is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureState {
    /// The trigger is there and enabled.
    On,
    /// It was disabled.
    Off,
    /// It fires only for what replication writes.
    Replica,
    /// There is none: the partition is younger than the mapping's last [`apply`], or somebody dropped it.
    Missing,
    /// The table was dropped.
    NoTable,
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            CaptureState::On => "captured",
            CaptureState::Off => "NOT captured: its trigger is disabled",
            CaptureState::Replica => "NOT captured: its trigger fires for replication only",
            CaptureState::Missing => "NOT captured: it has no trigger; apply the mapping",
            CaptureState::NoTable => "the table is gone",
        };
        write!(f, "{} {} for {}: {state}", self.operation, self.table, self.namespace)
    }
}
