//! One reading of a slot: messages in, and what each transaction fed into the outbox. Reads no slot itself.

use super::decode::{Message, Relations, Tuple, decode};
use super::feed::{Fed, is_identified};
use super::{Replication, Session, first};
use crate::postgres::PostgresError;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::Type;

/// How long a round waits for a transaction that is decoded and not visible yet.
const VISIBLE_WITHIN: Duration = Duration::from_millis(200);
const VISIBLE_PAUSE: Duration = Duration::from_millis(5);

/// What the catalog said when the sessions were made.
#[derive(Default)]
pub(super) struct Known {
    /// The types of this database's own, and what is below them.
    pub(super) kinds: HashMap<u32, u32>,
    /// The mapped tables and their partitions: which table of the mapping.
    pub(super) tables: HashMap<u32, usize>,
}

/// One reading of the slot.
pub(super) struct Reading<'a> {
    of: &'a Replication,
    relations: Relations,
    fed: Fed,
    xid: u32,
    cause: Option<String>,
    /// A table or a type is younger than the sessions, or gone.
    pub(super) met_unknown: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(of: &'a Replication) -> Self {
        let (relations, fed) = (Relations::new(), Fed::default());
        Reading { of, relations, fed, xid: 0, cause: None, met_unknown: false }
    }

    /// Takes one message in; where the transaction ends, if this was its end.
    pub(super) fn take(&mut self, bytes: &[u8], known: &Known) -> Result<Option<u64>, PostgresError> {
        let odd = || PostgresError::undone("a change that was decoded is not understood");
        let message = decode(bytes, &mut self.relations).map_err(|_| odd())?;
        match message {
            Message::Begin { xid } => {
                (self.xid, self.fed, self.cause) = (xid, Fed::default(), None);
            }
            Message::Commit { end } => return Ok(Some(end)),
            Message::Insert { table, new } => self.change(table, "INSERT", known, true, &[(&new, None)])?,
            Message::Update { table, old: Some(old), new } => {
                self.change(
                    table,
                    "UPDATE",
                    known,
                    old.is_whole,
                    &[(&old.row, None), (&new, Some(&old.row))],
                )?;
            }
            Message::Update { table, old: None, new } => {
                self.change(table, "UPDATE", known, false, &[(&new, None)])?;
            }
            Message::Delete { table, old } => {
                self.change(table, "DELETE", known, old.is_whole, &[(&old.row, None)])?;
            }
            Message::Truncate { tables } => {
                for table in tables {
                    self.change(table, "TRUNCATE", known, false, &[])?;
                }
            }
            Message::Other => {}
        }
        Ok(None)
    }

    /// `is_whole`: what was there before is among the rows; else only what the replica identity has of it, or nothing if that did
    /// not change.
    fn change(
        &mut self,
        table: u32,
        operation: &str,
        known: &Known,
        is_whole: bool,
        rows: &[(&Tuple<'_>, Option<&Tuple<'_>>)],
    ) -> Result<(), PostgresError> {
        let odd = || PostgresError::undone("a change is of a table that was not described");
        let relation = self.relations.get_mut(&table).ok_or_else(odd)?;
        let cause = || format!("postgres replication {}.{} {operation}", relation.schema, relation.name);
        self.cause.get_or_insert_with(cause);
        let of = known.tables.get(&table).and_then(|at| self.of.tables.get(*at));
        let mut own = relation.columns.iter_mut().filter(|column| column.kind >= 16384);
        let are_known = own.all(|column| match known.kinds.get(&column.kind) {
            Some(below) => {
                column.kind = *below;
                true
            }
            None => false,
        });
        let (Some(table), true) = (of, are_known) else {
            self.met_unknown = true;
            self.fed.everything();
            return Ok(());
        };
        // The identity may have become smaller since this began; then nobody knows what the old row fed.
        if rows.is_empty() || !(is_whole || is_identified(table, relation)) {
            self.fed.all(table);
        }
        for (row, older) in rows {
            self.fed.row(table, relation, row, *older);
        }
        Ok(())
    }

    /// Puts what the transaction fed into the outbox. False when it is not visible for so long that others should not wait.
    pub(super) async fn write(&self, session: &Session, end: u64) -> Result<bool, PostgresError> {
        let Some(cause) = &self.cause else { return Ok(true) };
        let (targets, xid) = (self.fed.encoded(), i64::from(self.xid));
        let sql = "SELECT larder.replicated($1::text::name, '0/0'::pg_lsn + $2, $3, $4, $5)";
        let began = Instant::now();
        loop {
            let rows = session
                .writing
                .query_typed(
                    sql,
                    &[
                        (&self.of.slot, Type::TEXT),
                        (&end.cast_signed(), Type::INT8),
                        (&xid, Type::INT8),
                        (cause, Type::TEXT),
                        (&targets, Type::BYTEA_ARRAY),
                    ],
                )
                .await?;
            if first(&rows)?.try_get(0)? {
                return Ok(true);
            }
            if began.elapsed() > VISIBLE_WITHIN {
                return Ok(false);
            }
            sleep(VISIBLE_PAUSE).await;
        }
    }
}
