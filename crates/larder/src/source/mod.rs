//! Sources: loaders that ask an origin by themselves, given a key.
//!
//! Clients of regions, called from loaders; the engine does not know them. They keep nothing, and never write.

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresOrigin, PostgresSource};
