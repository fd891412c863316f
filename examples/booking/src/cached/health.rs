//! How the cache is, for people and monitors.
//!
//! `GET /admin/cache/health` shows it. It never contains keys or values.

use serde::Serialize;

/// The cache's state.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    /// The service answers; the database behind it can be reached.
    pub(crate) serving: bool,
    /// `ok`, `degraded` (reads go to the database more than they should) or `off`.
    pub(crate) status: &'static str,
    /// Which cache it is.
    pub(crate) cache: &'static str,
    /// Loaders run and SQL queries sent since the start.
    pub(crate) origin: OriginHealth,
}

/// What reads have cost the database.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OriginHealth {
    pub(crate) loads: u64,
    pub(crate) queries: u64,
}
