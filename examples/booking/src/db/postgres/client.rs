//! One connection, its prepared statements, and the book's questions on a transaction of it.
//!
//! Only the pool calls it. It never connects again: what fails is thrown away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use larder::Target;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, IsolationLevel, NoTls, Statement};

use crate::db::tx::{Row, Tx, Value};
use crate::error::ServiceError;

/// Two who set the book up at once wait for each other ("bkng").
const LOCK: &str = "SELECT pg_advisory_xact_lock(1651207783)";
/// Statements under way at once when many are alike.
const PIPELINE: usize = 256;

/// A session.
#[derive(Debug)]
pub(super) struct Client {
    session: tokio_postgres::Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// A transaction was begun and not ended.
    is_busy: bool,
}

impl Client {
    pub(super) async fn connect(config: &Config) -> Result<Client, ServiceError> {
        let (session, connection) = config.connect(NoTls).await?;
        // Ends with the session, or tells whoever waits for an answer why there is none.
        tokio::spawn(connection);
        Ok(Client { session, statements: Mutex::default(), is_busy: false })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Fit for another transaction.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_busy && !self.is_closed()
    }

    pub(super) async fn snapshot(&mut self) -> Result<Transaction<'_>, ServiceError> {
        self.begin(IsolationLevel::RepeatableRead, true).await
    }

    pub(super) async fn transaction(&mut self) -> Result<Transaction<'_>, ServiceError> {
        self.begin(IsolationLevel::ReadCommitted, false).await
    }

    async fn begin(
        &mut self,
        isolation: IsolationLevel,
        read_only: bool,
    ) -> Result<Transaction<'_>, ServiceError> {
        self.is_busy = true;
        let begun = self.session.build_transaction().isolation_level(isolation).read_only(read_only);
        Ok(Transaction {
            inner: begun.start().await?,
            statements: &self.statements,
            is_busy: &mut self.is_busy,
        })
    }

    /// Makes the tables if they are not there.
    pub(super) async fn set_up(&mut self, schema: &str) -> Result<(), ServiceError> {
        let transaction = self.session.transaction().await?;
        transaction.batch_execute(LOCK).await?;
        let found = transaction.query_one("SELECT to_regclass('appointment') IS NOT NULL", &[]).await?;
        if !found.try_get(0)? {
            transaction.batch_execute(schema).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// A transaction; rolled back when dropped.
pub(crate) struct Transaction<'c> {
    inner: tokio_postgres::Transaction<'c>,
    statements: &'c Mutex<HashMap<&'static str, Statement>>,
    is_busy: &'c mut bool,
}

impl Transaction<'_> {
    /// Commits what went well, and rolls back what did not.
    pub(crate) async fn end<R>(self, result: Result<R, ServiceError>) -> Result<R, ServiceError> {
        match result {
            Ok(_) => self.inner.commit().await?,
            Err(error) => {
                // Whether the connection is still good; what went wrong is known.
                *self.is_busy = self.inner.rollback().await.is_err();
                return Err(error);
            }
        }
        *self.is_busy = false;
        result
    }

    async fn prepared(&self, sql: &'static str, parameters: &[Value<'_>]) -> Result<Statement, ServiceError> {
        let statements = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let types: Vec<Type> = parameters.iter().map(Value::kind).collect();
        let statement = self.inner.prepare_typed(sql, &types).await?;
        statements().insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Tx for Transaction<'_> {
    async fn rows<R>(
        &self,
        sql: &'static str,
        parameters: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<R, ServiceError>,
    ) -> Result<Vec<R>, ServiceError> {
        let statement = self.prepared(sql, parameters).await?;
        let found = self.inner.query(&statement, &references(parameters)).await?;
        found.iter().map(|row| read(&Row::Postgres(row))).collect()
    }

    async fn execute_all<const N: usize>(
        &self,
        sql: &'static str,
        all: &[[Value<'_>; N]],
    ) -> Result<(), ServiceError> {
        let Some(first) = all.first() else { return Ok(()) };
        let statement = self.prepared(sql, first).await?;
        for some in all.chunks(PIPELINE) {
            let together = some.iter().map(async |parameters| {
                self.inner.execute(&statement, &references(parameters)).await.map(drop)
            });
            futures_util::future::try_join_all(together).await?;
        }
        Ok(())
    }

    async fn lock(&self, sql: &'static str, id: i64) -> Result<(), ServiceError> {
        self.finds(sql, &[id.into()]).await.map(drop)
    }

    async fn invalidate(
        &self,
        namespace: &'static str,
        targets: Vec<Target>,
        cause: &'static str,
    ) -> Result<(), ServiceError> {
        let added = larder::outbox::postgres::invalidate(&self.inner, namespace, targets, cause).await;
        added.map_err(|error| match error.is_disconnected() {
            true => ServiceError::CacheOutage(error.to_string()),
            false => ServiceError::unrecorded(error),
        })
    }
}

fn references<'a>(parameters: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    let reference = |value: &'a Value<'_>| match value {
        Value::Int(number) => number as &(dyn ToSql + Sync),
        Value::Text(text) => text,
    };
    parameters.iter().map(reference).collect()
}

impl Value<'_> {
    fn kind(&self) -> Type {
        match self {
            Value::Int(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
        }
    }
}
