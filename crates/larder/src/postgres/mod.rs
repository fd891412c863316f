//! The ground under the adapters for Postgres: connections that are made again when lost, Larder's schema, errors.
//!
//! Knows neither journals nor stores. Repeats no question, prepares nothing, and keeps nothing in a session.

mod error;
mod line;
mod migrate;
mod settings;

pub use error::PostgresError;
pub(crate) use line::{Line, Parameter};
pub(crate) use migrate::in_transaction;
pub use migrate::migrate;
pub(crate) use settings::{DEADLINE, Settings};
