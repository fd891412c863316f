//! Records, intents and places as bytes in Redis, and back. Whatever is odd in an answer is distrusted as a whole.
//!
//! A record in the log is its nonce and the nonce of the record before it, in hexadecimal, a number that the scripts count
//! bytes with, one letter that says whether its body is there or beside the log, and the body. So each link of the chain is checked where it is read.

use larder_core::port::{History, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Intent, IntentId, Link, NodeId, Record, Target};
use std::time::Duration;

/// What an answer of a script is: bytes after bytes.
pub(super) type Answer = Vec<Vec<u8>>;

/// The form of what is kept, which this code reads and writes; scripts check it.
const FORM: &str = "1";

/// Bytes of a record before its body.
const PREFIX: usize = 49;

/// Kind, intent, how long it lasts, and the length of the cause.
const BODY_MIN: usize = 1 + 8 + 8 + 1;

pub(super) fn hex_epoch(epoch: Epoch) -> String {
    format!("{:032x}", epoch.get())
}

pub(super) fn hex_nonce(nonce: u64) -> String {
    format!("{nonce:016x}")
}

/// A record's body, of targets that are encoded.
pub(super) fn body(act: Act, cause: &Cause, targets: &[u8]) -> Vec<u8> {
    let (kind, intent, lasts_ms) = act.to_numbers();
    let cause = cause.as_str().as_bytes();
    let mut out = Vec::with_capacity(BODY_MIN + cause.len() + targets.len());
    out.push(kind);
    out.extend_from_slice(&intent.to_be_bytes());
    out.extend_from_slice(&lasts_ms.to_be_bytes());
    // Causes are cut at 200 bytes.
    out.push(u8::try_from(cause.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&cause[..cause.len().min(usize::from(u8::MAX))]);
    out.extend_from_slice(targets);
    out
}

/// The field of the head that holds an open intent.
pub(super) fn intent_field(id: IntentId) -> String {
    format!("i:{:016x}", id.get())
}

/// What that field holds, of targets that are encoded.
pub(super) fn intent_value(lasts: Duration, id: IntentId, targets: &[u8]) -> Vec<u8> {
    let (_, _, lasts_ms) = Act::Open { intent: id, lasts }.to_numbers();
    let mut out = lasts_ms.to_be_bytes().to_vec();
    out.extend_from_slice(targets);
    out
}

/// What a script answered that may not or cannot do what it was asked.
pub(super) fn refusal(answer: &Answer, after: Link) -> JournalError {
    let said = |at: usize| answer.get(at).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    match &*said(0) {
        "none" => JournalError::diverged("the server holds no history of this namespace"),
        "epoch" => {
            let found = said(1).chars().take(8).collect::<String>();
            JournalError::diverged(format!("epoch is {}; expected {found}", after.epoch))
        }
        "beyond" => JournalError::diverged(format!("{after} is beyond the head at {}", said(1))),
        "compacted" => JournalError::compacted(format!("{after} is before the oldest kept, {}", said(1))),
        "nonce" => JournalError::diverged(format!("{after} has a nonce that is not in this history")),
        "form" => JournalError::refused(format!(
            "the journal's form is {}; expected {FORM}: it was written by a newer larder",
            said(1)
        )),
        _ => JournalError::diverged("the journal's answer is not understood"),
    }
}

/// The page that follows a place, of a script's good answer.
pub(super) fn page(answer: &Answer, after: Link) -> Result<Page, JournalError> {
    let damaged = |what: &str| JournalError::diverged(format!("the journal is damaged: {what}"));
    let [_, position, nonce, rows @ ..] = answer.as_slice() else { return Err(damaged("no head")) };
    let head =
        place(after.epoch, &[position.as_slice(), nonce].concat()).ok_or_else(|| damaged("no head"))?;
    let mut records = Vec::with_capacity(rows.len());
    let mut before = after;
    for row in rows {
        let (record, followed) = record(row, before).ok_or_else(|| damaged("a record"))?;
        if followed != before.nonce {
            return Err(damaged("a record is missing"));
        }
        before = record.link;
        records.push(record);
    }
    let is_short = records.is_empty() && before != head;
    if is_short || before.position > head.position || (before.position == head.position && before != head) {
        return Err(damaged("its records do not lead to its head"));
    }
    Ok(Page { records, head })
}

/// The record right after a place, and the nonce of the one it followed.
fn record(row: &[u8], before: Link) -> Option<(Record, u64)> {
    let (prefix, body) = row.split_at_checked(PREFIX)?;
    let nonce = u64::try_from(hex(prefix.get(..16)?)?).ok()?;
    let followed = u64::try_from(hex(prefix.get(16..32)?)?).ok()?;
    let (head, rest) = body.split_at_checked(BODY_MIN)?;
    let intent = u64::from_be_bytes(head.get(1..9)?.try_into().ok()?);
    let lasts_ms = u64::from_be_bytes(head.get(9..17)?.try_into().ok()?);
    let (cause, targets) = rest.split_at_checked(usize::from(*head.last()?))?;
    let act = Act::from_numbers(*head.first()?, intent, lasts_ms).ok()?;
    let link = Link { position: before.position.checked_add(1)?, nonce, ..before };
    let cause = Cause::new(std::str::from_utf8(cause).ok()?);
    let targets = Target::decode_many(targets).ok().filter(|targets| !targets.is_empty())?;
    Some((Record { link, act, targets, cause }, followed))
}

/// The history that a head's fields and values tell.
pub(super) fn history(answer: &Answer) -> Result<History, JournalError> {
    let damaged =
        || JournalError::refused("the journal's head is damaged; delete it to begin another history");
    let pairs = || answer.chunks_exact(2).map(|pair| (pair[0].as_slice(), pair[1].as_slice()));
    let (_, head) = pairs().find(|(field, _)| *field == b"head").ok_or_else(damaged)?;
    if head.get(..1) != Some(FORM.as_bytes()) {
        return Err(refusal(&vec![b"form".to_vec(), head.iter().take(1).copied().collect()], NOWHERE));
    }
    let epoch = head.get(1..33).and_then(hex).ok_or_else(damaged)?;
    let place = |bytes: Option<&[u8]>| place(Epoch::new(epoch), bytes?);
    let at = place(head.get(33..65)).ok_or_else(damaged)?;
    let oldest = place(head.get(65..97)).ok_or_else(damaged)?;
    let intents = pairs().filter_map(|(field, value)| Some((field.strip_prefix(b"i:")?, value)));
    let open: Option<Vec<Intent>> = intents.map(|(id, value)| intent(id, value)).collect();
    let mut open = open.ok_or_else(damaged)?;
    open.sort_unstable_by_key(|intent| intent.id);
    Ok(History { oldest, head: at, open })
}

/// An epoch and a place, as [`follows`] reads them back.
pub(super) fn written(link: Link) -> String {
    format!("{}{:016}{}", hex_epoch(link.epoch), link.position, hex_nonce(link.nonce))
}

/// A node's name as a field.
pub(super) fn node_field(node: NodeId) -> String {
    format!("{:032x}", node.get())
}

/// Who is there, as a script says.
pub(super) fn attendance(answer: &Answer) -> Option<Attendance> {
    let (whole_ms, nodes) = answer.split_first()?;
    let whole_for = Duration::from_millis(number(whole_ms)?);
    let node = |pair: &[Vec<u8>]| Some((NodeId::new(hex(&pair[0])?), follows(&pair[1])?));
    let nodes: Option<Vec<(NodeId, Link)>> = nodes.chunks_exact(2).map(node).collect();
    Some(Attendance { nodes: nodes?, whole_for })
}

/// A place as the head has it: a position of 16 digits, and a nonce.
fn place(epoch: Epoch, bytes: &[u8]) -> Option<Link> {
    let (position, nonce) = bytes.split_at_checked(16)?;
    Some(Link { epoch, position: number(position)?, nonce: u64::try_from(hex(nonce)?).ok()? })
}

/// What a record follows, as the script that appended it says: an epoch and a place.
pub(super) fn follows(bytes: &[u8]) -> Option<Link> {
    let (epoch, at) = bytes.split_at_checked(32)?;
    place(Epoch::new(hex(epoch)?), at).filter(|_| at.len() == 32)
}

/// A hint: the record that was appended, with what it follows, if it came along.
pub(super) fn hint(message: &[u8]) -> Option<(Link, Record)> {
    let (after, row) = message.split_at_checked(64)?;
    let after = follows(after)?;
    let (record, followed) = record(row, after)?;
    (followed == after.nonce).then_some((after, record))
}

fn intent(id: &[u8], value: &[u8]) -> Option<Intent> {
    let id = IntentId::new(u64::try_from(hex(id)?).ok()?);
    let (lasts_ms, targets) = value.split_at_checked(8)?;
    let lasts = Duration::from_millis(u64::from_be_bytes(lasts_ms.try_into().ok()?));
    Some(Intent { id, lasts, targets: Target::decode_many(targets).ok()?.into() })
}

/// For messages that name no place.
pub(super) const NOWHERE: Link = Link { epoch: Epoch::new(0), position: 0, nonce: 0 };

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn hex(text: &[u8]) -> Option<u128> {
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::{key, tag};

    const AFTER: Link = Link { epoch: Epoch::new(9), position: 4, nonce: 0xabc };

    fn row(nonce: u64, followed: u64, targets: &[Target]) -> Vec<u8> {
        let act = Act::Open { intent: IntentId::new(7), lasts: Duration::from_millis(1500) };
        let mut row = format!("{nonce:016x}{followed:016x}{:016}S", 7).into_bytes();
        row.extend(body(act, &Cause::from("é'\0"), &Target::encode_many(targets)));
        row
    }

    fn answer(position: u64, nonce: u64, rows: Vec<Vec<u8>>) -> Answer {
        let head = [b"ok".to_vec(), format!("{position:016}").into(), hex_nonce(nonce).into()];
        head.into_iter().chain(rows).collect()
    }

    #[test]
    fn records_come_back_as_written() {
        let targets = [Target::tag(tag!["n", 1]), Target::key("r", key![vec![0u8, 255]])];
        let page = page(&answer(5, 1, vec![row(1, 0xabc, &targets)]), AFTER).unwrap();
        let record = &page.records[0];
        assert_eq!(record.targets, targets);
        assert_eq!(record.cause.as_str(), "é'\0");
        assert_eq!(record.link, Link { position: 5, nonce: 1, ..AFTER });
        let lasts = Duration::from_millis(1500);
        assert_eq!(record.act, Act::Open { intent: IntentId::new(7), lasts });
    }

    #[test]
    fn a_hint_brings_its_record_or_nothing() {
        let follows = format!("{:032x}{:016}{:016x}", 9, 4, 0xabc);
        let mut message = follows.clone().into_bytes();
        message.extend(row(1, 0xabc, &[Target::everything()]));
        let (after, record) = hint(&message).unwrap();
        assert_eq!((after, record.link), (AFTER, Link { position: 5, nonce: 1, ..AFTER }));
        for end in 0..message.len() {
            assert_eq!(hint(&message[..end]), None, "{end}");
        }
        assert_eq!(hint(&[follows.as_bytes(), &row(1, 0xabd, &[Target::everything()])].concat()), None);
    }

    #[test]
    fn a_chain_that_does_not_hold_and_bytes_that_are_cut_are_divergence() {
        let one = [Target::everything()];
        let good = row(1, 0xabc, &one);
        let cases = [
            answer(5, 1, vec![row(1, 0xabd, &one)]),
            answer(6, 2, vec![good.clone(), row(2, 7, &one)]),
            answer(5, 2, vec![good.clone()]),
            answer(4, 1, vec![good.clone()]),
            answer(6, 2, vec![]),
            answer(4, 1, vec![]),
            vec![b"ok".to_vec()],
            answer(5, 1, vec![row(1, 0xabc, &[])]),
        ];
        for (n, case) in cases.iter().enumerate() {
            assert!(page(case, AFTER).unwrap_err().is_diverged(), "{n}");
        }
        for end in 0..good.len() {
            let cut = answer(5, 1, vec![good[..end].to_vec()]);
            assert!(page(&cut, AFTER).unwrap_err().is_diverged(), "{end}");
        }
        assert!(page(&answer(4, 0xabc, vec![]), AFTER).unwrap().records.is_empty());
    }
}
