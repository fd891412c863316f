//! The schema of the appointment book, its migration, and how a connection is set up.
//!
//! Only `db` calls it. It never alters a file that is not ours.
//!
//! Two appointments of one person cannot overlap, whatever program writes: triggers refuse an overlapping insert
//! or update, and SQLite runs one write transaction at a time, so there is no gap between check and write. The
//! partial unique index says the same for equal starts and finds the neighbours quickly.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::db::Durability;
use crate::error::ServiceError;

/// Marks the file as ours ("bkng").
const APPLICATION_ID: i64 = 0x626b_6e67;
/// The text the triggers raise; `fault` tells a refusal from other failures by it.
pub(crate) const REFUSAL: &str = "time already taken";
/// How long a connection waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Step `n` brings a file from version `n` to `n + 1`. Append only.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

/// Opens the writing connection and brings the schema up to date.
pub(crate) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, ServiceError> {
    let refuse = |reason: String| ServiceError::Open { path: path.display().to_string(), reason };
    let mut connection = Connection::open(path).map_err(|error| refuse(plain(&error)))?;
    set_up(&connection).map_err(|error| refuse(plain(&error)))?;
    check_owner(&connection).map_err(|error| refuse(plain(&error)))?.map_err(&refuse)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| {
            let level = match durability {
                Durability::Full => "FULL",
                Durability::Process => "NORMAL",
            };
            connection.pragma_update(None, "synchronous", level)
        })
        .map_err(|error| refuse(plain(&error)))?;
    migrate(&mut connection).map_err(|error| refuse(plain(&error)))?.map_err(&refuse)?;
    Ok(connection)
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, ServiceError> {
    let refuse = |error: rusqlite::Error| ServiceError::Open {
        path: path.display().to_string(),
        reason: plain(&error),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
    set_up(&connection).map_err(refuse)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Inner error: why the file is not ours to use.
fn check_owner(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let foreign: Option<String> = connection
        .query_row(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND name NOT LIKE 'larder_%' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(match (application, foreign) {
        (APPLICATION_ID, _) | (0, None) => Ok(()),
        (0, Some(table)) => Err(format!(
            "it belongs to another program (it has a table `{table}`); expected a new or a booking database"
        )),
        (other, _) => Err(format!(
            "it belongs to another program (application id {other:#x}); expected {APPLICATION_ID:#x}"
        )),
    })
}

/// Inner error: why the file's version cannot be used.
fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), String>> {
    let latest = MIGRATIONS.len();
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(steps) = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done..)) else {
        return Ok(Err(format!(
            "its schema is version {version}; this program knows versions 0 to {latest}"
        )));
    };
    for step in steps {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", i64::try_from(latest).unwrap_or(i64::MAX))?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.commit()?;
    Ok(Ok(()))
}

/// The failure in words, without rusqlite's wrapping.
fn plain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(text)) if text.is_empty() => code.to_string(),
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        open_writer(path, Durability::Process).unwrap_err().to_string()
    }

    #[test]
    fn opening_twice_migrates_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        drop(open_writer(&path, Durability::Process).unwrap());
        let connection = open_writer(&path, Durability::Full).unwrap();
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("notes.txt");
        std::fs::write(
            &text,
            "not a database, but long enough to have a header of one hundred bytes.".repeat(20),
        )
        .unwrap();
        assert!(refusal(&text).contains("not a database"), "{}", refusal(&text));

        let other = dir.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE invoices(id)").unwrap();
        assert!(refusal(&other).contains("`invoices`"), "{}", refusal(&other));
        let mode: String =
            Connection::open(&other).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        open_writer(&path, Durability::Process).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(refusal(&path).contains("version 9"), "{}", refusal(&path));
    }

    #[test]
    fn a_file_in_no_directory_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("app.db");
        assert!(refusal(&path).contains("missing/app.db"), "{}", refusal(&path));
    }
}
