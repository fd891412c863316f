//! Rows of the SQL functions as records, places and intents. Whatever is odd in an answer is distrusted as a whole.

use larder_core::port::{History, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Intent, IntentId, Link, NodeId, Record, Target};
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

pub(super) fn epoch_bytes(epoch: Epoch) -> [u8; 16] {
    epoch.get().to_be_bytes()
}

/// What an answer says of itself.
pub(super) enum Outcome {
    There,
    /// Ask again; the sequencer's step, too?
    Again {
        sequence: bool,
    },
    NoHistory,
    OtherEpoch,
    Beyond,
    Compacted,
    OtherNonce,
}

pub(super) fn outcome(rows: &[Row]) -> Result<Outcome, JournalError> {
    Ok(match rows.first().map(|row| get::<i32>(row, "outcome")).transpose()? {
        Some(0) => Outcome::There,
        Some(1) => Outcome::Again { sequence: false },
        Some(2) => Outcome::Again { sequence: true },
        Some(3) | None => Outcome::NoHistory,
        Some(4) => Outcome::OtherEpoch,
        Some(5) => Outcome::Beyond,
        Some(6) => Outcome::Compacted,
        Some(7) => Outcome::OtherNonce,
        Some(_) => return Err(odd()),
    })
}

pub(super) fn flushed(rows: &[Row]) -> Result<i64, JournalError> {
    rows.first().map_or_else(|| Err(odd()), |row| get(row, "flushed"))
}

pub(super) fn history(rows: &[Row]) -> Result<History, JournalError> {
    let first = rows.first().ok_or_else(odd)?;
    let epoch = bits(get(first, "epoch")?).map(Epoch::new)?;
    let head = link(epoch, get(first, "head_position")?, get(first, "head_nonce")?)?;
    let oldest = link(epoch, get(first, "oldest_position")?, get(first, "oldest_nonce")?)?;
    if oldest.position > head.position {
        return Err(odd());
    }
    let mut open = Vec::new();
    for row in rows {
        let Some(id) = get::<Option<i64>>(row, "intent")? else { continue };
        let lasts = Duration::from_millis(u64::try_from(get::<i64>(row, "lasts_ms")?).unwrap_or(u64::MAX));
        let targets = Target::decode_many(get(row, "targets")?).map_err(|_| odd())?;
        open.push(Intent { id: IntentId::new(id.cast_unsigned()), lasts, targets: targets.into() });
    }
    open.sort_unstable_by_key(|intent| intent.id);
    Ok(History { oldest, head, open })
}

/// The page that follows a place.
pub(super) fn page(rows: &[Row], after: Link) -> Result<Page, JournalError> {
    let damaged = |what: &str| JournalError::diverged(format!("the journal is damaged: {what}"));
    let first = rows.first().ok_or_else(odd)?;
    let head = link(after.epoch, get(first, "head_position")?, get(first, "head_nonce")?)?;
    let mut records = Vec::with_capacity(rows.len());
    let mut before = after;
    for row in rows {
        let Some(nonce) = get::<Option<i64>>(row, "nonce")? else { continue };
        if get::<i64>(row, "at_place")? != before.position.cast_signed() + 1 {
            return Err(damaged("a record is missing"));
        }
        before = Link { position: before.position + 1, nonce: nonce.cast_unsigned(), ..after };
        let act = || {
            let kind = u8::try_from(get::<i16>(row, "kind")?).map_err(|_| odd())?;
            let lasts_ms = u64::try_from(get::<i64>(row, "lasts_ms")?).unwrap_or(u64::MAX);
            let intent = get::<i64>(row, "intent")?.cast_unsigned();
            Act::from_numbers(kind, intent, lasts_ms).map_err(|_| damaged("a record's kind"))
        };
        let targets = Target::decode_many(get(row, "targets")?).ok().filter(|targets| !targets.is_empty());
        records.push(Record {
            link: before,
            act: act()?,
            targets: targets.ok_or_else(|| damaged("a record's targets"))?,
            cause: Cause::new(&String::from_utf8_lossy(get(row, "cause")?)),
        });
    }
    let is_short = records.is_empty() && before != head;
    if is_short || before.position > head.position || (before.position == head.position && before != head) {
        return Err(damaged("its records do not lead to its head"));
    }
    Ok(Page { records, head })
}

pub(super) fn attendance(rows: &[Row]) -> Result<Attendance, JournalError> {
    let first = rows.first().ok_or_else(odd)?;
    let whole_for = Duration::from_millis(u64::try_from(get::<i64>(first, "whole_ms")?).unwrap_or(0));
    let mut nodes = Vec::new();
    for row in rows {
        let Some(node) = get::<Option<&[u8]>>(row, "node")? else { continue };
        let epoch = Epoch::new(bits(get(row, "epoch")?)?);
        let applied = link(epoch, get(row, "at_position")?, get(row, "nonce")?)?;
        nodes.push((NodeId::new(bits(node)?), applied));
    }
    Ok(Attendance { nodes, whole_for })
}

/// Where a record stands, and what it followed; `None` if it was not opened.
pub(super) fn appended(rows: &[Row]) -> Result<Option<(Link, Link)>, JournalError> {
    let row = rows.first().ok_or_else(odd)?;
    if get::<i32>(row, "outcome")? == 1 {
        return Ok(None);
    }
    let epoch = Epoch::new(bits(get(row, "epoch")?)?);
    let position: i64 = get(row, "at_position")?;
    let at = link(epoch, position, get(row, "at_nonce")?)?;
    Ok(Some((at, link(epoch, position - 1, get(row, "after_nonce")?)?)))
}

fn link(epoch: Epoch, position: i64, nonce: i64) -> Result<Link, JournalError> {
    let position = u64::try_from(position).map_err(|_| odd())?;
    Ok(Link { epoch, position, nonce: nonce.cast_unsigned() })
}

fn bits(bytes: &[u8]) -> Result<u128, JournalError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| odd())
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, JournalError> {
    row.try_get(column).map_err(|_| odd())
}

fn odd() -> JournalError {
    JournalError::refused("the journal's answer is not understood: its tables were changed by hand")
}
