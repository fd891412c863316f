//! Larder.
pub mod journal;
#[cfg(feature = "sqlite")]
pub mod outbox;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
