//! What a journal on Redis does not promise: that a record it acknowledged binds those who ask a server that does not
//! have it.
//!
//! A record may be missing from a server: a failover lost it, an old dump does not have it, another master never heard
//! of it. While it is missing, and until leases that rest on that server's answers have lapsed after it is not any
//! more, the write it was of does not bind the nodes that talk to that server; save those that have applied it, which it
//! binds for good. It is not missing any more once the server's history has begun anew: that makes everything from
//! before a miss. Whether it begins anew is up to whoever knew of the record: if anybody who did finds his history there
//! without it, or one that he has left, it must. A node that finds the place where it stood dropped has no way to tell.

use super::Oracle;
use crate::fake::{Nodes, RowId, bit};
use crate::sched::{NodeId, SECOND, Time};
use std::collections::BTreeMap;

/// The records of acknowledged writes, where there is a journal that may lose some.
#[derive(Default)]
pub(super) struct Losses {
    records: BTreeMap<(RowId, u64), Record>,
    /// Whether any was ever missing.
    is_any: bool,
    /// Nodes that talked to a server which had to give up, and when it did.
    apart: Vec<(Nodes, Time)>,
}

/// The record that a write is acknowledged with, as the journal's servers have it at that moment.
pub(crate) struct Recorded {
    pub(crate) nonce: u64,
    pub(crate) appended: Time,
    pub(crate) missing_at: Nodes,
    /// Where it was missing before, since it was appended and until when.
    pub(crate) missed: Vec<(Nodes, Time)>,
    pub(crate) would_notice: Nodes,
}

/// The record that a write was acknowledged with.
struct Record {
    nonce: u64,
    appended: Time,
    /// Who had applied it, as far as is known, by when, and has lived since.
    known: Vec<(Nodes, Time)>,
    /// Who notices, if he knows of it, that it is missing where it is missing now.
    would_notice: Nodes,
    missing: Vec<Missing>,
}

/// Where it is missing: from the servers of these nodes, for so long.
#[derive(Clone, Copy)]
struct Missing {
    nodes: Nodes,
    since: Time,
    until: Time,
}

impl Record {
    /// Who has applied it, and had by then.
    fn known_by(&self, then: Time) -> Nodes {
        let by_then = self.known.iter().filter(|(_, noted)| *noted <= then);
        by_then.fold(0, |all, (nodes, _)| all | nodes)
    }
}

impl Losses {
    /// A write has been acknowledged with this record, by a node that knows it.
    pub(super) fn acknowledged(
        &mut self,
        (row, n): (RowId, u64),
        recorded: Recorded,
        node: NodeId,
        now: Time,
    ) {
        let Recorded { nonce, appended, missing_at, missed, would_notice } = recorded;
        let is_missing =
            (missing_at != 0).then_some(Missing { nodes: missing_at, since: now, until: Time::MAX });
        // An answer takes its time: meanwhile the other server of a split may have begun anew, without the record. Leases
        // that rest on what it said before that have not lapsed. The writer knows of his record all the same.
        let missed = missed.into_iter().map(|(nodes, until)| (nodes & !bit(node), until));
        let missed = missed.map(|(nodes, until)| Missing { nodes, since: appended, until });
        let missing: Vec<Missing> = is_missing.into_iter().chain(missed).collect();
        self.is_any |= !missing.is_empty();
        let record = Record { nonce, appended, known: vec![(bit(node), now)], would_notice, missing };
        self.records.insert((row, n), record);
    }

    pub(super) fn changed(
        &mut self,
        now: Time,
        missing_at: impl Fn(u64, Time) -> Nodes,
        knew: impl Fn(u64) -> Nodes,
        would_notice: impl Fn(u64) -> Nodes,
    ) {
        for record in self.records.values_mut() {
            let missing_at = missing_at(record.nonce, record.appended);
            let missed = record.missing.iter().filter(|missing| missing.until == Time::MAX);
            let missed = missed.fold(0, |all, missing| all | missing.nodes);
            let mut ended = Vec::new();
            for missing in record.missing.iter_mut().filter(|missing| missing.until == Time::MAX) {
                if missing.nodes & !missing_at != 0 {
                    ended.push(Missing { nodes: missing.nodes & !missing_at, until: now, ..*missing });
                    missing.nodes &= missing_at;
                }
            }
            record.missing.retain(|missing| missing.nodes != 0);
            record.missing.extend(ended);
            let begins = missing_at & !missed;
            if begins != 0 {
                self.is_any = true;
                record.known.push((knew(record.nonce), now));
                record.missing.push(Missing { nodes: begins, since: now, until: Time::MAX });
            }
            record.would_notice = if missing_at == 0 { 0 } else { would_notice(record.nonce) };
        }
    }

    /// Whether any record was ever missing.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// The server of these nodes gave up.
    pub(super) fn gave_up(&mut self, nodes: Nodes, now: Time) {
        self.apart.push((nodes, now));
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        if self.is_any {
            let known = self.records.values_mut().flat_map(|record| &mut record.known);
            known.for_each(|(nodes, _)| *nodes &= !bit(node));
        }
    }

    /// Whether this write does not bind a node's read from `begun` to `ended`, leases lasting no longer than `bound`.
    pub(super) fn excuse(
        &self,
        of: (RowId, u64),
        node: NodeId,
        begun: Time,
        ended: Time,
        bound: Time,
    ) -> bool {
        if !self.is_any {
            return false;
        }
        let Some(record) = self.records.get(&of) else { return false };
        // While it is missing nobody gets to know it: what a node knows of it later does not bind a read from before.
        record.missing.iter().any(|missing| {
            missing.nodes & bit(node) != 0
                && missing.since <= ended
                && begun <= missing.until.saturating_add(bound)
                && record.known_by(missing.since) & bit(node) == 0
        })
    }

    /// Whether a node's last lease may be of a server that gave up meanwhile: no wait of others was for that.
    pub(super) fn may_be_apart(&self, node: NodeId, begun: Time, bound: Time) -> bool {
        self.apart.iter().any(|(nodes, gave_up)| nodes & bit(node) != 0 && begun <= gave_up + bound)
    }

    /// Whether the record of this write is missing from the server of any of these nodes.
    pub(super) fn is_missing_at(&self, of: (RowId, u64), nodes: Nodes) -> bool {
        let is_missing = |missing: &Missing| missing.until == Time::MAX && missing.nodes & nodes != 0;
        self.is_any && self.records.get(&of).is_some_and(|record| record.missing.iter().any(is_missing))
    }

    /// A write whose record is missing although somebody who lives and should have noticed has known of it, since when,
    /// and who that is.
    fn unnoticed(&self) -> Option<(RowId, u64, Time, Nodes)> {
        self.records.iter().find_map(|((row, n), record)| {
            let since = record.missing.iter().find(|missing| missing.until == Time::MAX)?.since;
            let knew = record.known_by(Time::MAX) & record.would_notice;
            (knew != 0).then_some((*row, *n, since, knew))
        })
    }
}

impl Oracle {
    /// A write is acknowledged with this record of the journal.
    pub(crate) fn recorded(&mut self, of: (RowId, u64), record: Recorded, node: NodeId, now: Time) {
        self.losses.acknowledged(of, record, node, now);
    }

    /// Records are missing from servers that were there, or are not any more; who has known of one.
    pub(crate) fn journal_has_changed(
        &mut self,
        now: Time,
        missing_at: impl Fn(u64, Time) -> Nodes,
        knew: impl Fn(u64) -> Nodes,
        would_notice: impl Fn(u64) -> Nodes,
    ) {
        self.losses.changed(now, missing_at, knew, would_notice);
    }

    /// A split journal is one again: what these nodes talked to was told to give up.
    pub(crate) fn split_is_over(&mut self, gave_up: Nodes, now: Time) {
        self.losses.gave_up(gave_up, now);
    }

    /// Whether the record of this write is missing from any of the journal's servers.
    pub(crate) fn is_missing(&self, row: RowId, n: u64) -> bool {
        self.losses.is_missing_at((row, n), Nodes::MAX)
    }

    /// Whether it is missing from the one that this node talks to.
    pub(crate) fn is_missing_for(&self, node: NodeId, row: RowId, n: u64) -> bool {
        self.losses.is_missing_at((row, n), bit(node))
    }

    /// Whether this write does not bind a node's read, for its record is or was missing.
    pub(crate) fn excuses(&self, node: NodeId, row: RowId, n: u64, begun: Time, ended: Time) -> bool {
        self.losses.excuse((row, n), node, begun, ended, self.levels.bound)
    }

    /// All has been well for long: of a lost record that somebody knew of, somebody must have heard.
    pub(super) fn expect_losses_noticed(&mut self, now: Time) {
        if let Some((row, n, since, knew)) = self.losses.unnoticed() {
            let ago = (now - since) / SECOND;
            let what = format!("the record of version {n} was lost {ago} s ago; nodes {knew:#b} had it");
            self.violation(
                "a lost record that somebody knew of is noticed",
                now,
                NodeId::WORLD,
                Some(row),
                what,
            );
        }
    }
}
