//! The changes of the book: book, reschedule, cancel, each inside the one write transaction it is given.
//!
//! The service calls it on the writer's thread. Each change raises the versions of what it touches and then calls
//! the hook that names the same things to the cache's outbox, so the three live or die together. It never commits.

use std::collections::BTreeSet;

use rusqlite::{ErrorCode, OptionalExtension, Transaction};

use crate::db::read;
use crate::db::schema::REFUSAL;
use crate::domain::{
    Appointment, AppointmentId, Branch, CUSTOMER_CHARS_MAX, CompanyId, DayKey, NewAppointment, Service,
    StaffId, Status, Touched, starts_within,
};
use crate::error::ServiceError;
use crate::time::Minute;

/// Says, in the caller's transaction, what is to be invalidated and why.
pub(crate) type Outbox<'a> = &'a dyn Fn(&Transaction<'_>, &Touched, &'static str) -> Result<(), ServiceError>;

/// A committed change: the appointment as it is now, and the versions it raised.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) appointment: Appointment,
    /// The hours it touched, counted from 1970.
    pub(crate) hours: BTreeSet<i64>,
    pub(crate) days: Vec<(DayKey, i64)>,
    pub(crate) company_version: i64,
    /// Where its record is in the journal, or a little further; known once the cache has applied it.
    pub(crate) record: Option<u64>,
}

/// Books.
///
/// # Errors
/// `Taken` when the database refuses, `Invalid` or `NotFound` when the request does not fit the book.
pub(crate) fn book(
    tx: &Transaction<'_>,
    new: &NewAppointment,
    outbox: Outbox<'_>,
) -> Result<Written, ServiceError> {
    check_customer(&new.customer)?;
    let branch = read::branch(tx, new.company, new.branch)?;
    let service = read::service(tx, new.company, new.service)?;
    let ends = check_start(tx, &branch, service.duration_minutes, new.starts)?;
    let staff = choose_staff(tx, &branch, new.staff, new.starts, ends)?;
    insert(tx, new, &service, staff, ends).map_err(|error| refusal(error, staff, new.starts))?;
    let id = tx.last_insert_rowid();
    let mut touched = Touched::new(new.company, new.branch);
    touched.add(new.starts, ends, longest_service(tx, new.company)?);
    finish(tx, id, &touched, "booked", outbox)
}

/// Moves an appointment to another time, and to `staff` if given.
///
/// # Errors
/// As [`book`]; `Cancelled` when there is nothing left to move.
pub(crate) fn reschedule(
    tx: &Transaction<'_>,
    id: AppointmentId,
    staff: Option<StaffId>,
    starts: Minute,
    outbox: Outbox<'_>,
) -> Result<Written, ServiceError> {
    let old = still_booked(tx, id)?;
    let branch = read::branch(tx, old.company, old.branch)?;
    let duration = old.ends.0 - old.starts.0;
    let ends = check_start(tx, &branch, duration, starts)?;
    let staff = match staff {
        Some(wanted) => choose_staff(tx, &branch, Some(wanted), starts, ends)?,
        None => old.staff,
    };
    tx.prepare_cached(
        "UPDATE appointment SET staff_id = ?2, starts = ?3, ends = ?4, changes = changes + 1 WHERE id = ?1",
    )?
    .execute((id, staff, starts.0, ends.0))
    .map_err(|error| refusal(error, staff, starts))?;
    let longest = longest_service(tx, old.company)?;
    let mut touched = Touched::new(old.company, old.branch);
    touched.add(old.starts, old.ends, longest);
    touched.add(starts, ends, longest);
    finish(tx, id, &touched, "rescheduled", outbox)
}

/// Gives the time back.
///
/// # Errors
/// `NotFound`, or `Cancelled` when it was cancelled before.
pub(crate) fn cancel(
    tx: &Transaction<'_>,
    id: AppointmentId,
    outbox: Outbox<'_>,
) -> Result<Written, ServiceError> {
    let old = still_booked(tx, id)?;
    tx.prepare_cached("UPDATE appointment SET status = 'cancelled' WHERE id = ?1")?.execute([id])?;
    let mut touched = Touched::new(old.company, old.branch);
    touched.add(old.starts, old.ends, longest_service(tx, old.company)?);
    finish(tx, id, &touched, "cancelled", outbox)
}

fn still_booked(tx: &Transaction<'_>, id: AppointmentId) -> Result<Appointment, ServiceError> {
    let appointment = read::appointment(tx, id)?;
    match appointment.status {
        Status::Booked => Ok(appointment),
        Status::Cancelled => Err(ServiceError::Cancelled(id)),
    }
}

fn check_customer(customer: &str) -> Result<(), ServiceError> {
    let characters = customer.chars().count();
    if customer.trim().is_empty() || characters > CUSTOMER_CHARS_MAX || customer.chars().any(char::is_control)
    {
        // The name itself is not repeated: errors are logged.
        let value = format!("a text of {characters} characters");
        let expected =
            format!("a name of 1 to {CUSTOMER_CHARS_MAX} characters, not blank, without control characters");
        return Err(ServiceError::invalid("customer", value, expected));
    }
    Ok(())
}

/// The end, if the start fits the opening hours and the branch's steps.
fn check_start(
    tx: &Transaction<'_>,
    branch: &Branch,
    duration: i64,
    starts: Minute,
) -> Result<Minute, ServiceError> {
    let hours = read::opening_hours(tx, branch.id)?;
    let possible = starts_within(&hours, starts.day(), branch.step_minutes, duration, None);
    if possible.binary_search(&starts).is_ok() {
        return Ok(starts.plus(duration));
    }
    let expected = match (possible.first(), possible.last()) {
        (Some(first), Some(last)) => {
            format!("a start from {first} to {last}, every {} minutes after opening", branch.step_minutes)
        }
        _ => format!("a day the branch is open; it is closed on {}", starts.day()),
    };
    Err(ServiceError::invalid("starts", format!("\"{starts}\""), expected))
}

/// The person asked for, or the first who is free then.
fn choose_staff(
    tx: &Transaction<'_>,
    branch: &Branch,
    wanted: Option<StaffId>,
    starts: Minute,
    ends: Minute,
) -> Result<StaffId, ServiceError> {
    if let Some(id) = wanted {
        let works_here = tx
            .prepare_cached("SELECT 1 FROM staff WHERE id = ?1 AND branch_id = ?2")?
            .exists((id, branch.id))?;
        return if works_here {
            Ok(id)
        } else {
            Err(ServiceError::NotFound { what: "staff member at this branch", id })
        };
    }
    let mut statement = tx.prepare_cached(
        "SELECT id FROM staff WHERE branch_id = ?1 AND NOT EXISTS ( \
             SELECT 1 FROM appointment AS other WHERE other.staff_id = staff.id AND other.status = 'booked' \
             AND other.starts > ?2 - 1440 AND other.starts < ?3 AND other.ends > ?2) \
         ORDER BY id LIMIT 1",
    )?;
    let free = statement.query_row((branch.id, starts.0, ends.0), |row| row.get(0)).optional()?;
    free.ok_or(ServiceError::Taken { staff: None, starts })
}

fn insert(
    tx: &Transaction<'_>,
    new: &NewAppointment,
    service: &Service,
    staff: StaffId,
    ends: Minute,
) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "INSERT INTO appointment \
             (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, booked_at, price_cents) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'booked', ?8, ?9)",
    )?
    .execute((
        new.company,
        new.branch,
        service.id,
        staff,
        new.customer.as_str(),
        new.starts.0,
        ends.0,
        new.booked_at.0,
        service.price_cents,
    ))
}

/// Turns the triggers' abort, or the unique index's, into `Taken`; other failures stay what they are.
fn refusal(error: rusqlite::Error, staff: StaffId, starts: Minute) -> ServiceError {
    match &error {
        rusqlite::Error::SqliteFailure(code, Some(text))
            if code.code == ErrorCode::ConstraintViolation
                && (text == REFUSAL || text.starts_with("UNIQUE constraint failed: appointment.")) =>
        {
            ServiceError::Taken { staff: Some(staff), starts }
        }
        _ => error.into(),
    }
}

fn longest_service(tx: &Transaction<'_>, company: CompanyId) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT coalesce(max(duration_minutes), 0) FROM service WHERE company_id = ?1")?
        .query_row([company], |row| row.get(0))
}

/// Raises the versions, calls the outbox, and reads the appointment back.
fn finish(
    tx: &Transaction<'_>,
    id: AppointmentId,
    touched: &Touched,
    cause: &'static str,
    outbox: Outbox<'_>,
) -> Result<Written, ServiceError> {
    let mut days = Vec::new();
    for day in touched.days() {
        days.push((day, raise_day(tx, day)?));
    }
    let company_version = raise_company(tx, touched.company)?;
    outbox(tx, touched, cause)?;
    let hours = touched.hours.clone();
    Ok(Written { appointment: read::appointment(tx, id)?, hours, days, company_version, record: None })
}

fn raise_day(tx: &Transaction<'_>, key: DayKey) -> rusqlite::Result<i64> {
    tx.prepare_cached(
        "INSERT INTO day_version (company_id, branch_id, day, version) VALUES (?1, ?2, ?3, 1) \
         ON CONFLICT DO UPDATE SET version = version + 1 RETURNING version",
    )?
    .query_row((key.company, key.branch, key.day.0), |row| row.get(0))
}

fn raise_company(tx: &Transaction<'_>, company: CompanyId) -> rusqlite::Result<i64> {
    tx.prepare_cached("UPDATE company SET version = version + 1 WHERE id = ?1 RETURNING version")?
        .query_row([company], |row| row.get(0))
}
