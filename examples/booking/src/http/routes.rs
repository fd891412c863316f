//! The handlers: read the input, ask the service, show the answer.
//!
//! `http` mounts them. They hold no logic of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::cached::Read;
use crate::domain::{AvailabilityQuery, Branch, Company, NewAppointment};
use crate::http::error::ApiError;
use crate::http::input::{Fields, Parameters, path_id};
use crate::http::view::{self, AppointmentView};
use crate::service::BookingService;
use crate::time::Minute;

type Service = State<Arc<BookingService>>;
type Body = Result<Bytes, BytesRejection>;

/// `GET /companies`
pub(crate) async fn companies(State(service): Service) -> Result<Json<Vec<Company>>, ApiError> {
    Ok(Json(service.companies().await?))
}

/// `GET /companies/{company}/branches`
pub(crate) async fn branches(
    State(service): Service,
    Path(company): Path<String>,
) -> Result<Json<Vec<Branch>>, ApiError> {
    Ok(Json(service.branches(path_id("company", &company)?).await?))
}

/// `GET /companies/{company}/services`
pub(crate) async fn services(
    State(service): Service,
    Path(company): Path<String>,
) -> Result<Response, ApiError> {
    let read = service.services(path_id("company", &company)?).await?;
    Ok(shown(&read, &*read))
}

/// `GET /companies/{company}/statistics`
pub(crate) async fn statistics(
    State(service): Service,
    Path(company): Path<String>,
) -> Result<Response, ApiError> {
    let read = service.statistics(path_id("company", &company)?).await?;
    Ok(shown(&read, view::statistics(&read)))
}

/// `GET /companies/{company}/branches/{branch}/staff`
pub(crate) async fn staff(
    State(service): Service,
    Path((company, branch)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let read = service.staff(path_id("company", &company)?, path_id("branch", &branch)?).await?;
    Ok(shown(&read, &*read))
}

/// `GET /companies/{company}/branches/{branch}/availability?service=&day=&hour=`
pub(crate) async fn availability(
    State(service): Service,
    Path((company, branch)): Path<(String, String)>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, ApiError> {
    let parameters = Parameters::new(query, &["service", "day", "hour"])?;
    let query = AvailabilityQuery {
        company: path_id("company", &company)?,
        branch: path_id("branch", &branch)?,
        service: parameters.id("service")?,
        day: parameters.day("day")?,
        hour: parameters.hour("hour")?,
    };
    let read = service.availability(query).await?;
    Ok(shown(&read, view::availability(&read)))
}

/// `POST /companies/{company}/branches/{branch}/appointments`
pub(crate) async fn book(
    State(service): Service,
    Path((company, branch)): Path<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let fields = Fields::new(body, &["service", "staff", "starts", "customer"])?;
    let new = NewAppointment {
        company: path_id("company", &company)?,
        branch: path_id("branch", &branch)?,
        service: fields.id("service")?,
        staff: fields.optional_id("staff")?,
        customer: fields.text("customer")?,
        starts: fields.minute("starts")?,
        booked_at: now(),
    };
    let written = service.book(new).await?;
    let location = format!("/appointments/{}", written.appointment.id);
    let answer = Json(AppointmentView::from(written.appointment));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

/// `GET /appointments/{id}`
pub(crate) async fn appointment(
    State(service): Service,
    Path(id): Path<String>,
) -> Result<Json<AppointmentView>, ApiError> {
    Ok(Json(service.appointment(path_id("id", &id)?).await?.into()))
}

/// `POST /appointments/{id}/reschedule`
pub(crate) async fn reschedule(
    State(service): Service,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<AppointmentView>, ApiError> {
    let id = path_id("id", &id)?;
    let fields = Fields::new(body, &["starts", "staff"])?;
    let written = service.reschedule(id, fields.optional_id("staff")?, fields.minute("starts")?).await?;
    Ok(Json(written.appointment.into()))
}

/// `POST /appointments/{id}/cancel` and `DELETE /appointments/{id}`
pub(crate) async fn cancel(
    State(service): Service,
    Path(id): Path<String>,
) -> Result<Json<AppointmentView>, ApiError> {
    let written = service.cancel(path_id("id", &id)?).await?;
    Ok(Json(written.appointment.into()))
}

/// `GET /admin/cache/health`
pub(crate) async fn cache_health(State(service): Service) -> Response {
    let health = service.cache_health().await;
    let status = if health.serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// Everything else.
pub(crate) async fn unknown(request: axum::extract::Request) -> ApiError {
    let message =
        format!("there is no {} {}; the endpoints are listed at /", request.method(), request.uri().path());
    ApiError::plain(StatusCode::NOT_FOUND, "unknown_endpoint", message)
}

/// A known path with another method.
pub(crate) async fn wrong_method(request: axum::extract::Request) -> ApiError {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    ApiError::plain(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

/// The body, and in the header of RFC 9211 where it came from.
fn shown<T: Send + Sync + 'static>(read: &Read<T>, body: impl Serialize) -> Response {
    ([("cache-status", read.cache_status())], Json(body)).into_response()
}

fn now() -> Minute {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Minute(i64::try_from(seconds / 60).unwrap_or(0))
}
