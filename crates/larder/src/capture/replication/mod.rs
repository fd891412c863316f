//! Capture by logical replication, for tables that may not carry triggers: a slot is read through SQL, and what each transaction
//! fed goes into the outbox, once, as soon as that transaction is visible. Reads the WAL and writes the outbox; never a table of the
//! application's, and the slot moves on only past what is in the outbox.

mod decode;
mod feed;
mod reading;

use super::Mapping;
use super::mapping::TableRead;
use super::sql;
use crate::backoff::Backoff;
use crate::postgres::{PostgresError, Settings};
use reading::{Known, Reading};
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use xxhash_rust::xxh3::xxh3_64;

/// Changes fetched at once.
const FETCH: &str = "FETCH 1000 FROM larder_changes";
/// With the slot's name, the advisory lock of who makes it.
const LOCK: i32 = 1_818_325_605;

/// Whoever reads the slot at this moment; another time it may be us.
const IN_USE: &str = "55006";

/// Captures the tables of a mapping through a slot of logical replication.
///
/// Any number of nodes may [run](Replication::run) it on one slot: whoever comes first reads on, and nothing is written twice.
pub struct Replication {
    settings: Settings,
    namespace: String,
    tables: Vec<TableRead>,
    slot: String,
    pause: Duration,
}

/// How a slot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// What Postgres says of the WAL it needs: `reserved`, `extended`, `unreserved`; `lost` if it was dropped, and the slot with it.
    pub wal_status: String,
    /// How many bytes of WAL it has yet to be read to, and holds back.
    pub behind_bytes: u64,
}

/// What one round came to.
enum Round {
    /// All that had been committed by its beginning is in the outbox.
    Done,
    /// A transaction has committed and is not visible yet, or somebody else is reading.
    Wait,
}

/// The two sessions of a run: a round's transaction is open on the first.
struct Session {
    reading: Client,
    writing: Client,
    known: Known,
    confirmed: i64,
}

impl Replication {
    /// Capture of a mapping through the slot of this name, which is also the publication's: lower case letters, digits and
    /// underscores, and one for each namespace. The role needs `REPLICATION`, to own the tables, and to be who migrated Larder's schema.
    ///
    /// # Errors
    /// When the URL, the mapping or the name cannot be used.
    pub fn open(url: &str, mapping: &Mapping, slot: &str) -> Result<Self, PostgresError> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if slot.is_empty() || slot.len() > 63 || !slot.chars().all(is_name) {
            let expected = "expected up to 63 lower case letters, digits and underscores";
            return Err(PostgresError::undone(format!("slot {slot:?} cannot be: {expected}")));
        }
        mapping.sql().map_err(|error| PostgresError::undone(error.to_string()))?;
        let tables = mapping.tables.iter().map(super::Table::read).collect::<Result<Vec<_>, _>>();
        let tables = tables.map_err(|error| PostgresError::undone(error.to_string()))?;
        let (settings, namespace) = (Settings::parse(url)?, mapping.namespace.clone());
        Ok(Replication { settings, namespace, tables, slot: slot.into(), pause: Duration::from_millis(100) })
    }

    /// How long to rest between two looks at the slot: 100 ms unless set. So much later than at once is a change invalidated.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Makes the publication and the slot, as [`Replication::run`] does when it begins; for a deployment that wants to fail.
    ///
    /// # Errors
    /// When the server's `wal_level` is not `logical`, a table or column does not exist, a table's replica identity lacks a mapped
    /// column, or the database refuses otherwise.
    pub async fn prepare(&self) -> Result<(), PostgresError> {
        self.client().await?.batch_execute(&sql::check(&self.tables)).await?;
        self.begin().await.map(drop)
    }

    /// Captures until it is dropped. Makes the publication and the slot if they are not there, and the slot anew when it was
    /// lost; then everything is invalidated, since nobody knows what was written meanwhile. What fails is logged, and tried again.
    pub async fn run(&self) {
        let (mut session, mut backoff, mut said) = (None, Backoff::default(), false);
        loop {
            let pause = match self.round(&mut session).await {
                Ok(_) => {
                    (backoff, said) = (Backoff::default(), false);
                    self.pause
                }
                Err(error) => {
                    session = None;
                    if !said {
                        tracing::warn!(slot = %self.slot, %error, "changes are not captured");
                        said = true;
                    }
                    backoff.next()
                }
            };
            sleep(pause).await;
        }
    }

    /// How the slot stands; `None` if there is none. Watch it: a slot that nobody reads holds the WAL back until the disk is full, or
    /// up to `max_slot_wal_keep_size`, which should be set.
    ///
    /// # Errors
    /// When the database cannot be reached, or refuses.
    pub async fn state(&self) -> Result<Option<SlotState>, PostgresError> {
        let client = self.client().await?;
        let sql = "SELECT coalesce(wal_status, 'lost'), coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint
            FROM pg_replication_slots WHERE slot_name = $1::text::name AND database = current_database()";
        let rows = client.query_typed(sql, &[(&self.slot, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let behind_bytes = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
        Ok(Some(SlotState { wal_status: row.try_get(0)?, behind_bytes }))
    }

    async fn client(&self) -> Result<Client, PostgresError> {
        let (client, connection) = self.settings.connect().await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn begin(&self) -> Result<Session, PostgresError> {
        let (reading, writing) = (self.client().await?, self.client().await?);
        // Output functions write as the triggers' have it.
        for setting in sql::SETTINGS.split("SET ").skip(1) {
            reading.batch_execute(&format!("SET {setting}")).await?;
        }
        // Whoever makes the slot anew does it alone, or dies and leaves it undone.
        let (lock, unlock) = ("SELECT pg_advisory_lock($1, $2)", "SELECT pg_advisory_unlock($1, $2)");
        let key = [(&LOCK as _, Type::INT4), (&(xxh3_64(self.slot.as_bytes()) as i32) as _, Type::INT4)];
        writing.query_typed(lock, &key).await?;
        writing.batch_execute(&sql::publish(&self.slot, &self.tables)).await?;
        let sql = "SELECT s.wal_status IS DISTINCT FROM 'lost' AND EXISTS (SELECT FROM larder.capture_slots AS c
                WHERE c.slot = s.slot_name AND c.namespace = $2)
            FROM pg_replication_slots AS s WHERE s.slot_name = $1::text::name AND s.database = current_database()";
        let found =
            writing.query_typed(sql, &[(&self.slot, Type::TEXT), (&self.namespace, Type::TEXT)]).await?;
        let is_sound = found.first().map(|row| row.try_get::<_, bool>(0)).transpose()?;
        if is_sound != Some(true) {
            self.begin_anew(&writing, is_sound.is_some()).await?;
        }
        writing.query_typed(unlock, &key).await?;
        let known = self.look_up(&writing).await?;
        Ok(Session { reading, writing, known, confirmed: 0 })
    }

    async fn look_up(&self, client: &Client) -> Result<Known, PostgresError> {
        let mut known = Known::default();
        let sql = "SELECT oid, larder.base_type(oid) FROM pg_type WHERE oid >= 16384";
        for row in client.query_typed(sql, &[]).await? {
            known.kinds.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let sql = "SELECT larder.captured_tables(c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1::text::name AND c.relname = $2::text::name";
        for (at, table) in self.tables.iter().enumerate() {
            let names = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
            for row in client.query_typed(sql, &names).await? {
                known.tables.insert(row.try_get(0)?, at);
            }
        }
        Ok(known)
    }

    /// A slot that nobody knows the beginning of is of no use.
    async fn begin_anew(&self, client: &Client, is_there: bool) -> Result<(), PostgresError> {
        // First: should this go no further, the slot is not taken for one that has been begun.
        let forget = "DELETE FROM larder.capture_slots WHERE slot = $1::text::name";
        client.query_typed(forget, &[(&self.slot, Type::TEXT)]).await?;
        if is_there {
            let drop = "SELECT pg_drop_replication_slot($1::text::name)";
            client.query_typed(drop, &[(&self.slot, Type::TEXT)]).await?;
        }
        let make = "SELECT (lsn - '0/0')::bigint FROM pg_create_logical_replication_slot($1::text::name, 'pgoutput')";
        let made = client.query_typed(make, &[(&self.slot, Type::TEXT)]).await?;
        let at: i64 = first(&made)?.try_get(0)?;
        let began = "SELECT larder.replication_began($1::text::name, $2, '0/0'::pg_lsn + $3)";
        let (slot, namespace) = ((&self.slot as _, Type::TEXT), (&self.namespace as _, Type::TEXT));
        client.query_typed(began, &[slot, namespace, (&at, Type::INT8)]).await?;
        tracing::warn!(slot = %self.slot, "a new slot: everything is invalidated");
        Ok(())
    }

    async fn round(&self, made: &mut Option<Session>) -> Result<Round, PostgresError> {
        if made.is_none() {
            *made = Some(self.begin().await?);
        }
        let Some(session) = made else { return Ok(Round::Wait) };
        let flushed = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
        let upto: i64 = first(&session.reading.query_typed(flushed, &[]).await?)?.try_get(0)?;
        if upto == session.confirmed {
            return Ok(Round::Done);
        }
        // The slot's name is one that needs no quotes.
        let slot = &self.slot;
        let open = format!(
            "BEGIN READ ONLY; DECLARE larder_changes NO SCROLL CURSOR FOR SELECT data FROM
            pg_logical_slot_peek_binary_changes('{slot}', '0/0'::pg_lsn + {upto}, NULL, 'proto_version', '1', 'publication_names', '{slot}')"
        );
        session.reading.batch_execute(&open).await?;
        let mut reading = Reading::new(self);
        let read = self.changes(session, &mut reading).await;
        session.reading.batch_execute("ROLLBACK").await?;
        match read {
            Ok(Round::Done) => {}
            Err(error) if error.has_code(IN_USE) => return Ok(Round::Wait),
            other => return other,
        }
        let advance = format!("SELECT pg_replication_slot_advance('{slot}', '0/0'::pg_lsn + {upto})");
        match session.reading.query_typed(&advance, &[]).await.map_err(PostgresError::from) {
            Ok(_) => session.confirmed = upto,
            Err(error) if error.has_code(IN_USE) => {}
            Err(error) => return Err(error),
        }
        if reading.met_unknown {
            *made = None;
        }
        Ok(Round::Done)
    }

    /// All that the cursor gives.
    async fn changes(&self, session: &Session, reading: &mut Reading<'_>) -> Result<Round, PostgresError> {
        loop {
            let rows = session.reading.query_typed(FETCH, &[]).await?;
            if rows.is_empty() {
                return Ok(Round::Done);
            }
            for row in &rows {
                let Some(end) = reading.take(row.try_get(0)?, &session.known)? else { continue };
                if !reading.write(session, end).await? {
                    return Ok(Round::Wait);
                }
            }
        }
    }
}

fn first(rows: &[Row]) -> Result<&Row, PostgresError> {
    rows.first().ok_or_else(|| PostgresError::undone("the database answered with no row"))
}
