//! Reads path segments, query parameters and JSON bodies, field by field, so that errors can name the field.
//!
//! The handlers call it. It never touches the service.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::http::error::ApiError;
use crate::time::{DAY_EXPECTED, Day, MINUTE_EXPECTED, Minute};

const ID_EXPECTED: &str = "a positive whole number";
/// How much of a wrong value is shown back.
const SHOWN_CHARS_MAX: usize = 60;

/// An id in the path.
pub(crate) fn path_id(field: &str, text: &str) -> Result<i64, ApiError> {
    id(text).ok_or_else(|| ApiError::field(field, quoted(text), ID_EXPECTED))
}

/// Query parameters, each used at most once.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn new(
        query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
        known: &[&str],
    ) -> Result<Parameters, ApiError> {
        let Query(parameters) = query
            .map_err(|error| ApiError::plain(StatusCode::BAD_REQUEST, "invalid_query", error.body_text()))?;
        check_known(parameters.keys(), known)?;
        Ok(Parameters(parameters))
    }

    pub(crate) fn id(&self, field: &str) -> Result<i64, ApiError> {
        self.read(field, ID_EXPECTED, id)?.ok_or_else(|| ApiError::field(field, "nothing", ID_EXPECTED))
    }

    pub(crate) fn day(&self, field: &str) -> Result<Day, ApiError> {
        self.read(field, DAY_EXPECTED, Day::parse)?
            .ok_or_else(|| ApiError::field(field, "nothing", DAY_EXPECTED))
    }

    pub(crate) fn hour(&self, field: &str) -> Result<Option<u8>, ApiError> {
        let hour = |text: &str| text.parse::<u8>().ok().filter(|hour| *hour < 24);
        self.read(field, "an hour of the day, 0 to 23", hour)
    }

    fn read<T>(
        &self,
        field: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.0.get(field) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| ApiError::field(field, quoted(text), expected))
    }
}

/// A JSON object.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn new(body: Result<Bytes, BytesRejection>, known: &[&str]) -> Result<Fields, ApiError> {
        let body =
            body.map_err(|error| ApiError::plain(error.status(), "invalid_body", error.body_text()))?;
        let refuse = |message: String| ApiError::plain(StatusCode::BAD_REQUEST, "invalid_body", message);
        let expected = format!("expected a JSON object with: {}", known.join(", "));
        let value: Value = serde_json::from_slice(&body)
            .map_err(|error| refuse(format!("the body is not JSON ({error}); {expected}")))?;
        let Value::Object(fields) = value else {
            return Err(refuse(format!("the body is JSON but no object; {expected}")));
        };
        check_known(fields.keys(), known)?;
        Ok(Fields(fields))
    }

    pub(crate) fn id(&self, field: &str) -> Result<i64, ApiError> {
        self.optional_id(field)?.ok_or_else(|| ApiError::field(field, "nothing", ID_EXPECTED))
    }

    pub(crate) fn optional_id(&self, field: &str) -> Result<Option<i64>, ApiError> {
        let number = |value: &Value| value.as_i64().filter(|id| *id > 0);
        self.read(field, ID_EXPECTED, number)
    }

    pub(crate) fn minute(&self, field: &str) -> Result<Minute, ApiError> {
        let minute = |value: &Value| value.as_str().and_then(Minute::parse);
        self.read(field, MINUTE_EXPECTED, minute)?
            .ok_or_else(|| ApiError::field(field, "nothing", MINUTE_EXPECTED))
    }

    pub(crate) fn text(&self, field: &str) -> Result<String, ApiError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.read(field, "a text", text)?.ok_or_else(|| ApiError::field(field, "nothing", "a text"))
    }

    /// `null` counts as absent.
    fn read<T>(
        &self,
        field: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.0.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| ApiError::field(field, shortened(&value.to_string()), expected))
    }
}

fn check_known<'a>(names: impl Iterator<Item = &'a String>, known: &[&str]) -> Result<(), ApiError> {
    for name in names {
        if !known.contains(&name.as_str()) {
            return Err(ApiError::field(
                &shortened(name),
                "an unknown field",
                format!("only: {}", known.join(", ")),
            ));
        }
    }
    Ok(())
}

fn id(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id| *id > 0)
}

fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect()
}
