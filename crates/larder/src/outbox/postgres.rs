//! The outbox on Postgres: one row, written in the application's own transaction through `tokio-postgres`.
//!
//! Other drivers and languages call `larder.outbox_add` or `larder.invalidate` themselves (`docs/concepts/postgres.md`). The
//! schema must be there: [`crate::postgres::migrate`]. Never commits, and never tells a node: those look by
//! themselves within a third of their bound.

use crate::journal::{Unfit, encode};
use crate::postgres::PostgresError;
use larder_core::{Act, Cause, Intent, Target};
use std::fmt;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

const ADD: &str = "SELECT larder.outbox_add($1, $2, $3, $4, $5)";

/// Adds one record with these targets to the journal of a namespace. It is part of the transaction, and of its innermost
/// savepoint: what is rolled back was never there.
///
/// `transaction` is a `&Transaction`, or a `&Client` outside of one, where it is committed by itself. Where the record
/// stands is decided after the commit, so no place is returned: `Cache::sync` sees it from then on, and so does every lease
/// that is renewed.
///
/// Give all targets of one change in one call: they apply at once, and cost one row. No targets at all is no error and
/// writes nothing. When it fails, Postgres has aborted the transaction, as far as its innermost savepoint.
///
/// # Errors
/// [`OutboxError::is_too_large`] when the targets take more than [`crate::journal::RECORD_BYTES_MAX`] bytes; else what
/// Postgres said.
///
/// ```no_run
/// use larder::outbox;
/// use larder_core::{Target, tag};
/// # async fn book(mut db: tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let tx = db.transaction().await?;
/// tx.execute("INSERT INTO appointments(branch, hour) VALUES (7, 9)", &[]).await?;
/// outbox::postgres::invalidate(&tx, "booking", [Target::tag(tag!["branch", 7])], "booked").await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
pub async fn invalidate(
    transaction: &impl GenericClient,
    namespace: &str,
    targets: impl IntoIterator<Item = Target>,
    cause: impl Into<Cause>,
) -> Result<(), OutboxError> {
    let targets: Vec<Target> = targets.into_iter().collect();
    add(transaction, namespace, Act::Invalidate, &targets, cause.into()).await
}

/// Adds the record that ends a guarded write, to be committed together with the data: no moment lies between the two. Once
/// the transaction has committed, drop the guard: there is nothing left for it to do. When it was rolled back, cancel
/// the guard, or drop it and let it expire.
///
/// `intent` is [`crate::WriteGuard::intent`]. If its time was over and it has been closed, or it was lost with a failover, this
/// refuses, and the transaction is aborted. Call it last, and commit before [`crate::WriteGuard::remaining`] is over: in between
/// nothing looks.
///
/// # Errors
/// [`OutboxError::is_guard_expired`]; and as [`invalidate`].
pub async fn commit(
    transaction: &impl GenericClient,
    namespace: &str,
    intent: &Intent,
    cause: impl Into<Cause>,
) -> Result<(), OutboxError> {
    add(transaction, namespace, Act::Close { intent: intent.id }, &intent.targets, cause.into()).await
}

async fn add(
    transaction: &impl GenericClient,
    namespace: &str,
    act: Act,
    targets: &[Target],
    cause: Cause,
) -> Result<(), OutboxError> {
    let targets = match encode(targets) {
        Ok(targets) => targets,
        Err(Unfit::Empty) => return Ok(()),
        Err(unfit) => return Err(OutboxError(Kind::Unfit(unfit))),
    };
    let (kind, intent, _) = act.to_numbers();
    let (namespace, cause) = (namespace.as_bytes(), cause.as_str().as_bytes());
    // Nothing is prepared, so that a pooler may give each transaction another connection.
    transaction
        .query_typed(
            ADD,
            &[
                (&namespace, Type::BYTEA),
                (&i16::from(kind), Type::INT2),
                (&intent.cast_signed(), Type::INT8),
                (&targets, Type::BYTEA),
                (&cause, Type::BYTEA),
            ],
        )
        .await
        .map_err(|error| OutboxError(Kind::Postgres(error.into())))?;
    Ok(())
}

/// Why a record could not be written to the outbox.
pub struct OutboxError(Kind);

enum Kind {
    Unfit(Unfit),
    Postgres(PostgresError),
}

impl OutboxError {
    /// Whether the record was larger than [`crate::journal::RECORD_BYTES_MAX`].
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::Unfit(Unfit::TooLarge { .. }))
    }

    /// Whether a guarded write was to be committed whose intent is not open any more: its guard's time was over.
    pub fn is_guard_expired(&self) -> bool {
        matches!(&self.0, Kind::Postgres(error) if error.is_guard_expired())
    }

    /// Whether the connection was lost, or the server ended it or what it was at: nothing is wrong with the record, and the
    /// transaction may be tried again.
    pub fn is_disconnected(&self) -> bool {
        matches!(&self.0, Kind::Postgres(error) if error.is_disconnected())
    }

    /// Whether the database lacks Larder's schema, or this role the right to use it.
    pub fn is_not_set_up(&self) -> bool {
        matches!(&self.0, Kind::Postgres(error) if error.is_not_set_up())
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unfit(unfit) => write!(f, "outbox: {unfit}"),
            Kind::Postgres(error) => write!(f, "outbox: {error}"),
        }
    }
}

impl fmt::Debug for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for OutboxError {}
