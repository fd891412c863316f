//! The outbox: invalidations written in the application's own transaction.
//!
//! Called by the application next to the writes it makes; the record commits or rolls back with the data. On SQLite by the
//! functions here, on Postgres by those of [`postgres`]. Never begins a thread, never waits for a cache, and needs none to
//! exist.

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{OutboxError, commit, invalidate};
