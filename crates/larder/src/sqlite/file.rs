//! A database file: opened in WAL mode, and noticed when it is replaced underneath.
//!
//! A connection keeps the files it opened, whatever happens to their names. After a restore from a backup, or
//! `mv new.db app.db`, it would go on reading and writing a file nobody else sees. While a WAL connection is
//! open, SQLite itself never removes or replaces the database, its `-wal` or its `-shm`; so when one of the
//! three is another file than it was, somebody replaced it, and the connection must be opened anew.
//!
//! A restore that copies into the file without removing the `-wal` is undefined for SQLite, and so here too.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, OpenFlags, ffi};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one attempt to take a lock waits inside SQLite; longer waits repeat it, so that closing is noticed.
const BUSY_SLICE: Duration = Duration::from_millis(50);
/// How long switching a database to WAL mode may wait for other connections to let go of it.
const WAL_SWITCH_MAX: Duration = Duration::from_secs(2);
/// How often opening is tried again when the file is replaced in the middle of it.
const OPEN_ATTEMPTS: usize = 5;

/// Which file a name leads to: device and inode.
type FileId = (u64, u64);

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
}

/// An open connection and the files it has open.
pub(crate) struct Live {
    pub(crate) connection: Connection,
    path: PathBuf,
    main: Option<FileId>,
    beside: [(PathBuf, Option<FileId>); 2],
}

impl DatabaseFile {
    /// The database at a path in the file system.
    ///
    /// # Errors
    /// A message, when the path names no file that several connections can share.
    pub(crate) fn at(path: &Path) -> Result<Self, String> {
        let text = path.to_string_lossy();
        if text.is_empty() || text == ":memory:" || text.starts_with("file:") {
            return Err(format!(
                "path is {text:?}; expected the path of a file, because an in-memory or URI database cannot be \
                 shared between connections"
            ));
        }
        let path = std::path::absolute(path).map_err(|e| format!("path {text:?} cannot be resolved: {e}"))?;
        Ok(DatabaseFile { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Opens a connection in WAL mode and runs `setup` on it; creates the file if `create`.
    pub(crate) fn open(
        &self,
        create: bool,
        setup: impl Fn(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Live> {
        self.open_as(create, |connection| {
            setup(connection)?;
            to_wal(connection)
        })
    }

    /// Opens a connection that will only read, in whatever mode the file is: what was restored over a running
    /// database may only become WAL once everybody has let go of the old one.
    pub(crate) fn open_to_read(
        &self,
        setup: impl Fn(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Live> {
        let live = self.open_as(false, setup)?;
        live.connection.execute_batch("PRAGMA query_only = ON")?;
        Ok(live)
    }

    fn open_as(
        &self,
        create: bool,
        setup: impl Fn(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Live> {
        for _ in 0..OPEN_ATTEMPTS {
            let before = file_id(&self.path);
            let connection = self.connect(create)?;
            connection.busy_timeout(BUSY_SLICE)?;
            if before.is_none() {
                // It was created just now; only a second look can tell that it stayed the same file.
                continue;
            }
            setup(&connection)?;
            // The first read opens the `-wal` and takes the lock that keeps SQLite from ever removing it.
            connection.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))?;
            if file_id(&self.path) == before {
                return Ok(Live::of(connection, &self.path, before));
            }
        }
        Err(failure(ffi::SQLITE_CANTOPEN, "the file was replaced again and again while it was being opened"))
    }

    fn connect(&self, create: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        Connection::open_with_flags(&self.path, flags)
    }
}

impl Live {
    fn of(connection: Connection, path: &Path, main: Option<FileId>) -> Self {
        // SQLite puts the two beside the file a symbolic link leads to, not beside the link.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let beside = ["-wal", "-shm"].map(|suffix| {
            let mut name = real.clone().into_os_string();
            name.push(suffix);
            let id = file_id(Path::new(&name));
            (PathBuf::from(name), id)
        });
        Live { connection, path: path.to_path_buf(), main, beside }
    }

    /// Whether the names still lead to the files this connection has open. Three `stat` calls.
    pub(crate) fn is_current(&self) -> bool {
        file_id(&self.path) == self.main && self.beside.iter().all(|(path, id)| file_id(path) == *id)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Closing the last connection moves the log into the database and deletes it by name. After a replacement
        // that would write the old file's pages into the new one, and delete the new one's log.
        if !self.is_current() {
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

/// Switches to WAL, which stays in the file. SQLite does not wait for the lock this takes by itself.
fn to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + WAL_SWITCH_MAX;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                let message =
                    format!("journal_mode is {mode:?}; expected \"wal\", which this file system refuses");
                return Err(failure(ffi::SQLITE_CANTOPEN, &message));
            }
            Err(error) if super::is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

fn failure(code: i32, message: &str) -> Error {
    Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// Elsewhere an open file cannot be replaced; only whether it exists is looked at.
#[cfg(not(unix))]
fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|_| (0, 0))
}
