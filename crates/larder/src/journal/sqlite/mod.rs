//! The SQLite journal: records in the application's own database file.
//!
//! SQLite lets one transaction write at a time, so the record a transaction inserts *is* the journal record:
//! its position is the head's plus one, decided under the write lock. Positions are dense, and a rollback leaves
//! nothing. Applications write records with [`crate::outbox`]; caches read them, and append their own, through
//! [`SqliteJournal`].
//!
//! All blocking work happens on two threads the journal owns, one that writes and one that reads and watches;
//! never on the caller's.

mod append;
mod handle;
mod query;
mod reader;
mod schema;
mod writer;

pub(crate) use append::{append, head_or_create, is_open};
pub use handle::{SqliteJournal, SqliteJournalOptions};
pub(crate) use schema::Fault;
