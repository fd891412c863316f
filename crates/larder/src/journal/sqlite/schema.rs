//! The journal's tables in the application's database, and what may be wrong with them.
//!
//! `larder_head` holds one row per namespace, `larder_journal` the records after `oldest`, `larder_intents` the intents
//! that are open, `larder_settings` the schema's version and the retention. Plain tables, no triggers and nothing a SQLite from 2015 cannot read,
//! since the file belongs to the application.

use crate::sqlite::if_there;
use rusqlite::Connection;
use std::fmt;

/// The version of the tables this code reads and writes.
pub(super) const SCHEMA_VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS main.larder_settings(
    name TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS main.larder_head(
    namespace TEXT PRIMARY KEY NOT NULL,
    epoch BLOB NOT NULL CHECK (typeof(epoch) = 'blob' AND length(epoch) = 16),
    position INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    oldest_position INTEGER NOT NULL,
    oldest_nonce INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS main.larder_journal(
    namespace TEXT NOT NULL,
    position INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    targets BLOB NOT NULL,
    cause TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL DEFAULT 0,
    intent INTEGER NOT NULL DEFAULT 0,
    lasts_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS main.larder_intents(
    namespace TEXT NOT NULL,
    intent INTEGER NOT NULL,
    lasts_ms INTEGER NOT NULL,
    targets BLOB NOT NULL,
    PRIMARY KEY (namespace, intent)
) WITHOUT ROWID;
";

/// What version 1 lacks, besides a table. Its records are all invalidations, which the defaults say.
const FROM_VERSION_1: &str = "
ALTER TABLE main.larder_journal ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.larder_journal ADD COLUMN intent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.larder_journal ADD COLUMN lasts_ms INTEGER NOT NULL DEFAULT 0;
";

/// What can go wrong with the tables.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// The tables are of a newer version than this code knows.
    Newer { found: i64 },
    /// A row holds what no version ever wrote.
    Damaged(String),
    /// The system gave no random numbers.
    Random(getrandom::Error),
    /// The system gave no thread.
    System(std::io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sqlite(error) => write!(f, "{error}"),
            Fault::Newer { found } => write!(
                f,
                "the database's larder schema version is {found}; expected at most {SCHEMA_VERSION}: it was \
                 written by a newer larder"
            ),
            Fault::Damaged(what) => write!(f, "the journal's tables are damaged: {what}"),
            Fault::Random(error) => write!(f, "the system gave no random numbers: {error}"),
            Fault::System(error) => write!(f, "no thread could be started: {error}"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Fault::Sqlite(error) => Some(error),
            Fault::System(error) => Some(error),
            Fault::Newer { .. } | Fault::Damaged(_) | Fault::Random(_) => None,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if crate::sqlite::is_wrong_type(&error) {
            return Fault::Damaged(error.to_string());
        }
        Fault::Sqlite(error)
    }
}

impl From<getrandom::Error> for Fault {
    fn from(error: getrandom::Error) -> Self {
        Fault::Random(error)
    }
}

/// Refuses tables of a newer version; older ones, and `None`, where there are none yet, are fine.
pub(super) fn check_version(found: Option<i64>) -> Result<(), Fault> {
    match found {
        Some(found) if found > SCHEMA_VERSION => Err(Fault::Newer { found }),
        _ => Ok(()),
    }
}

/// Whether tables of this version can be read and written as they are.
pub(super) fn is_current(found: Option<i64>) -> bool {
    found == Some(SCHEMA_VERSION)
}

/// The version the file records; `None` when it has no tables of ours.
pub(super) fn version(connection: &Connection) -> Result<Option<i64>, Fault> {
    let sql = "SELECT value FROM main.larder_settings WHERE name = 'schema'";
    Ok(if_there(connection.query_row(sql, [], |row| row.get(0)))?)
}

/// Creates what is missing, and brings tables of an older version up to date. Runs inside the caller's transaction;
/// doing it again changes nothing.
pub(super) fn ensure(connection: &Connection) -> Result<(), Fault> {
    let found = version(connection)?;
    check_version(found)?;
    let is_there = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'larder_journal'";
    if found == Some(1) && connection.query_row(is_there, [], |row| row.get::<_, i64>(0))? == 1 {
        connection.execute_batch(FROM_VERSION_1)?;
    }
    connection.execute_batch(TABLES)?;
    if !is_current(found) {
        let sql = "INSERT OR REPLACE INTO main.larder_settings(name, value) VALUES ('schema', ?1)";
        connection.execute(sql, [SCHEMA_VERSION])?;
    }
    Ok(())
}

/// Whether [`ensure`] has nothing to do.
pub(super) fn is_complete(connection: &Connection) -> Result<bool, Fault> {
    let found = version(connection)?;
    check_version(found)?;
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name IN ('larder_head', \
               'larder_journal', 'larder_intents')";
    let tables: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(is_current(found) && tables == 3)
}

/// Records how many records of each namespace are to be kept, unless the file says so already.
pub(super) fn set_records_max(connection: &Connection, records_max: i64) -> Result<(), Fault> {
    let sql = "INSERT INTO main.larder_settings(name, value) VALUES ('records_max', ?1)
               ON CONFLICT(name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";
    connection.execute(sql, [records_max])?;
    Ok(())
}
