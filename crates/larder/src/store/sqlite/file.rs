//! The store's file: its tables, whether it is ours, and setting a damaged one aside.

use crate::sqlite::{DatabaseFile, Live, begin_immediate, is_corrupt};
use rusqlite::Connection;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Marks the file as a larder store: `LARD`.
const APPLICATION_ID: i64 = 0x4c41_5244;
/// The version of the tables, kept as `user_version`.
const SCHEMA_VERSION: i64 = 1;

// `written` rises with every write, so its order is the order of eviction. `counts` spares counting rows.
const TABLES: &str = "
CREATE TABLE entries(
    written INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    expires_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX entries_by_expiry ON entries(expires_ms);
CREATE TABLE counts(id INTEGER PRIMARY KEY CHECK (id = 1), entries INTEGER NOT NULL);
INSERT INTO counts(id, entries) VALUES (1, 0);
";

/// Why the file cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// A database, but not a store's; it is left alone.
    Foreign { application_id: i64, tables: i64 },
    /// The tables are of a newer version than this code knows.
    Newer { found: i64 },
    /// A file could not be renamed or removed, or a thread not started.
    System(std::io::Error),
}

impl Fault {
    /// Whether the file is damaged or no database at all.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Fault::Sqlite(error) if is_corrupt(error))
    }

    /// Whether a new connection may fare better.
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self, Fault::Sqlite(error) if crate::sqlite::is_doubtful(error))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sqlite(error) => write!(f, "{error}"),
            Fault::Foreign { application_id, tables } => write!(
                f,
                "the file is another application's database (application_id {application_id}, {tables} tables); \
                 expected a larder store or no file, since a store needs a file of its own"
            ),
            Fault::Newer { found } => write!(
                f,
                "the store's schema version is {found}; expected at most {SCHEMA_VERSION}: it was written by a newer \
                 larder"
            ),
            Fault::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Fault::Sqlite(error) => Some(error),
            Fault::System(error) => Some(error),
            Fault::Foreign { .. } | Fault::Newer { .. } => None,
        }
    }
}

/// Opens the file for writing; creates it and its tables if need be.
pub(super) fn open_writer(
    file: &DatabaseFile,
    busy_wait: Duration,
    closing: &AtomicBool,
) -> Result<Live, Fault> {
    let live = file.open(true, |connection| {
        // Decided before the first page is written; later, this changes nothing.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 16777216;",
        )
    })?;
    if !check(&live.connection)? {
        begin_immediate(&live.connection, busy_wait, closing)?;
        // Another process may have been quicker.
        if !check(&live.connection)? {
            live.connection.execute_batch(TABLES)?;
            live.connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            live.connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        live.connection.execute_batch("COMMIT")?;
    }
    Ok(live)
}

/// Opens a file that [`open_writer`] made for reading.
pub(super) fn open_reader(file: &DatabaseFile) -> Result<Live, Fault> {
    let live = file.open_to_read(|connection| connection.execute_batch("PRAGMA cell_size_check = ON"))?;
    if !check(&live.connection)? {
        return Err(Fault::Foreign { application_id: 0, tables: 0 });
    }
    Ok(live)
}

/// Whether the file is a store of this version; `false` for an empty one.
fn check(connection: &Connection) -> Result<bool, Fault> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application_id = pragma("application_id")?;
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && tables == 0 {
        return Ok(false);
    }
    if application_id != APPLICATION_ID {
        return Err(Fault::Foreign { application_id, tables });
    }
    match pragma("user_version")? {
        found if found > SCHEMA_VERSION => Err(Fault::Newer { found }),
        _ => Ok(true),
    }
}

/// Renames a damaged file to `<name>.damaged`, replacing the one set aside before, so that a new one can begin.
pub(super) fn set_aside(file: &DatabaseFile) -> Result<PathBuf, Fault> {
    let with = |suffix: &str| {
        let mut name = file.path().as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(".damaged");
    std::fs::rename(file.path(), &aside).map_err(Fault::System)?;
    // A log without its database would be played into the new one.
    for suffix in ["-wal", "-shm"] {
        remove_if_there(&with(suffix)).map_err(Fault::System)?;
    }
    Ok(aside)
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
