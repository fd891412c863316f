//! A store on Postgres: entries in one unlogged table, for those whose third tier is the database they have.
//!
//! It is a cache: an unlogged table costs no WAL, and is empty after a crash and on a server that takes over. A row's name is a
//! hash of its key, since an index cannot hold keys of any length; whose key it is stands in the envelope, which the engine
//! verifies. Knows nothing of validity, and drops what has expired a few rows at a time, with each write.

use super::room::Room;
use crate::postgres::{Line, Parameter, Settings};
use larder_core::port::{BoxFuture, Store, StoreError, Stored};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use xxhash_rust::xxh3::xxh3_128;

/// How long an operation may take.
const DEADLINE_DEFAULT: Duration = Duration::from_millis(500);

const GET: &str = "SELECT name, bytes FROM larder.entries WHERE name = ANY($1)";

/// Rows are taken in the order of their names by everybody: two writers wait for each other, and never for ever. A few of what
/// has expired go with each write, at least as fast as rows come.
const PUT: &str = "WITH dead AS (
        SELECT name FROM larder.entries WHERE expires_ms < $4 AND NOT name = ANY($1)
        ORDER BY expires_ms LIMIT 2 * cardinality($1) FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM larder.entries AS e USING dead WHERE e.name = dead.name
    )
    INSERT INTO larder.entries AS e (name, bytes, expires_ms)
    SELECT put.name, put.bytes, put.expires_ms FROM unnest($1, $2, $3) AS put(name, bytes, expires_ms) ORDER BY put.name
    ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes, expires_ms = excluded.expires_ms";

const REMOVE: &str = "DELETE FROM larder.entries AS e USING (
        SELECT name FROM larder.entries WHERE name = ANY($1) ORDER BY name FOR UPDATE
    ) AS named WHERE e.name = named.name";

/// Exact while there are few; beyond that, what the last ANALYZE found.
const USAGE: &str = "SELECT CASE WHEN few.n <= 10000 THEN few.n ELSE greatest(c.reltuples::bigint, few.n) END, pg_table_size(c.oid)
    FROM pg_class AS c, (SELECT count(*) AS n FROM (SELECT FROM larder.entries LIMIT 10001) AS first) AS few
    WHERE c.oid = 'larder.entries'::regclass";

/// A store on Postgres, shared by all nodes that name the same database. `larder::postgres::migrate` makes its table. Clones
/// are the same store.
#[derive(Clone)]
pub struct PostgresStore {
    reading: Arc<Line>,
    /// Apart, so that no read waits behind a write.
    writing: Arc<Line>,
    deadline: Duration,
    room: Room,
    closed: Arc<AtomicBool>,
}

impl PostgresStore {
    /// The store in the database that a URL names, `postgres://user@host:port/database`. Connects when it is
    /// first asked. A server that is down is no error: until it is there the store has nothing.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let settings = Settings::parse(url).map_err(|error| StoreError::refused(error.to_string()))?;
        let settings = Arc::new(settings);
        Ok(PostgresStore {
            reading: Arc::new(Line::new(Arc::clone(&settings))),
            writing: Arc::new(Line::new(settings)),
            deadline: DEADLINE_DEFAULT,
            room: Room::new(),
            closed: Arc::default(),
        })
    }

    /// How long an operation may take, connecting included; 500 ms unless set, at least 1 ms.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.max(Duration::from_millis(1));
        self
    }

    async fn ask(
        &self,
        line: &Line,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::refused("the Postgres store is closed"));
        }
        let answer = line.ask(sql, parameters, self.deadline).await;
        answer.map_err(|error| StoreError::new(error.to_string(), error))
    }

    async fn get_all(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let names: Vec<[u8; 16]> = keys.iter().map(|key| name(key)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<&[u8]> = names.iter().map(<[u8; 16]>::as_slice).collect();
        let rows = self.ask(&self.reading, GET, &[(&asked as _, Type::BYTEA_ARRAY)]).await?;
        let mut found: HashMap<&[u8], &[u8]> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let unreadable = |error| StoreError::new("a row of larder.entries is not understood", error);
            found.insert(row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
        }
        Ok(names.iter().map(|name| found.get(name.as_slice()).map(|bytes| bytes.to_vec())).collect())
    }

    async fn put_all(&self, entries: &[Stored]) -> Result<(), StoreError> {
        let _room = self.room.take(entries)?;
        // Of one key twice, the last; a statement cannot put one row twice.
        let last: HashMap<[u8; 16], &Stored> =
            entries.iter().map(|entry| (name(&entry.key), entry)).collect();
        if last.is_empty() {
            return Ok(());
        }
        let names: Vec<&[u8]> = last.keys().map(<[u8; 16]>::as_slice).collect();
        let bytes: Vec<&[u8]> = last.values().map(|entry| entry.bytes.as_slice()).collect();
        let until: Vec<i64> =
            last.values().map(|entry| i64::try_from(entry.expires_ms).unwrap_or(i64::MAX)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let parameters: &[Parameter<'_>] = &[
            (&names as _, Type::BYTEA_ARRAY),
            (&bytes as _, Type::BYTEA_ARRAY),
            (&until as _, Type::INT8_ARRAY),
            (&now as _, Type::INT8),
        ];
        self.ask(&self.writing, PUT, parameters).await.map(drop)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the URL.
        f.debug_struct("PostgresStore").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// What a row is called. Who finds two keys with one name has two keys that take each other's place.
fn name(key: &[u8]) -> [u8; 16] {
    xxh3_128(key).to_be_bytes()
}

impl Store for PostgresStore {
    fn get_many<'a>(
        &'a self,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(self.get_all(keys))
    }

    fn read_deadline(&self) -> Option<Duration> {
        Some(self.deadline)
    }

    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.put_all(&entries).await })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let names: Vec<[u8; 16]> = keys.iter().map(|key| name(key)).collect();
            let names: Vec<&[u8]> = names.iter().map(<[u8; 16]>::as_slice).collect();
            self.ask(&self.writing, REMOVE, &[(&names as _, Type::BYTEA_ARRAY)]).await.map(drop)
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        Box::pin(async move {
            let rows = self.ask(&self.reading, USAGE, &[]).await?;
            let number = |at| rows.first().and_then(|row| row.try_get::<_, i64>(at).ok());
            let counted = number(0).zip(number(1)).map(|(n, bytes)| (n.unsigned_abs(), bytes.unsigned_abs()));
            counted
                .ok_or_else(|| StoreError::new("the size of larder.entries is not understood", "no such row"))
        })
    }

    fn name(&self) -> &'static str {
        "postgres"
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            // All of the room is free once nothing is on its way; each write has a deadline.
            self.room.all_free().await;
        })
    }
}
