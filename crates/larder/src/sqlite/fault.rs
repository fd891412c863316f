//! What kind of failure a `rusqlite` error is. Decides nothing.

use rusqlite::{Error, ErrorCode};

/// Another connection held a lock for longer than the timeout; nothing happened.
pub(crate) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The file is damaged, or no database.
pub(crate) fn is_corrupt(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The connection may have gone bad, and a new one may fare better.
pub(crate) fn is_doubtful(error: &Error) -> bool {
    is_corrupt(error)
        || matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
}

/// `None` when the row, or a table the statement names, does not exist.
///
/// A cached statement finds that out when it runs, not when it is prepared; so this takes the outcome of both.
pub(crate) fn if_there<T>(outcome: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Error::QueryReturnedNoRows) => Ok(None),
        // SQLite has no code of its own for this; the words have been the same since 2004.
        Err(error) if error.to_string().contains("no such table") => Ok(None),
        Err(error) => Err(error),
    }
}

/// A column holds what was never written there: another type, or a number out of range.
pub(crate) fn is_wrong_type(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}
