//! Reading the journal's tables: each answer from one snapshot, and distrusted when anything in it is odd.

use super::schema::{self, Fault};
use crate::sqlite::if_there;
use larder_core::port::{History, JournalError, Page};
use larder_core::{Act, Cause, Epoch, Intent, IntentId, Link, Record, Target};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// A page ends early once its targets take this many bytes encoded.
const PAGE_BYTES_MAX: usize = 16 << 20;

const HEAD: &str = "
SELECT epoch, position, nonce, oldest_position, oldest_nonce,
    (SELECT value FROM main.larder_settings WHERE name = 'schema')
FROM main.larder_head WHERE namespace = ?1";

const NONCE: &str = "SELECT nonce FROM main.larder_journal WHERE namespace = ?1 AND position = ?2";

const RECORDS: &str = "
SELECT position, nonce, targets, cause, kind, intent, lasts_ms FROM main.larder_journal
WHERE namespace = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";

const INTENTS: &str = "
SELECT intent, lasts_ms, targets FROM main.larder_intents WHERE namespace = ?1 ORDER BY intent";

/// What the file holds of a namespace, from one snapshot; `None` when it has no history yet, or tables of an older version,
/// which whoever creates the namespace brings up to date.
pub(super) fn history(connection: &Connection, namespace: &str) -> Result<Option<History>, Fault> {
    // Ends with the guard, on every path.
    let snapshot = connection.unchecked_transaction()?;
    let Some(Ends { oldest, head }) = ends(&snapshot, namespace)? else { return Ok(None) };
    let mut statement = snapshot.prepare_cached(INTENTS)?;
    let mut rows = statement.query([namespace])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, lasts_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let targets = row.get_ref(2)?.as_blob().map_err(|e| Fault::Damaged(e.to_string()))?;
        let targets = Target::decode_many(targets)
            .map_err(|e| Fault::Damaged(format!("the targets of an open intent: {e}")))?;
        let lasts = Duration::from_millis(u64::try_from(lasts_ms).unwrap_or(u64::MAX));
        open.push(Intent { id: IntentId::new(id.cast_unsigned()), lasts, targets: targets.into() });
    }
    Ok(Some(History { oldest, head, open }))
}

/// Where a history begins and ends.
struct Ends {
    oldest: Link,
    head: Link,
}

fn ends(connection: &Connection, namespace: &str) -> Result<Option<Ends>, Fault> {
    let found = connection.prepare_cached(HEAD).and_then(|mut statement| {
        statement.query_row([namespace], |row| {
            let epoch = Epoch::new(u128::from_be_bytes(row.get(0)?));
            let link = |position: i64, nonce: i64| Link {
                epoch,
                position: position.cast_unsigned(),
                nonce: nonce.cast_unsigned(),
            };
            let head = link(row.get(1)?, row.get(2)?);
            let oldest = link(row.get(3)?, row.get(4)?);
            Ok((Ends { oldest, head }, row.get::<_, Option<i64>>(5)?))
        })
    });
    let found = if_there(found)?;
    let Some((ends, version)) = found else { return Ok(None) };
    schema::check_version(version)?;
    if !schema::is_current(version) {
        return Ok(None);
    }
    let (oldest, head) = (ends.oldest.position, ends.head.position);
    if head > i64::MAX.cast_unsigned() || oldest > head {
        return Err(Fault::Damaged(format!("positions {oldest} to {head} are no history")));
    }
    Ok(Some(ends))
}

/// The records after a place, once that place is known to be in the history. One snapshot.
pub(super) fn page(
    connection: &Connection,
    namespace: &str,
    after: Link,
    limit: usize,
) -> Result<Page, JournalError> {
    // Ends with the guard, on every path.
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(e.into()))?;
    let ends = ends(&snapshot, namespace)
        .map_err(failed)?
        .ok_or_else(|| JournalError::diverged("the database holds no history of this namespace"))?;
    verify(&snapshot, namespace, after, &ends)?;
    let records = records(&snapshot, namespace, after, &ends.head, limit.max(1)).map_err(failed)?;
    Ok(Page { records, head: ends.head })
}

fn verify(connection: &Connection, namespace: &str, after: Link, ends: &Ends) -> Result<(), JournalError> {
    let Ends { oldest, head } = *ends;
    if after.epoch != head.epoch {
        return Err(JournalError::diverged(format!("epoch is {}; expected {}", after.epoch, head.epoch)));
    }
    if after.position > head.position {
        return Err(JournalError::diverged(format!("{after} is beyond the head {head}")));
    }
    if after.position < oldest.position {
        return Err(JournalError::compacted(format!("{after} is before the oldest kept {oldest}")));
    }
    if after == head {
        return Ok(());
    }
    let nonce = if after.position == oldest.position {
        Some(oldest.nonce)
    } else {
        nonce_at(connection, namespace, after.position.cast_signed()).map_err(failed)?
    };
    if nonce == Some(after.nonce) {
        return Ok(());
    }
    Err(JournalError::diverged(format!("{after} has a nonce that is not in this history")))
}

fn nonce_at(connection: &Connection, namespace: &str, position: i64) -> Result<Option<u64>, Fault> {
    let mut statement = connection.prepare_cached(NONCE)?;
    let nonce = statement.query_row(params![namespace, position], |row| row.get::<_, i64>(0)).optional()?;
    Ok(nonce.map(i64::cast_unsigned))
}

fn records(
    connection: &Connection,
    namespace: &str,
    after: Link,
    head: &Link,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    let (from, to) = (after.position.cast_signed(), head.position.cast_signed());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(RECORDS)?;
    let mut rows = statement.query(params![namespace, from, to, limit])?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (position, nonce): (i64, i64) = (row.get(0)?, row.get(1)?);
        let expected = from + 1 + records.len() as i64;
        if position != expected {
            return Err(Fault::Damaged(format!("record {expected} is missing")));
        }
        let targets = row.get_ref(2)?.as_blob().map_err(|e| Fault::Damaged(e.to_string()))?;
        if bytes + targets.len() > PAGE_BYTES_MAX && !records.is_empty() {
            return Ok(records);
        }
        bytes += targets.len();
        let targets = Target::decode_many(targets)
            .map_err(|e| Fault::Damaged(format!("the targets of record {position}: {e}")))?;
        let cause = Cause::new(&row.get::<_, String>(3)?);
        let link =
            Link { position: position.cast_unsigned(), nonce: nonce.cast_unsigned(), epoch: head.epoch };
        let act = read_act(row)?;
        records.push(Record { link, act, targets, cause });
    }
    let reached = records.last().map_or(after, |r| r.link);
    let stopped_short = (records.len() as i64) < limit && reached.position != head.position;
    if stopped_short || (reached.position == head.position && reached != *head) {
        return Err(Fault::Damaged(format!("the records end at {reached}; expected {head}")));
    }
    Ok(records)
}

fn read_act(row: &rusqlite::Row<'_>) -> Result<Act, Fault> {
    let (kind, intent, lasts_ms): (i64, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
    let kind = u8::try_from(kind).unwrap_or(u8::MAX);
    let lasts_ms = u64::try_from(lasts_ms).unwrap_or(u64::MAX);
    Act::from_numbers(kind, intent.cast_unsigned(), lasts_ms).map_err(|e| Fault::Damaged(e.to_string()))
}

/// Damage is divergence: whoever reads must distrust what it has, and go on from the head.
pub(super) fn failed(fault: Fault) -> JournalError {
    match fault {
        Fault::Damaged(_) => JournalError::diverged(fault.to_string()),
        Fault::Newer { .. } => JournalError::refused(fault.to_string()),
        Fault::Sqlite(error) => JournalError::failed(format!("reading failed: {error}"), error),
        Fault::Random(_) | Fault::System(_) => {
            JournalError::failed(format!("reading failed: {fault}"), fault)
        }
    }
}
