//! A Postgres error as a journal's.

use crate::postgres::PostgresError;
use larder_core::port::JournalError;

/// A question that was not answered changed nothing that matters.
pub(super) fn unread(error: PostgresError) -> JournalError {
    JournalError::refused(error.to_string())
}

/// An append that was not answered may have been made.
pub(super) fn unwritten(error: PostgresError) -> JournalError {
    if error.may_have_happened() {
        JournalError::indeterminate(error.to_string(), error)
    } else {
        JournalError::refused(error.to_string())
    }
}
