//! The questions asked of the book, each inside a snapshot the caller opened.
//!
//! The database's loaders and the changes' checks call it. It never writes and never caches.

use crate::db::OriginCounts;
use crate::db::tx::{Row, Tx};
use crate::domain::{
    Appointment, AppointmentId, Availability, AvailabilityQuery, Branch, BranchId, Company, CompanyId,
    DayKey, OpeningHours, Service, ServiceId, Slot, Staff, Status, starts_within,
};
use crate::error::ServiceError;
use crate::time::{DAY_MINUTES, Day, Minute};

/// How many appointments overlap an earlier one of the same person. By start, an overlap shows between neighbours.
pub(crate) async fn overlaps(tx: &impl Tx) -> Result<u64, ServiceError> {
    let found = tx
        .number(
            "SELECT count(*) FROM (SELECT starts, lag(ends) OVER (PARTITION BY staff_id ORDER BY starts) AS before \
             FROM appointment WHERE status = 'booked') AS neighbours WHERE starts < before",
            &[],
        )
        .await?;
    Ok(u64::try_from(found).unwrap_or(0))
}

/// All companies, by id.
pub(crate) async fn companies(tx: &impl Tx) -> Result<Vec<Company>, ServiceError> {
    tx.rows("SELECT id, name FROM company ORDER BY id", &[], |row| {
        Ok(Company { id: row.get(0)?, name: row.get(1)? })
    })
    .await
}

/// The branches of a company, by id.
pub(crate) async fn branches(tx: &impl Tx, company: CompanyId) -> Result<Vec<Branch>, ServiceError> {
    company_exists(tx, company).await?;
    let sql = "SELECT id, company_id, name, step_minutes FROM branch WHERE company_id = $1 ORDER BY id";
    tx.rows(sql, &[company.into()], branch_of).await
}

/// The services of a company, by id.
pub(crate) async fn services(
    tx: &impl Tx,
    company: CompanyId,
    origin: &OriginCounts,
) -> Result<Vec<Service>, ServiceError> {
    origin.add_queries(2);
    company_exists(tx, company).await?;
    let sql = "SELECT id, name, duration_minutes, price_cents FROM service WHERE company_id = $1 ORDER BY id";
    tx.rows(sql, &[company.into()], service_of).await
}

/// The staff of a branch, by id.
pub(crate) async fn staff(
    tx: &impl Tx,
    company: CompanyId,
    branch_id: BranchId,
    origin: &OriginCounts,
) -> Result<Vec<Staff>, ServiceError> {
    origin.add_queries(2);
    branch(tx, company, branch_id).await?;
    staff_of(tx, branch_id).await
}

/// What is free, with the day's version, in one snapshot.
pub(crate) async fn availability(
    tx: &impl Tx,
    query: &AvailabilityQuery,
    origin: &OriginCounts,
) -> Result<Availability, ServiceError> {
    origin.add_queries(6);
    let day = DayKey { company: query.company, branch: query.branch, day: query.day };
    // Sent together where that saves time on the way.
    let (branch, service, version, hours, staff) = tokio::try_join!(
        branch(tx, query.company, query.branch),
        service(tx, query.company, query.service),
        day_version(tx, day),
        opening_hours(tx, query.branch),
        staff_of(tx, query.branch),
    )?;
    let starts = starts_within(&hours, query.day, branch.step_minutes, service.duration_minutes, query.hour);
    let taken = taken(tx, query.branch, query.day, service.duration_minutes).await?;
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
pub(crate) async fn appointment(tx: &impl Tx, id: AppointmentId) -> Result<Appointment, ServiceError> {
    let found = tx
        .row(
            "SELECT id, company_id, branch_id, service_id, staff_id, customer, starts, ends, status, changes \
             FROM appointment WHERE id = $1",
            &[id.into()],
            |row| {
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
                    changes: row.small(9)?,
                })
            },
        )
        .await?;
    found.ok_or(ServiceError::NotFound { what: "appointment", id })
}

/// One branch, if it is the company's.
pub(crate) async fn branch(tx: &impl Tx, company: CompanyId, id: BranchId) -> Result<Branch, ServiceError> {
    let sql = "SELECT id, company_id, name, step_minutes FROM branch WHERE id = $1 AND company_id = $2";
    let found = tx.row(sql, &[id.into(), company.into()], branch_of).await?;
    found.ok_or(ServiceError::NotFound { what: "branch", id })
}

/// One service, if it is the company's.
pub(crate) async fn service(
    tx: &impl Tx,
    company: CompanyId,
    id: ServiceId,
) -> Result<Service, ServiceError> {
    let sql = "SELECT id, name, duration_minutes, price_cents FROM service WHERE id = $1 AND company_id = $2";
    let found = tx.row(sql, &[id.into(), company.into()], service_of).await?;
    found.ok_or(ServiceError::NotFound { what: "service", id })
}

/// The staff of a branch, without checking that there is such a branch.
pub(crate) async fn staff_of(tx: &impl Tx, branch: BranchId) -> Result<Vec<Staff>, ServiceError> {
    tx.rows("SELECT id, name FROM staff WHERE branch_id = $1 ORDER BY id", &[branch.into()], |row| {
        Ok(Staff { id: row.get(0)?, name: row.get(1)? })
    })
    .await
}

/// The week of a branch.
pub(crate) async fn opening_hours(tx: &impl Tx, branch: BranchId) -> Result<Vec<OpeningHours>, ServiceError> {
    tx.rows(
        "SELECT weekday, opens, closes FROM opening_hours WHERE branch_id = $1",
        &[branch.into()],
        |row| Ok(OpeningHours { weekday: row.small(0)?, opens: row.get(1)?, closes: row.get(2)? }),
    )
    .await
}

/// The version of a day; 0 when nothing was ever written there.
async fn day_version(tx: &impl Tx, key: DayKey) -> Result<i64, ServiceError> {
    tx.number(
        "SELECT version FROM day_version WHERE company_id = $1 AND branch_id = $2 AND day = $3",
        &[key.company.into(), key.branch.into(), i64::from(key.day.0).into()],
    )
    .await
}

/// A time someone is busy.
struct Busy {
    staff: i64,
    starts: Minute,
    ends: Minute,
}

/// The booked appointments that a slot starting on `day` and lasting `duration` could meet.
async fn taken(tx: &impl Tx, branch: BranchId, day: Day, duration: i64) -> Result<Vec<Busy>, ServiceError> {
    let (from, to) = (day.start(), day.at(DAY_MINUTES + duration));
    // None lasts longer than a day, so none that began a day before is still running.
    let earliest = from.plus(-DAY_MINUTES);
    tx.rows(
        "SELECT staff_id, starts, ends FROM appointment \
         WHERE branch_id = $1 AND status = 'booked' AND starts > $2 AND starts < $3 AND ends > $4",
        &[branch.into(), earliest.0.into(), to.0.into(), from.0.into()],
        |row| Ok(Busy { staff: row.get(0)?, starts: Minute(row.get(1)?), ends: Minute(row.get(2)?) }),
    )
    .await
}

async fn company_exists(tx: &impl Tx, company: CompanyId) -> Result<(), ServiceError> {
    if tx.finds("SELECT 1 FROM company WHERE id = $1", &[company.into()]).await? {
        Ok(())
    } else {
        Err(ServiceError::NotFound { what: "company", id: company })
    }
}

fn branch_of(row: &Row<'_>) -> Result<Branch, ServiceError> {
    Ok(Branch { id: row.get(0)?, company: row.get(1)?, name: row.get(2)?, step_minutes: row.get(3)? })
}

fn service_of(row: &Row<'_>) -> Result<Service, ServiceError> {
    Ok(Service {
        id: row.get(0)?,
        name: row.get(1)?,
        duration_minutes: row.get(2)?,
        price_cents: row.get(3)?,
    })
}
