//! The book's questions on a transaction of SQLite. Everything is answered where it is asked: nothing here ever waits.

use larder::Target;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ToSql, Transaction, params_from_iter};

use crate::db::tx::{Row, Tx, Value};
use crate::error::ServiceError;

impl Tx for Transaction<'_> {
    async fn rows<R>(
        &self,
        sql: &'static str,
        parameters: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<R, ServiceError>,
    ) -> Result<Vec<R>, ServiceError> {
        let mut statement = prepared(self, sql)?;
        let mut found = statement.query(params_from_iter(parameters))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(read(&Row::Sqlite(row))?);
        }
        Ok(rows)
    }

    async fn execute_all<const N: usize>(
        &self,
        sql: &'static str,
        all: &[[Value<'_>; N]],
    ) -> Result<(), ServiceError> {
        let mut statement = prepared(self, sql)?;
        for parameters in all {
            statement.execute(params_from_iter(parameters))?;
        }
        Ok(())
    }

    /// There is one write transaction at a time: the whole book is locked.
    async fn lock(&self, _: &'static str, _: i64) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn invalidate(
        &self,
        namespace: &'static str,
        targets: Vec<Target>,
        cause: &'static str,
    ) -> Result<(), ServiceError> {
        larder::outbox::invalidate(self, namespace, targets, cause).map_err(ServiceError::unrecorded)?;
        Ok(())
    }
}

/// The statement, whose parameters appear in order: SQLite numbers them so.
fn prepared<'t>(tx: &'t Transaction<'_>, sql: &'static str) -> Result<CachedStatement<'t>, ServiceError> {
    let statement = tx.prepare_cached(sql)?;
    debug_assert!(
        (1..=statement.parameter_count()).all(|at| statement.parameter_name(at) == Some(&format!("${at}"))),
        "{sql}"
    );
    Ok(statement)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
