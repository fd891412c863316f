//! Writing to the journal's tables, inside a transaction that somebody else began and will end.
//!
//! Shared by the journal's writer thread and by the outbox, on the application's own connection.

use super::schema::{self, Fault};
use crate::journal::limits::{INTENTS_MAX, RECORDS_MAX_DEFAULT, random_epoch, random_nonce};
use crate::sqlite::if_there;
use larder_core::{Act, Epoch, IntentId, Link};
use rusqlite::{Connection, params};
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends between two trims.
const TRIM_EVERY: i64 = 64;
/// Rows one trim deletes at most: more than come in between two, so that any backlog shrinks.
const TRIM_ROWS_MAX: i64 = 256;

// The first statement writes: a deferred transaction that began with a read could not be upgraded once
// another connection has written.
const ADVANCE: &str = "
UPDATE main.larder_head SET position = position + 1, nonce = ?2 WHERE namespace = ?1
RETURNING epoch, position, oldest_position,
    (SELECT value FROM main.larder_settings WHERE name = 'schema'),
    (SELECT value FROM main.larder_settings WHERE name = 'records_max')";

// A row may be there already only when someone tampered with the head; the head decides.
const INSERT: &str = "
INSERT OR REPLACE INTO main.larder_journal(namespace, position, nonce, targets, cause, at_ms, kind, intent, lasts_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const OPEN: &str = "
INSERT INTO main.larder_intents(namespace, intent, lasts_ms, targets) VALUES (?1, ?2, ?3, ?4)";

const CLOSE: &str = "DELETE FROM main.larder_intents WHERE namespace = ?1 AND intent = ?2";

const CREATE_HEAD: &str = "
INSERT INTO main.larder_head(namespace, epoch, position, nonce, oldest_position, oldest_nonce)
VALUES (?1, ?2, 0, 0, 0, 0) ON CONFLICT(namespace) DO NOTHING";

const HEAD: &str = "SELECT epoch, position, nonce FROM main.larder_head WHERE namespace = ?1";

// `oldest` keeps the nonce of the record it stands on, so that a reader standing there can go on. When that
// record is missing, the history has a hole, and it is left for readers to find.
const MOVE_OLDEST: &str = "
UPDATE main.larder_head SET oldest_position = ?2, oldest_nonce =
    (SELECT nonce FROM main.larder_journal WHERE namespace = ?1 AND position = ?2)
WHERE namespace = ?1 AND EXISTS
    (SELECT 1 FROM main.larder_journal WHERE namespace = ?1 AND position = ?2)";

const DELETE_OLD: &str = "
DELETE FROM main.larder_journal WHERE namespace = ?1
AND position <= (SELECT oldest_position FROM main.larder_head WHERE namespace = ?1)
AND position < (SELECT min(position) FROM main.larder_journal WHERE namespace = ?1) + ?2";

struct Advanced {
    epoch: Epoch,
    position: i64,
    oldest: i64,
    version: Option<i64>,
    records_max: Option<i64>,
}

/// Appends one record with these encoded targets. On an error the caller rolls back.
pub(crate) fn append(
    connection: &Connection,
    namespace: &str,
    act: Act,
    targets: &[u8],
    cause: &str,
) -> Result<Link, Fault> {
    let nonce = random_nonce()?;
    let head = match advance(connection, namespace, nonce)? {
        Some(head) => head,
        None => {
            schema::ensure(connection)?;
            create_head(connection, namespace)?;
            advance(connection, namespace, nonce)?
                .ok_or_else(|| Fault::Damaged("a namespace vanished inside its transaction".into()))?
        }
    };
    schema::check_version(head.version)?;
    if !schema::is_current(head.version) {
        schema::ensure(connection)?;
    }
    let (kind, intent, lasts_ms) = act.to_numbers();
    let (intent, lasts_ms) = (intent.cast_signed(), i64::try_from(lasts_ms).unwrap_or(i64::MAX));
    connection.prepare_cached(INSERT)?.execute(params![
        namespace,
        head.position,
        nonce.cast_signed(),
        targets,
        cause,
        now_ms(),
        kind,
        intent,
        lasts_ms
    ])?;
    match act {
        Act::Invalidate => {}
        Act::Open { .. } => {
            connection.prepare_cached(OPEN)?.execute(params![namespace, intent, lasts_ms, targets])?;
        }
        Act::Close { .. } => {
            connection.prepare_cached(CLOSE)?.execute(params![namespace, intent])?;
        }
    }
    if head.position % TRIM_EVERY == 0 {
        trim(connection, namespace, &head)?;
    }
    Ok(Link { epoch: head.epoch, position: head.position.cast_unsigned(), nonce })
}

/// Whether this intent may be opened. Reads: for a transaction that holds the write lock.
pub(super) fn may_open(connection: &Connection, namespace: &str, intent: IntentId) -> Result<bool, Fault> {
    let sql = "SELECT count(*), ifnull(max(intent = ?2), 0) FROM main.larder_intents WHERE namespace = ?1";
    let found = connection.prepare_cached(sql).and_then(|mut statement| {
        let parameters = params![namespace, intent.get().cast_signed()];
        statement.query_row(parameters, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
    });
    let (open, is_open) = if_there(found)?.unwrap_or((0, false));
    Ok(open < INTENTS_MAX as i64 && !is_open)
}

/// Whether this intent is open. For a transaction that holds the write lock: nobody closes it before that ends.
pub(crate) fn is_open(connection: &Connection, namespace: &str, intent: IntentId) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM main.larder_intents WHERE namespace = ?1 AND intent = ?2";
    let found = connection.prepare_cached(sql).and_then(|mut statement| {
        statement.query_row(params![namespace, intent.get().cast_signed()], |_| Ok(()))
    });
    Ok(if_there(found)?.is_some())
}

/// The head of a namespace, which is created when there is none.
pub(crate) fn head_or_create(connection: &Connection, namespace: &str) -> Result<Link, Fault> {
    schema::ensure(connection)?;
    create_head(connection, namespace)?;
    let mut statement = connection.prepare_cached(HEAD)?;
    Ok(statement.query_row([namespace], |row| {
        let epoch = Epoch::new(u128::from_be_bytes(row.get(0)?));
        let (position, nonce): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(Link { epoch, position: position.cast_unsigned(), nonce: nonce.cast_unsigned() })
    })?)
}

/// Starts a new epoch if the current one is `seen`. The old records are out of reach at once, and deleted a few
/// at a time by later appends.
pub(super) fn roll(connection: &Connection, namespace: &str, seen: Epoch) -> Result<bool, Fault> {
    let (epoch, nonce) = (random_epoch()?, random_nonce()?.cast_signed());
    let sql =
        "UPDATE main.larder_head SET epoch = ?3, nonce = ?4, oldest_position = position, oldest_nonce = ?4
               WHERE namespace = ?1 AND epoch = ?2";
    let (seen, epoch) = (seen.get().to_be_bytes(), epoch.get().to_be_bytes());
    Ok(connection.execute(sql, params![namespace, seen, epoch, nonce])? == 1)
}

/// `None` when the tables or the namespace are not there yet.
fn advance(connection: &Connection, namespace: &str, nonce: u64) -> Result<Option<Advanced>, Fault> {
    let advanced = connection.prepare_cached(ADVANCE).and_then(|mut statement| {
        statement.query_row(params![namespace, nonce.cast_signed()], |row| {
            Ok(Advanced {
                epoch: Epoch::new(u128::from_be_bytes(row.get(0)?)),
                position: row.get(1)?,
                oldest: row.get(2)?,
                version: row.get(3)?,
                records_max: row.get(4)?,
            })
        })
    });
    Ok(if_there(advanced)?)
}

fn create_head(connection: &Connection, namespace: &str) -> Result<(), Fault> {
    let epoch = random_epoch()?.get().to_be_bytes();
    connection.prepare_cached(CREATE_HEAD)?.execute(params![namespace, epoch])?;
    Ok(())
}

fn trim(connection: &Connection, namespace: &str, head: &Advanced) -> Result<(), Fault> {
    let records_max = head.records_max.unwrap_or(RECORDS_MAX_DEFAULT.cast_signed()).max(1);
    let oldest = head.position - records_max;
    if oldest > head.oldest {
        connection.prepare_cached(MOVE_OLDEST)?.execute(params![namespace, oldest])?;
    }
    connection.prepare_cached(DELETE_OLD)?.execute(params![namespace, TRIM_ROWS_MAX])?;
    Ok(())
}

/// For people who read the table; nothing decides by it.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
