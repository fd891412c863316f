//! Journals: where invalidations are kept in order, and asked for.
//!
//! Adapters of [`larder_core::port::Journal`]. They know the core and nothing of the engine.

mod limits;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(feature = "redis")]
pub use self::redis::{Durability, RedisJournal, RedisJournalOptions};
pub use limits::{INTENTS_MAX, RECORD_BYTES_MAX, RECORDS_MAX_DEFAULT};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use limits::{Unfit, encode};
pub use memory::MemoryJournal;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresJournal, PostgresJournalOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteJournal, SqliteJournalOptions};
