//! The changes of the book: book, reschedule, cancel, each inside the one write transaction it is given.
//!
//! `db` calls it. Each change raises the versions of what it touches and names the same things to the cache's outbox,
//! so the three live or die together. It never commits.

use larder::{Target, Token};

use crate::db::read;
use crate::db::tx::Tx;
use crate::domain::{
    Appointment, AppointmentId, Branch, CUSTOMER_CHARS_MAX, CompanyId, DayKey, NewAppointment, Service,
    StaffId, Status, Touched, starts_within,
};
use crate::error::ServiceError;
use crate::time::Minute;

/// Whom a change tells, in its own transaction, what it touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbox {
    pub(crate) namespace: &'static str,
    pub(crate) targets: fn(&Touched) -> Vec<Target>,
}

/// A change that someone asks for.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Book(NewAppointment),
    /// To another time, and to `staff` if given.
    Move {
        id: AppointmentId,
        staff: Option<StaffId>,
        starts: Minute,
    },
    /// Gives the time back.
    Cancel(AppointmentId),
}

/// A committed change: the appointment as it is now, and the versions it raised.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) appointment: Appointment,
    pub(crate) touched: Touched,
    pub(crate) days: Vec<(DayKey, i64)>,
    pub(crate) company_version: i64,
    /// Where its record is in the journal, or a little further; known once the cache has applied it.
    pub(crate) record: Option<u64>,
    /// Whoever presents it to any node sees the change there; there is one if the cache could ask its journal.
    pub(crate) token: Option<Token>,
}

/// Carries a change out.
///
/// # Errors
/// `Taken` when the database refuses, `Invalid` or `NotFound` when the request does not fit the book, `Cancelled` when
/// there is nothing left to move or to cancel.
pub(crate) async fn carry_out(
    tx: &impl Tx,
    change: &Change,
    outbox: Option<Outbox>,
) -> Result<Written, ServiceError> {
    let (id, touched, cause) = match change {
        Change::Book(new) => book(tx, new).await?,
        Change::Move { id, staff, starts } => reschedule(tx, *id, *staff, *starts).await?,
        Change::Cancel(id) => cancel(tx, *id).await?,
    };
    if let Some(Outbox { namespace, targets }) = outbox {
        tx.invalidate(namespace, targets(&touched), cause).await?;
    }
    let appointment = read::appointment(tx, id).await?;
    // Last: until the commit, every other change of the company waits for these rows.
    let mut days = Vec::new();
    for day in touched.days() {
        days.push((day, raise_day(tx, day).await?));
    }
    let raise = "UPDATE company SET version = version + 1 WHERE id = $1 RETURNING version";
    let company_version = tx.number(raise, &[touched.company.into()]).await?;
    Ok(Written { appointment, touched, days, company_version, record: None, token: None })
}

/// The appointment, what changing it touches, and why it was changed.
type Changed = (AppointmentId, Touched, &'static str);

async fn book(tx: &impl Tx, new: &NewAppointment) -> Result<Changed, ServiceError> {
    check_customer(&new.customer)?;
    let (branch, service, longest) = tokio::try_join!(
        read::branch(tx, new.company, new.branch),
        read::service(tx, new.company, new.service),
        longest_service(tx, new.company),
    )?;
    let ends = check_start(tx, &branch, service.duration_minutes, new.starts).await?;
    let staff = choose_staff(tx, &branch, new.staff, new.starts, ends).await?;
    let inserted = insert(tx, new, &service, staff, ends).await;
    let id = inserted.map_err(|error| refusal(error, staff, new.starts))?;
    let mut touched = Touched::new(new.company, new.branch);
    touched.add(new.starts, ends, longest);
    Ok((id, touched, "booked"))
}

async fn reschedule(
    tx: &impl Tx,
    id: AppointmentId,
    staff: Option<StaffId>,
    starts: Minute,
) -> Result<Changed, ServiceError> {
    let old = still_booked(tx, id).await?;
    let branch = read::branch(tx, old.company, old.branch).await?;
    let duration = old.ends.0 - old.starts.0;
    let ends = check_start(tx, &branch, duration, starts).await?;
    let staff = choose_staff(tx, &branch, Some(staff.unwrap_or(old.staff)), starts, ends).await?;
    let sql =
        "UPDATE appointment SET staff_id = $1, starts = $2, ends = $3, changes = changes + 1 WHERE id = $4";
    let moved = tx.execute_all(sql, &[[staff.into(), starts.0.into(), ends.0.into(), id.into()]]).await;
    moved.map_err(|error| refusal(error, staff, starts))?;
    let longest = longest_service(tx, old.company).await?;
    let mut touched = Touched::new(old.company, old.branch);
    touched.add(old.starts, old.ends, longest);
    touched.add(starts, ends, longest);
    Ok((id, touched, "rescheduled"))
}

async fn cancel(tx: &impl Tx, id: AppointmentId) -> Result<Changed, ServiceError> {
    let old = still_booked(tx, id).await?;
    tx.execute_all("UPDATE appointment SET status = 'cancelled' WHERE id = $1", &[[id.into()]]).await?;
    let mut touched = Touched::new(old.company, old.branch);
    touched.add(old.starts, old.ends, longest_service(tx, old.company).await?);
    Ok((id, touched, "cancelled"))
}

async fn still_booked(tx: &impl Tx, id: AppointmentId) -> Result<Appointment, ServiceError> {
    tx.lock("SELECT 1 FROM appointment WHERE id = $1 FOR UPDATE", id).await?;
    let appointment = read::appointment(tx, id).await?;
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
async fn check_start(
    tx: &impl Tx,
    branch: &Branch,
    duration: i64,
    starts: Minute,
) -> Result<Minute, ServiceError> {
    let hours = read::opening_hours(tx, branch.id).await?;
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

/// The person asked for, or the first who is free then. Others who want the same person wait for this transaction: the
/// database would refuse one of them in any case, but two who wait for each other would be told so late.
async fn choose_staff(
    tx: &impl Tx,
    branch: &Branch,
    wanted: Option<StaffId>,
    starts: Minute,
    ends: Minute,
) -> Result<StaffId, ServiceError> {
    let staff = match wanted {
        Some(id) => {
            let works_here = "SELECT 1 FROM staff WHERE id = $1 AND branch_id = $2";
            if !tx.finds(works_here, &[id.into(), branch.id.into()]).await? {
                return Err(ServiceError::NotFound { what: "staff member at this branch", id });
            }
            id
        }
        None => {
            let sql = "SELECT id FROM staff WHERE branch_id = $1 AND NOT EXISTS ( \
                           SELECT 1 FROM appointment AS other \
                           WHERE other.staff_id = staff.id AND other.status = 'booked' \
                             AND other.starts > $2 - 1440 AND other.starts < $3 AND other.ends > $2) \
                       ORDER BY id LIMIT 1";
            let asked = [branch.id.into(), starts.0.into(), ends.0.into()];
            let free = tx.row(sql, &asked, |row| row.get(0)).await?;
            free.ok_or(ServiceError::Taken { staff: None, starts })?
        }
    };
    tx.lock("SELECT 1 FROM staff WHERE id = $1 FOR UPDATE", staff).await?;
    Ok(staff)
}

async fn insert(
    tx: &impl Tx,
    new: &NewAppointment,
    service: &Service,
    staff: StaffId,
    ends: Minute,
) -> Result<AppointmentId, ServiceError> {
    tx.number(
        "INSERT INTO appointment \
             (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, booked_at, price_cents) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'booked', $8, $9) RETURNING id",
        &[
            new.company.into(),
            new.branch.into(),
            service.id.into(),
            staff.into(),
            new.customer.as_str().into(),
            new.starts.0.into(),
            ends.0.into(),
            new.booked_at.0.into(),
            service.price_cents.into(),
        ],
    )
    .await
}

/// Turns what the book's constraint said into `Taken`; other failures stay what they are.
fn refusal(error: ServiceError, staff: StaffId, starts: Minute) -> ServiceError {
    match &error {
        ServiceError::Database(fault) if fault.is_refusal() => {
            ServiceError::Taken { staff: Some(staff), starts }
        }
        _ => error,
    }
}

async fn longest_service(tx: &impl Tx, company: CompanyId) -> Result<i64, ServiceError> {
    let sql = "SELECT coalesce(max(duration_minutes), 0) FROM service WHERE company_id = $1";
    tx.number(sql, &[company.into()]).await
}

async fn raise_day(tx: &impl Tx, key: DayKey) -> Result<i64, ServiceError> {
    tx.number(
        "INSERT INTO day_version (company_id, branch_id, day, version) VALUES ($1, $2, $3, 1) \
         ON CONFLICT (company_id, branch_id, day) DO UPDATE SET version = day_version.version + 1 \
         RETURNING version",
        &[key.company.into(), key.branch.into(), i64::from(key.day.0).into()],
    )
    .await
}
