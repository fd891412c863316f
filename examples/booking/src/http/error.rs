//! Errors as JSON: a code for programs, a sentence for people, and for input the field, the value, what was expected.
//!
//! The handlers return it. A failure of the database is logged and reported without its text.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::console;
use crate::error::ServiceError;

/// An error response.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Body,
}

#[derive(Debug, Serialize)]
struct Body {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
}

impl ApiError {
    /// Without a field.
    pub(crate) fn plain(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            body: Body { code, message: message.into(), field: None, value: None, expected: None },
        }
    }

    /// About one field of the request.
    pub(crate) fn field(field: &str, value: impl Into<String>, expected: impl Into<String>) -> ApiError {
        let (value, expected) = (value.into(), expected.into());
        let message = format!("field `{field}`: got {value}, expected {expected}");
        ApiError {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            body: Body {
                code: "invalid_field",
                message,
                field: Some(field.to_owned()),
                value: Some(value),
                expected: Some(expected),
            },
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> ApiError {
        let message = error.to_string();
        match error {
            ServiceError::Invalid { field, value, expected } => ApiError::field(field, value, expected),
            ServiceError::NotFound { .. } => ApiError::plain(StatusCode::NOT_FOUND, "not_found", message),
            ServiceError::Taken { .. } => ApiError::plain(StatusCode::CONFLICT, "taken", message),
            ServiceError::Cancelled(_) => ApiError::plain(StatusCode::CONFLICT, "cancelled", message),
            ServiceError::Closing => ApiError::plain(StatusCode::SERVICE_UNAVAILABLE, "closing", message),
            ServiceError::Cache(_)
            | ServiceError::CacheOutage(_)
            | ServiceError::Database(_)
            | ServiceError::Open { .. } => {
                console::message(&message);
                let message = "the service failed; the reason is in its log";
                ApiError::plain(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope {
            error: Body,
        }
        (self.status, Json(Envelope { error: self.body })).into_response()
    }
}
