//! The questions asked of the book, each inside a snapshot the caller opened.
//!
//! The service's loaders and the writer's checks call it. It never writes and never caches.

use rusqlite::{OptionalExtension, Row, Transaction};

use crate::db::OriginCounts;
use crate::domain::{
    Appointment, AppointmentId, Availability, AvailabilityQuery, Branch, BranchId, Company, CompanyId,
    DayKey, OpeningHours, Service, ServiceId, Slot, Staff, Status, starts_within,
};
use crate::error::ServiceError;
use crate::time::{DAY_MINUTES, Day, Minute};

/// How many appointments overlap an earlier one of the same person. By start, an overlap shows between neighbours.
pub(crate) fn overlaps(tx: &Transaction<'_>) -> Result<u64, ServiceError> {
    let mut statement = tx.prepare_cached(
        "SELECT count(*) FROM (SELECT starts, lag(ends) OVER (PARTITION BY staff_id ORDER BY starts) AS before \
         FROM appointment WHERE status = 'booked') WHERE starts < before",
    )?;
    let found: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(found).unwrap_or(0))
}

/// All companies, by id.
pub(crate) fn companies(tx: &Transaction<'_>) -> Result<Vec<Company>, ServiceError> {
    let mut statement = tx.prepare_cached("SELECT id, name FROM company ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok(Company { id: row.get(0)?, name: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The branches of a company, by id.
pub(crate) fn branches(tx: &Transaction<'_>, company: CompanyId) -> Result<Vec<Branch>, ServiceError> {
    company_exists(tx, company)?;
    let mut statement = tx.prepare_cached(
        "SELECT id, company_id, name, step_minutes FROM branch WHERE company_id = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([company], branch_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The services of a company, by id.
pub(crate) fn services(
    tx: &Transaction<'_>,
    company: CompanyId,
    origin: &OriginCounts,
) -> Result<Vec<Service>, ServiceError> {
    origin.add_queries(2);
    company_exists(tx, company)?;
    let mut statement = tx.prepare_cached(
        "SELECT id, name, duration_minutes, price_cents FROM service WHERE company_id = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([company], service_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The staff of a branch, by id.
pub(crate) fn staff(
    tx: &Transaction<'_>,
    company: CompanyId,
    branch_id: BranchId,
    origin: &OriginCounts,
) -> Result<Vec<Staff>, ServiceError> {
    origin.add_queries(2);
    branch(tx, company, branch_id)?;
    Ok(staff_of(tx, branch_id)?)
}

/// What is free, with the day's version, in one snapshot.
pub(crate) fn availability(
    tx: &Transaction<'_>,
    query: &AvailabilityQuery,
    origin: &OriginCounts,
) -> Result<Availability, ServiceError> {
    origin.add_queries(6);
    let branch = branch(tx, query.company, query.branch)?;
    let service = service(tx, query.company, query.service)?;
    let day = DayKey { company: query.company, branch: query.branch, day: query.day };
    let version = day_version(tx, day)?;
    let hours = opening_hours(tx, query.branch)?;
    let starts = starts_within(&hours, query.day, branch.step_minutes, service.duration_minutes, query.hour);
    let staff = staff_of(tx, query.branch)?;
    let taken = taken(tx, query.branch, query.day, service.duration_minutes)?;
    let mut slots = Vec::new();
    for start in starts {
        let end = start.plus(service.duration_minutes);
        let free = staff.iter().filter(|person| {
            !taken.iter().any(|busy| busy.staff == person.id && busy.starts < end && busy.ends > start)
        });
        slots.extend(free.map(|person| Slot { starts: start, staff: person.id }));
    }
    Ok(Availability { day, version, duration_minutes: service.duration_minutes, slots })
}

/// One appointment.
pub(crate) fn appointment(tx: &Transaction<'_>, id: AppointmentId) -> Result<Appointment, ServiceError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, company_id, branch_id, service_id, staff_id, customer, starts, ends, status, changes \
         FROM appointment WHERE id = ?1",
    )?;
    let found = statement.query_row([id], |row| {
        let status: String = row.get(8)?;
        Ok(Appointment {
            id: row.get(0)?,
            company: row.get(1)?,
            branch: row.get(2)?,
            service: row.get(3)?,
            staff: row.get(4)?,
            customer: row.get(5)?,
            starts: Minute(row.get(6)?),
            ends: Minute(row.get(7)?),
            status: if status == "booked" { Status::Booked } else { Status::Cancelled },
            changes: row.get(9)?,
        })
    });
    found.optional()?.ok_or(ServiceError::NotFound { what: "appointment", id })
}

/// One branch, if it is the company's.
pub(crate) fn branch(tx: &Transaction<'_>, company: CompanyId, id: BranchId) -> Result<Branch, ServiceError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, company_id, name, step_minutes FROM branch WHERE id = ?1 AND company_id = ?2",
    )?;
    let found = statement.query_row([id, company], branch_of).optional()?;
    found.ok_or(ServiceError::NotFound { what: "branch", id })
}

/// One service, if it is the company's.
pub(crate) fn service(
    tx: &Transaction<'_>,
    company: CompanyId,
    id: ServiceId,
) -> Result<Service, ServiceError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, name, duration_minutes, price_cents FROM service WHERE id = ?1 AND company_id = ?2",
    )?;
    let found = statement.query_row([id, company], service_of).optional()?;
    found.ok_or(ServiceError::NotFound { what: "service", id })
}

/// The staff of a branch, without checking that there is such a branch.
pub(crate) fn staff_of(tx: &Transaction<'_>, branch: BranchId) -> rusqlite::Result<Vec<Staff>> {
    let mut statement = tx.prepare_cached("SELECT id, name FROM staff WHERE branch_id = ?1 ORDER BY id")?;
    statement.query_map([branch], |row| Ok(Staff { id: row.get(0)?, name: row.get(1)? }))?.collect()
}

/// The week of a branch.
pub(crate) fn opening_hours(tx: &Transaction<'_>, branch: BranchId) -> rusqlite::Result<Vec<OpeningHours>> {
    let mut statement =
        tx.prepare_cached("SELECT weekday, opens, closes FROM opening_hours WHERE branch_id = ?1")?;
    statement
        .query_map([branch], |row| {
            Ok(OpeningHours { weekday: row.get(0)?, opens: row.get(1)?, closes: row.get(2)? })
        })?
        .collect()
}

/// The version of a day; 0 when nothing was ever written there.
pub(crate) fn day_version(tx: &Transaction<'_>, key: DayKey) -> rusqlite::Result<i64> {
    let mut statement = tx.prepare_cached(
        "SELECT version FROM day_version WHERE company_id = ?1 AND branch_id = ?2 AND day = ?3",
    )?;
    let version = statement.query_row((key.company, key.branch, key.day.0), |row| row.get(0)).optional()?;
    Ok(version.unwrap_or(0))
}

/// A time someone is busy.
struct Busy {
    staff: i64,
    starts: Minute,
    ends: Minute,
}

/// The booked appointments that a slot starting on `day` and lasting `duration` could meet.
fn taken(tx: &Transaction<'_>, branch: BranchId, day: Day, duration: i64) -> rusqlite::Result<Vec<Busy>> {
    let mut statement = tx.prepare_cached(
        "SELECT staff_id, starts, ends FROM appointment \
         WHERE branch_id = ?1 AND status = 'booked' AND starts > ?2 AND starts < ?3 AND ends > ?4",
    )?;
    let (from, to) = (day.start(), day.at(DAY_MINUTES + duration));
    // None lasts longer than a day, so none that began a day before is still running.
    let earliest = from.plus(-DAY_MINUTES);
    statement
        .query_map((branch, earliest.0, to.0, from.0), |row| {
            Ok(Busy { staff: row.get(0)?, starts: Minute(row.get(1)?), ends: Minute(row.get(2)?) })
        })?
        .collect()
}

fn company_exists(tx: &Transaction<'_>, company: CompanyId) -> Result<(), ServiceError> {
    let mut statement = tx.prepare_cached("SELECT 1 FROM company WHERE id = ?1")?;
    if statement.exists([company])? {
        Ok(())
    } else {
        Err(ServiceError::NotFound { what: "company", id: company })
    }
}

fn branch_of(row: &Row<'_>) -> rusqlite::Result<Branch> {
    Ok(Branch { id: row.get(0)?, company: row.get(1)?, name: row.get(2)?, step_minutes: row.get(3)? })
}

fn service_of(row: &Row<'_>) -> rusqlite::Result<Service> {
    Ok(Service {
        id: row.get(0)?,
        name: row.get(1)?,
        duration_minutes: row.get(2)?,
        price_cents: row.get(3)?,
    })
}
