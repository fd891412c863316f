//! What a database said, and what follows from it.
//!
//! `db` raises it inside a `ServiceError`. Never says more than the database's own sentence: Postgres' details may hold
//! what was written.

use std::fmt;
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use crate::db::sqlite::schema::REFUSAL;

/// A failure of the database.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    Postgres(tokio_postgres::Error),
    /// No answer came in time; what was asked may happen all the same.
    Late(Duration),
    /// It could not be reached a moment ago.
    Away,
}

impl Fault {
    /// The book's own constraint said that the time is taken.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Fault::Sqlite(rusqlite::Error::SqliteFailure(code, Some(text))) => {
                code.code == ErrorCode::ConstraintViolation
                    && (text == REFUSAL || text.starts_with("UNIQUE constraint failed: appointment."))
            }
            Fault::Postgres(error) => error.code() == Some(&SqlState::EXCLUSION_VIOLATION),
            Fault::Sqlite(_) | Fault::Late(_) | Fault::Away => false,
        }
    }

    /// Two writers stood in each other's way, and this one was rolled back: it may try again.
    pub(crate) fn is_conflict(&self) -> bool {
        let Fault::Postgres(error) = self else { return false };
        let again = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
        error.code().is_some_and(|code| again.contains(code))
    }

    /// The server is away, or sent us away: later it may answer.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Fault::Sqlite(_) => false,
            Fault::Late(_) | Fault::Away => true,
            Fault::Postgres(error) => match error.code() {
                // Nothing that the server said: the connection was refused or lost.
                None => true,
                // Operator intervention, connection exceptions, insufficient resources.
                Some(code) => ["57", "08", "53"].iter().any(|class| code.code().starts_with(class)),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sqlite(error) => error.fmt(f),
            Fault::Postgres(error) => match error.as_db_error() {
                Some(said) => write!(f, "{} ({})", said.message(), said.code().code()),
                None => {
                    error.fmt(f)?;
                    let source = std::error::Error::source(error);
                    source.map_or(Ok(()), |source| write!(f, ": {source}"))
                }
            },
            Fault::Away => f.write_str("it could not be reached, and is tried again soon"),
            Fault::Late(deadline) => write!(f, "it did not answer within {deadline:?}"),
        }
    }
}
