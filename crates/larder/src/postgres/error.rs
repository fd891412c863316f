//! What went wrong at Postgres. Never says more than the server's own sentence: its details may hold what was written.

use std::fmt;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// Why something could not be done at a Postgres server.
#[derive(Debug)]
pub struct PostgresError {
    message: String,
    may_have_happened: bool,
    code: Option<SqlState>,
}

impl PostgresError {
    /// It was not asked, or certainly not done.
    pub(crate) fn undone(message: impl Into<String>) -> Self {
        PostgresError { message: message.into(), may_have_happened: false, code: None }
    }

    /// No answer came.
    pub(super) fn unanswered(message: impl Into<String>) -> Self {
        PostgresError { message: message.into(), may_have_happened: true, code: None }
    }

    /// Whether what was asked may have been done all the same.
    pub fn may_have_happened(&self) -> bool {
        self.may_have_happened
    }

    /// Whether this is what the server said it was.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_ref().is_some_and(|own| own.code() == code)
    }

    /// Whether the database lacks Larder's schema, or this role the right to use it.
    pub fn is_not_set_up(&self) -> bool {
        self.code.as_ref().is_some_and(|code| is_absent(code) || is_forbidden(code))
    }

    /// Whether the connection was lost, or the server ended it or what it was at.
    pub(crate) fn is_disconnected(&self) -> bool {
        // Operator intervention, connection exceptions, insufficient resources.
        let classes = ["57", "08", "53"];
        match &self.code {
            None => self.may_have_happened,
            Some(code) => classes.iter().any(|class| code.code().starts_with(class)),
        }
    }

    /// Whether `larder.outbox_add` found the intent of a guarded write closed.
    pub(crate) fn is_guard_expired(&self) -> bool {
        self.code.as_ref().is_some_and(|code| code.code() == "LD001")
    }
}

impl From<Error> for PostgresError {
    fn from(error: Error) -> Self {
        // Only an error that ended the statement and not the session proves that nothing was committed.
        let is_over = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
        let code = error.code().cloned();
        PostgresError { message: describe(&error), may_have_happened: !is_over, code }
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PostgresError {}

/// In words for people.
fn describe(error: &Error) -> String {
    let Some(said) = error.as_db_error() else {
        use std::error::Error as _;
        return match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let hint = match said.code() {
        code if is_absent(code) => ": no schema of this version of Larder; run larder::postgres::migrate",
        code if is_forbidden(code) => ": grant it as docs/concepts/postgres.md says",
        _ => "",
    };
    // What the server says of a value that it does not take repeats the value; what Larder's functions say does not.
    let is_of_a_value = said.code().code().starts_with("22") && !said.message().starts_with("larder: ");
    let what = if is_of_a_value { "the database does not take a value" } else { said.message() };
    format!("{what} ({}){hint}", said.code().code())
}

fn is_absent(code: &SqlState) -> bool {
    [SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_TABLE].contains(code)
}

fn is_forbidden(code: &SqlState) -> bool {
    *code == SqlState::INSUFFICIENT_PRIVILEGE
}
