//! Fills an empty book with companies, and with appointments of the past.
//!
//! Histories and the demo of `serve` describe what they want; this writes it in one transaction. It never touches
//! a book that has companies already, and raises no versions: nobody has read anything yet.

use crate::db::tx::{Tx, Value};
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

/// Writes the plans if the book is empty, and returns the ids in the plans' order; `None` when it was not.
///
/// # Errors
/// `Database`, also when two past appointments of a plan overlap.
pub(crate) async fn seed_if_empty(
    tx: &impl Tx,
    plans: &[CompanyPlan],
) -> Result<Option<Vec<SeededCompany>>, ServiceError> {
    if tx.finds("SELECT 1 FROM company", &[]).await? {
        return Ok(None);
    }
    let mut seeded = Vec::new();
    for plan in plans {
        seeded.push(seed_company(tx, plan).await?);
    }
    Ok(Some(seeded))
}

async fn seed_company(tx: &impl Tx, plan: &CompanyPlan) -> Result<SeededCompany, ServiceError> {
    let name = plan.name.as_str();
    let id = tx.number("INSERT INTO company (name) VALUES ($1) RETURNING id", &[name.into()]).await?;
    let mut services = Vec::new();
    for service in &plan.services {
        let sql = "INSERT INTO service (company_id, name, duration_minutes, price_cents) \
                   VALUES ($1, $2, $3, $4) RETURNING id";
        let name = service.name.as_str();
        let row = [id.into(), name.into(), service.duration_minutes.into(), service.price_cents.into()];
        services.push(tx.number(sql, &row).await?);
    }
    let mut branches = Vec::new();
    for branch in &plan.branches {
        branches.push(seed_branch(tx, id, branch).await?);
    }
    let company = SeededCompany { id, services, branches };
    let past = plan.past.iter().map(|past| past_row(plan, &company, past)).collect::<Result<Vec<_>, _>>()?;
    let sql = "INSERT INTO appointment \
                   (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, booked_at, price_cents) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    tx.execute_all(sql, &past).await?;
    Ok(company)
}

async fn seed_branch(
    tx: &impl Tx,
    company: CompanyId,
    plan: &BranchPlan,
) -> Result<SeededBranch, ServiceError> {
    let sql = "INSERT INTO branch (company_id, name, step_minutes) VALUES ($1, $2, $3) RETURNING id";
    let id = tx.number(sql, &[company.into(), plan.name.as_str().into(), plan.step_minutes.into()]).await?;
    let hours: Vec<[Value<'_>; 4]> = plan
        .hours
        .iter()
        .map(|hours| [id.into(), i64::from(hours.weekday).into(), hours.opens.into(), hours.closes.into()])
        .collect();
    let sql = "INSERT INTO opening_hours (branch_id, weekday, opens, closes) VALUES ($1, $2, $3, $4)";
    tx.execute_all(sql, &hours).await?;
    let mut staff = Vec::new();
    for name in &plan.staff {
        let sql = "INSERT INTO staff (branch_id, name) VALUES ($1, $2) RETURNING id";
        staff.push(tx.number(sql, &[id.into(), name.as_str().into()]).await?);
    }
    Ok(SeededBranch { id, staff })
}

fn past_row<'a>(
    plan: &CompanyPlan,
    company: &SeededCompany,
    past: &'a PastAppointment,
) -> Result<[Value<'a>; 10], ServiceError> {
    let found = || {
        let service = plan.services.get(past.service)?;
        let branch = company.branches.get(past.branch)?;
        Some((service, *company.services.get(past.service)?, branch.id, *branch.staff.get(past.staff)?))
    };
    let (service, service_id, branch, staff) = found().ok_or_else(|| {
        let value = format!("branch {}, service {}, staff {}", past.branch, past.service, past.staff);
        ServiceError::invalid("past", value, "indices into the company's plan")
    })?;
    Ok([
        company.id.into(),
        branch.into(),
        service_id.into(),
        staff.into(),
        past.customer.as_str().into(),
        past.starts.0.into(),
        (past.starts.0 + service.duration_minutes).into(),
        if past.cancelled { "cancelled" } else { "booked" }.into(),
        past.booked_at.0.into(),
        service.price_cents.into(),
    ])
}
