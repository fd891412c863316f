//! The dashboard's figures of one company: six aggregates over all its appointments, in one snapshot.
//!
//! The database's loader calls it. It is the expensive read of this program on purpose; it never caches.

use crate::db::OriginCounts;
use crate::db::tx::Tx;
use crate::domain::{BranchStatistics, CompanyId, Statistics};
use crate::error::ServiceError;
use crate::time::Day;

/// How many of the busiest days are named.
const BUSIEST_DAYS_MAX: i64 = 5;

/// 1970-01-01 was a Thursday, which is 3 when Monday is 0.
const BY_WEEKDAY: &str = "SELECT (starts / 1440 + 3) % 7, count(*) FROM appointment \
                          WHERE company_id = $1 AND status = 'booked' GROUP BY 1";
const BY_HOUR: &str = "SELECT starts % 1440 / 60, count(*) FROM appointment \
                       WHERE company_id = $1 AND status = 'booked' GROUP BY 1";

/// Computes them.
pub(crate) async fn statistics(
    tx: &impl Tx,
    company: CompanyId,
    origin: &OriginCounts,
) -> Result<Statistics, ServiceError> {
    origin.add_queries(6);
    let version =
        tx.row("SELECT version FROM company WHERE id = $1", &[company.into()], |row| row.get(0)).await?;
    let version: i64 = version.ok_or(ServiceError::NotFound { what: "company", id: company })?;
    // Sent together where that saves time on the way.
    let (mut figures, branches, weekdays, hours, busiest) = tokio::try_join!(
        totals(tx, company, version),
        branches(tx, company),
        counts(tx, company, BY_WEEKDAY),
        counts(tx, company, BY_HOUR),
        busiest(tx, company),
    )?;
    (figures.branches, figures.busiest) = (branches, busiest);
    put(&weekdays, &mut figures.weekdays);
    put(&hours, &mut figures.hours);
    Ok(figures)
}

async fn totals(tx: &impl Tx, company: CompanyId, version: i64) -> Result<Statistics, ServiceError> {
    // Sums and means are of other types in Postgres than what they are of.
    let sql = "SELECT count(*), count(*) FILTER (WHERE status = 'booked'), count(*) FILTER (WHERE changes > 0), \
                      count(DISTINCT customer), \
                      coalesce(CAST(sum(price_cents) FILTER (WHERE status = 'booked') AS BIGINT), 0), \
                      coalesce(CAST(avg((starts - booked_at) / 1440.0) AS DOUBLE PRECISION), 0.0) \
               FROM appointment WHERE company_id = $1";
    let company_id = [company.into()];
    let found = tx.row(sql, &company_id, |row| {
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
    });
    found.await?.ok_or(ServiceError::NotFound { what: "company", id: company })
}

async fn branches(tx: &impl Tx, company: CompanyId) -> Result<Vec<BranchStatistics>, ServiceError> {
    tx.rows(
        "SELECT branch_id, count(*), CAST(sum(ends - starts) AS BIGINT), CAST(sum(price_cents) AS BIGINT) \
         FROM appointment WHERE company_id = $1 AND status = 'booked' GROUP BY branch_id ORDER BY branch_id",
        &[company.into()],
        |row| {
            Ok(BranchStatistics {
                branch: row.get(0)?,
                booked: row.get(1)?,
                booked_minutes: row.get(2)?,
                revenue_cents: row.get(3)?,
            })
        },
    )
    .await
}

/// What is counted in each bucket.
async fn counts(
    tx: &impl Tx,
    company: CompanyId,
    sql: &'static str,
) -> Result<Vec<(i64, i64)>, ServiceError> {
    tx.rows(sql, &[company.into()], |row| Ok((row.get(0)?, row.get(1)?))).await
}

fn put(counted: &[(i64, i64)], into: &mut [i64]) {
    for (bucket, count) in counted {
        let bucket = usize::try_from(*bucket).ok();
        if let Some(place) = bucket.and_then(|bucket| into.get_mut(bucket)) {
            *place = *count;
        }
    }
}

async fn busiest(tx: &impl Tx, company: CompanyId) -> Result<Vec<(Day, i64)>, ServiceError> {
    tx.rows(
        "SELECT starts / 1440, count(*) FROM appointment WHERE company_id = $1 AND status = 'booked' \
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2",
        &[company.into(), BUSIEST_DAYS_MAX.into()],
        |row| Ok((Day(row.small(0)?), row.get(1)?)),
    )
    .await
}
