//! What can go wrong in the service, with the field, the value and what was expected.
//!
//! The service and the database raise these; HTTP and the load generator read them. Never carries SQL text or
//! customer names.

use std::sync::Arc;

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
    /// The database failed.
    #[error("database: {0}")]
    Database(Arc<rusqlite::Error>),
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

    /// The database said that someone else holds the time.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, ServiceError::Taken { .. })
    }
}

impl From<rusqlite::Error> for ServiceError {
    fn from(error: rusqlite::Error) -> ServiceError {
        ServiceError::Database(Arc::new(error))
    }
}
