//! The dashboard's figures of one company: six aggregates over all its appointments, in one snapshot.
//!
//! The service's loader calls it. It is the expensive read of this program on purpose; it never caches.

use rusqlite::{OptionalExtension, Transaction};

use crate::db::OriginCounts;
use crate::domain::{BranchStatistics, CompanyId, Statistics};
use crate::error::ServiceError;
use crate::time::Day;

/// How many of the busiest days are named.
const BUSIEST_DAYS_MAX: u32 = 5;

/// Computes them.
pub(crate) fn statistics(
    tx: &Transaction<'_>,
    company: CompanyId,
    origin: &OriginCounts,
) -> Result<Statistics, ServiceError> {
    origin.add_queries(6);
    let version: Option<i64> = tx
        .prepare_cached("SELECT version FROM company WHERE id = ?1")?
        .query_row([company], |row| row.get(0))
        .optional()?;
    let version = version.ok_or(ServiceError::NotFound { what: "company", id: company })?;
    let mut figures = totals(tx, company, version)?;
    figures.branches = branches(tx, company)?;
    // 1970-01-01 was a Thursday, which is 3 when Monday is 0.
    count_into(tx, company, "(starts / 1440 + 3) % 7", &mut figures.weekdays)?;
    count_into(tx, company, "starts % 1440 / 60", &mut figures.hours)?;
    figures.busiest = busiest(tx, company)?;
    Ok(figures)
}

fn totals(tx: &Transaction<'_>, company: CompanyId, version: i64) -> rusqlite::Result<Statistics> {
    let mut statement = tx.prepare_cached(
        "SELECT count(*), coalesce(sum(status = 'booked'), 0), coalesce(sum(changes > 0), 0), \
                count(DISTINCT customer), coalesce(sum(iif(status = 'booked', price_cents, 0)), 0), \
                coalesce(avg((starts - booked_at) / 1440.0), 0.0) \
         FROM appointment WHERE company_id = ?1",
    )?;
    statement.query_row([company], |row| {
        let (appointments, booked): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Statistics {
            company,
            version,
            appointments,
            booked,
            cancelled: appointments - booked,
            moved: row.get(2)?,
            customers: row.get(3)?,
            revenue_cents: row.get(4)?,
            lead_days_mean: row.get(5)?,
            branches: Vec::new(),
            weekdays: [0; 7],
            hours: vec![0; 24],
            busiest: Vec::new(),
        })
    })
}

fn branches(tx: &Transaction<'_>, company: CompanyId) -> rusqlite::Result<Vec<BranchStatistics>> {
    let mut statement = tx.prepare_cached(
        "SELECT branch_id, count(*), sum(ends - starts), sum(price_cents) \
         FROM appointment WHERE company_id = ?1 AND status = 'booked' GROUP BY branch_id ORDER BY branch_id",
    )?;
    statement
        .query_map([company], |row| {
            Ok(BranchStatistics {
                branch: row.get(0)?,
                booked: row.get(1)?,
                booked_minutes: row.get(2)?,
                revenue_cents: row.get(3)?,
            })
        })?
        .collect()
}

/// `bucket` is an expression written in this file, never text from outside.
fn count_into(
    tx: &Transaction<'_>,
    company: CompanyId,
    bucket: &str,
    counts: &mut [i64],
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(&format!(
        "SELECT {bucket}, count(*) FROM appointment WHERE company_id = ?1 AND status = 'booked' GROUP BY 1"
    ))?;
    let mut rows = statement.query([company])?;
    while let Some(row) = rows.next()? {
        let bucket = usize::try_from(row.get::<_, i64>(0)?).ok();
        if let Some(count) = bucket.and_then(|bucket| counts.get_mut(bucket)) {
            *count = row.get(1)?;
        }
    }
    Ok(())
}

fn busiest(tx: &Transaction<'_>, company: CompanyId) -> rusqlite::Result<Vec<(Day, i64)>> {
    let mut statement = tx.prepare_cached(
        "SELECT starts / 1440, count(*) FROM appointment WHERE company_id = ?1 AND status = 'booked' \
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?2",
    )?;
    statement.query_map((company, BUSIEST_DAYS_MAX), |row| Ok((Day(row.get(0)?), row.get(1)?)))?.collect()
}
