//! Fills an empty book with companies, and with appointments of the past.
//!
//! Histories and the demo of `serve` describe what they want; this writes it in one transaction. It never touches
//! a book that has companies already, and raises no versions: nobody has read anything yet.

use rusqlite::Transaction;

use crate::domain::{BranchId, CompanyId, OpeningHours, ServiceId, StaffId};
use crate::error::ServiceError;
use crate::time::Minute;

/// A company to be written.
#[derive(Clone, Debug)]
pub(crate) struct CompanyPlan {
    pub(crate) name: String,
    pub(crate) services: Vec<ServicePlan>,
    pub(crate) branches: Vec<BranchPlan>,
    pub(crate) past: Vec<PastAppointment>,
}

/// A service to be written.
#[derive(Clone, Debug)]
pub(crate) struct ServicePlan {
    pub(crate) name: String,
    pub(crate) duration_minutes: i64,
    pub(crate) price_cents: i64,
}

/// A branch to be written; its staff are numbered from 1.
#[derive(Clone, Debug)]
pub(crate) struct BranchPlan {
    pub(crate) name: String,
    pub(crate) step_minutes: i64,
    pub(crate) staff: Vec<String>,
    pub(crate) hours: Vec<OpeningHours>,
}

/// An appointment that was kept or cancelled before the story begins. Indices are into the plan.
#[derive(Clone, Debug)]
pub(crate) struct PastAppointment {
    pub(crate) branch: usize,
    pub(crate) service: usize,
    pub(crate) staff: usize,
    pub(crate) customer: String,
    pub(crate) starts: Minute,
    pub(crate) booked_at: Minute,
    pub(crate) cancelled: bool,
}

/// The ids a company got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeededCompany {
    pub(crate) id: CompanyId,
    pub(crate) services: Vec<ServiceId>,
    pub(crate) branches: Vec<SeededBranch>,
}

/// The ids a branch got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeededBranch {
    pub(crate) id: BranchId,
    pub(crate) staff: Vec<StaffId>,
}

/// True when nobody has written a company yet.
pub(crate) fn is_empty(tx: &Transaction<'_>) -> Result<bool, ServiceError> {
    Ok(!tx.prepare("SELECT 1 FROM company")?.exists([])?)
}

/// Writes the plans and returns the ids, in the plans' order.
///
/// # Errors
/// `Database`, also when two past appointments of a plan overlap.
pub(crate) fn seed(tx: &Transaction<'_>, plans: &[CompanyPlan]) -> Result<Vec<SeededCompany>, ServiceError> {
    plans.iter().map(|plan| seed_company(tx, plan)).collect()
}

fn seed_company(tx: &Transaction<'_>, plan: &CompanyPlan) -> Result<SeededCompany, ServiceError> {
    tx.prepare_cached("INSERT INTO company (name) VALUES (?1)")?.execute([&plan.name])?;
    let id = inserted(tx);
    let mut services = Vec::new();
    for service in &plan.services {
        tx.prepare_cached(
            "INSERT INTO service (company_id, name, duration_minutes, price_cents) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((id, &service.name, service.duration_minutes, service.price_cents))?;
        services.push(inserted(tx));
    }
    let branches =
        plan.branches.iter().map(|branch| seed_branch(tx, id, branch)).collect::<Result<Vec<_>, _>>()?;
    let company = SeededCompany { id, services, branches };
    for past in &plan.past {
        seed_past(tx, plan, &company, past)?;
    }
    Ok(company)
}

fn seed_branch(
    tx: &Transaction<'_>,
    company: CompanyId,
    plan: &BranchPlan,
) -> Result<SeededBranch, ServiceError> {
    tx.prepare_cached("INSERT INTO branch (company_id, name, step_minutes) VALUES (?1, ?2, ?3)")?
        .execute((company, &plan.name, plan.step_minutes))?;
    let id = inserted(tx);
    for hours in &plan.hours {
        tx.prepare_cached(
            "INSERT INTO opening_hours (branch_id, weekday, opens, closes) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((id, hours.weekday, hours.opens, hours.closes))?;
    }
    let mut staff = Vec::new();
    for name in &plan.staff {
        tx.prepare_cached("INSERT INTO staff (branch_id, name) VALUES (?1, ?2)")?.execute((id, name))?;
        staff.push(inserted(tx));
    }
    Ok(SeededBranch { id, staff })
}

fn seed_past(
    tx: &Transaction<'_>,
    plan: &CompanyPlan,
    company: &SeededCompany,
    past: &PastAppointment,
) -> Result<(), ServiceError> {
    let found = || {
        let service = plan.services.get(past.service)?;
        let branch = company.branches.get(past.branch)?;
        Some((service, company.services.get(past.service)?, branch.id, branch.staff.get(past.staff)?))
    };
    let (service, service_id, branch, staff) = found().ok_or_else(|| {
        let value = format!("branch {}, service {}, staff {}", past.branch, past.service, past.staff);
        ServiceError::invalid("past", value, "indices into the company's plan")
    })?;
    tx.prepare_cached(
        "INSERT INTO appointment \
             (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, booked_at, price_cents) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        company.id,
        branch,
        service_id,
        staff,
        &past.customer,
        past.starts.0,
        past.starts.0 + service.duration_minutes,
        if past.cancelled { "cancelled" } else { "booked" },
        past.booked_at.0,
        service.price_cents,
    ))?;
    Ok(())
}

fn inserted(tx: &Transaction<'_>) -> i64 {
    tx.last_insert_rowid()
}
