//! What can go wrong in the service, with the field, the value and what was expected.
//!
//! The service and the database raise these; HTTP and the load generator read them. Never carries SQL text or
//! customer names.

use std::sync::Arc;

use crate::db::fault::Fault;
use crate::domain::{AppointmentId, StaffId};
use crate::time::Minute;

/// Why the service did not do what it was asked. Cheap to clone: everyone who waited for one load shares its error.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// A field of the request is not acceptable.
    #[error("field `{field}`: got {value}, expected {expected}")]
    Invalid { field: &'static str, value: String, expected: String },
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: i64 },
    /// The database refused: the time is taken.
    #[error("{starts} is already taken{}", match .staff { Some(staff) => format!(" for staff {staff}"), None => String::new() })]
    Taken { staff: Option<StaffId>, starts: Minute },
    /// The appointment was cancelled before.
    #[error("appointment {0} is cancelled")]
    Cancelled(AppointmentId),
    /// The service is closing, or its database thread is gone.
    #[error("the service is shutting down")]
    Closing,
    /// The cache could not answer, and not because of the loader.
    #[error("cache: {0}")]
    Cache(String),
    /// What the cache needs besides the loader could not be reached, or gave way.
    #[error("cache: {0}")]
    CacheOutage(String),
    /// The database failed.
    #[error("database: {0}")]
    Database(Arc<Fault>),
    /// The database file cannot be used.
    #[error("database {path}: {reason}")]
    Open { path: String, reason: String },
}

impl ServiceError {
    /// An `Invalid`; pass text quoted, with `{:?}`.
    pub(crate) fn invalid(
        field: &'static str,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> ServiceError {
        ServiceError::Invalid { field, value: value.to_string(), expected: expected.into() }
    }

    /// The outbox did not take a record.
    pub(crate) fn unrecorded(error: impl std::fmt::Display) -> ServiceError {
        ServiceError::Cache(format!("the invalidation was not recorded: {error}"))
    }

    /// The database said that someone else holds the time.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, ServiceError::Taken { .. })
    }

    /// A server is away. Nothing is wrong with what was asked; whether a change happened is not known.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            ServiceError::Database(fault) => fault.is_outage(),
            ServiceError::CacheOutage(_) => true,
            _ => false,
        }
    }
}

impl From<Fault> for ServiceError {
    fn from(fault: Fault) -> ServiceError {
        ServiceError::Database(Arc::new(fault))
    }
}

impl From<rusqlite::Error> for ServiceError {
    fn from(error: rusqlite::Error) -> ServiceError {
        Fault::Sqlite(error).into()
    }
}

impl From<tokio_postgres::Error> for ServiceError {
    fn from(error: tokio_postgres::Error) -> ServiceError {
        Fault::Postgres(error).into()
    }
}
