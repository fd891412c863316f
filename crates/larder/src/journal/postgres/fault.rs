//! What went wrong at Postgres, as a journal's error. Never says more than the server's own sentence: its details may hold
//! what was written.

use larder_core::port::JournalError;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// In words for people.
pub(super) fn describe(error: &Error) -> String {
    let Some(said) = error.as_db_error() else {
        use std::error::Error as _;
        return match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let hint = match said.code() {
        code if is_absent(code) => ": no schema of this version of Larder; run PostgresJournal::migrate",
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => ": grant it as docs/concepts/postgres.md says",
        _ => "",
    };
    format!("{} ({}){hint}", said.message(), said.code().code())
}

fn is_absent(code: &SqlState) -> bool {
    [SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_TABLE].contains(code)
}

/// A question that was not answered changed nothing that matters.
pub(super) fn unread(error: &Error) -> JournalError {
    JournalError::refused(describe(error))
}

/// Only an error that ended the statement and not the session proves that nothing was committed.
pub(super) fn unwritten(error: &Error) -> JournalError {
    let is_over = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
    if is_over {
        JournalError::refused(describe(error))
    } else {
        JournalError::indeterminate(describe(error), "the connection ended")
    }
}
