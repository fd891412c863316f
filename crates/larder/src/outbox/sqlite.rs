//! The outbox on SQLite: the record is written on the application's own connection, and is the journal's at once.
//!
//! The tables and the namespace are made on first use. Never begins a thread, never waits for a cache.

use crate::journal::sqlite::{Fault, append, head_or_create, is_open};
use crate::journal::{Unfit, encode};
use larder_core::{Act, Cause, Intent, Link, Target};
use rusqlite::Connection;
use std::fmt;

/// Adds one record with these targets to the journal of a namespace, and returns its place.
///
/// `connection` may be a `&Transaction` or `&Savepoint` (they dereference to it). Inside a transaction the record
/// shares its fate, and that of the innermost savepoint; on an error nothing of the record remains and the
/// transaction can go on, unless SQLite itself rolled it back. Outside of one, it is committed by itself.
///
/// Give all targets of one change in one call: they apply at once, and cost one row. No targets at all is no
/// error and writes no record; the place returned is then the head.
///
/// The place stands once the transaction commits; until then it is only where the record would be. From then on
/// `Token::new(namespace, link)` is the token of the write, for `Cache::reach` on any node; and
/// `Cache::wait_for_all_nodes` returns when every node has seen it.
///
/// # Errors
/// [`OutboxError::is_too_large`] when the targets take more than [`crate::journal::RECORD_BYTES_MAX`] bytes;
/// [`OutboxError::is_newer_schema`] when a newer larder wrote the database; else what SQLite said.
///
/// ```no_run
/// use larder::outbox;
/// use larder_core::{Target, tag};
/// # fn book(mut db: rusqlite::Connection) -> Result<(), Box<dyn std::error::Error>> {
/// let tx = db.transaction()?;
/// tx.execute("INSERT INTO appointments(branch, hour) VALUES (7, 9)", [])?;
/// outbox::invalidate(&tx, "booking", [Target::tag(tag!["branch", 7])], "booked")?;
/// tx.commit()?;
/// # Ok(()) }
/// ```
pub fn invalidate(
    connection: &Connection,
    namespace: &str,
    targets: impl IntoIterator<Item = Target>,
    cause: impl Into<Cause>,
) -> Result<Link, OutboxError> {
    let targets: Vec<Target> = targets.into_iter().collect();
    let cause = cause.into();
    match encode(&targets) {
        Ok(targets) => atomically(connection, || {
            append(connection, namespace, Act::Invalidate, &targets, cause.as_str())
        }),
        Err(Unfit::Empty) => atomically(connection, || head_or_create(connection, namespace)),
        Err(unfit) => Err(OutboxError(Kind::Unfit(unfit))),
    }
}

/// Adds the record that ends a guarded write, to be committed together with the data: no moment lies between the two. Once
/// the transaction has committed, drop the guard: there is nothing left for it to do. When it was rolled back, cancel
/// the guard, or drop it and let it expire.
///
/// `intent` is [`crate::WriteGuard::intent`]. If its time was over and it has been closed, or a database that was put back
/// does not have it, this refuses, and the transaction must be rolled back: nobody waits for what it writes. It holds the write
/// lock from here on, so nothing comes between.
///
/// # Errors
/// [`OutboxError::is_guard_expired`]; and as [`invalidate`].
pub fn commit(
    connection: &Connection,
    namespace: &str,
    intent: &Intent,
    cause: impl Into<Cause>,
) -> Result<Link, OutboxError> {
    let targets = encode(&intent.targets).map_err(|unfit| OutboxError(Kind::Unfit(unfit)))?;
    let act = Act::Close { intent: intent.id };
    let cause = cause.into();
    let link = atomically(connection, || {
        // First the head: it takes the write lock, if the transaction has not.
        head_or_create(connection, namespace)?;
        if !is_open(connection, namespace, intent.id)? {
            return Ok(None);
        }
        append(connection, namespace, act, &targets, cause.as_str()).map(Some)
    })?;
    link.ok_or(OutboxError(Kind::NotOpen))
}

/// Runs `work` so that all of it remains or nothing, whatever transaction the connection is in.
fn atomically<T>(connection: &Connection, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, OutboxError> {
    // Alone, it takes the write lock at once: a savepoint would begin as a reader, which cannot always become
    // a writer later.
    let (begin, commit, undo) = if connection.is_autocommit() {
        ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
    } else {
        (
            "SAVEPOINT larder_outbox",
            "RELEASE larder_outbox",
            "ROLLBACK TO larder_outbox; RELEASE larder_outbox",
        )
    };
    connection.execute_batch(begin).map_err(Fault::Sqlite)?;
    let done = work().and_then(|done| {
        connection.execute_batch(commit)?;
        Ok(done)
    });
    if done.is_err() && !connection.is_autocommit() {
        // When SQLite rolled everything back by itself, there is nothing left to undo; the first error tells.
        let _ = connection.execute_batch(undo);
    }
    Ok(done?)
}

/// Why a record could not be written to the outbox. Nothing of it remains.
#[derive(Debug)]
pub struct OutboxError(Kind);

#[derive(Debug)]
enum Kind {
    Unfit(Unfit),
    Fault(Fault),
    NotOpen,
}

impl OutboxError {
    /// Whether the record was larger than [`crate::journal::RECORD_BYTES_MAX`].
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::Unfit(Unfit::TooLarge { .. }))
    }

    /// Whether the database was written by a newer larder.
    pub fn is_newer_schema(&self) -> bool {
        matches!(self.0, Kind::Fault(Fault::Newer { .. }))
    }

    /// Whether a guarded write was to be committed whose intent is not open any more: its guard's time was over.
    pub fn is_guard_expired(&self) -> bool {
        matches!(self.0, Kind::NotOpen)
    }

    /// Whether another connection held the write lock for too long; the transaction may be tried again.
    pub fn is_busy(&self) -> bool {
        matches!(&self.0, Kind::Fault(Fault::Sqlite(error)) if crate::sqlite::is_busy(error))
    }
}

impl From<Fault> for OutboxError {
    fn from(fault: Fault) -> Self {
        OutboxError(Kind::Fault(fault))
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unfit(unfit) => write!(f, "outbox: {unfit}"),
            Kind::Fault(fault) => write!(f, "outbox: {fault}"),
            Kind::NotOpen => f.write_str(
                "outbox: the guarded write's intent is not open any more; expected to be called before its time is over",
            ),
        }
    }
}

impl std::error::Error for OutboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Unfit(_) | Kind::NotOpen => None,
            Kind::Fault(fault) => Some(fault),
        }
    }
}
