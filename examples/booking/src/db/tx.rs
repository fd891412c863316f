//! A transaction of either database, as the questions and changes of the book see it: SQL, parameters, rows.
//!
//! `read`, `write`, `statistics` and `seed` are written once, on this. Both databases understand their SQL: parameters are
//! `$1`, `$2` …, which SQLite numbers as they first appear, so they appear in order. It never begins nor commits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use larder::Target;

use crate::error::ServiceError;

/// A transaction.
pub(crate) trait Tx {
    /// The rows that a query finds, each read by `read`.
    async fn rows<R>(
        &self,
        sql: &'static str,
        parameters: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<R, ServiceError>,
    ) -> Result<Vec<R>, ServiceError>;

    /// Runs a statement once for each list of parameters.
    async fn execute_all<const N: usize>(
        &self,
        sql: &'static str,
        all: &[[Value<'_>; N]],
    ) -> Result<(), ServiceError>;

    /// Keeps others from changing the row that this finds until the transaction ends, where writers run side by side.
    async fn lock(&self, sql: &'static str, id: i64) -> Result<(), ServiceError>;

    /// Adds an invalidation to the outbox of the cache.
    async fn invalidate(
        &self,
        namespace: &'static str,
        targets: Vec<Target>,
        cause: &'static str,
    ) -> Result<(), ServiceError>;

    /// The first row, if there is one.
    async fn row<R>(
        &self,
        sql: &'static str,
        parameters: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<R, ServiceError>,
    ) -> Result<Option<R>, ServiceError> {
        Ok(self.rows(sql, parameters, read).await?.into_iter().next())
    }

    /// The first row's first column, as a number; 0 when there is no row.
    async fn number(&self, sql: &'static str, parameters: &[Value<'_>]) -> Result<i64, ServiceError> {
        Ok(self.row(sql, parameters, |row| row.get(0)).await?.unwrap_or(0))
    }

    /// Whether a query finds anything.
    async fn finds(&self, sql: &'static str, parameters: &[Value<'_>]) -> Result<bool, ServiceError> {
        Ok(self.row(sql, parameters, |_| Ok(())).await?.is_some())
    }
}

/// A parameter. All numbers are of 64 bits.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Int(i64),
    Text(&'a str),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

/// What a column can be read as.
pub(crate) trait Column:
    rusqlite::types::FromSql + for<'a> tokio_postgres::types::FromSql<'a>
{
}

impl Column for i64 {}
impl Column for f64 {}
impl Column for String {}

/// A row that was found.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// A column, counted from 0.
    pub(crate) fn get<C: Column>(&self, at: usize) -> Result<C, ServiceError> {
        Ok(match self {
            Row::Sqlite(row) => row.get(at)?,
            Row::Postgres(row) => row.try_get(at)?,
        })
    }

    /// A column of small numbers.
    pub(crate) fn small<N: TryFrom<i64>>(&self, at: usize) -> Result<N, ServiceError> {
        let number: i64 = self.get(at)?;
        N::try_from(number)
            .map_err(|_| ServiceError::invalid("row", number, format!("a smaller number in column {at}")))
    }
}

/// The result of something that awaits nothing: everything on a SQLite transaction.
pub(crate) fn at_once<R>(work: impl Future<Output = Result<R, ServiceError>>) -> Result<R, ServiceError> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        // Not reached: SQLite answers where it is asked.
        Poll::Pending => Err(ServiceError::Closing),
    }
}
