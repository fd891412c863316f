//! What binds a read: for each level, the oldest version it may still return.

use super::losses::Losses;
use super::{Answer, Oracle, Region};
use crate::fake::{Database, RowId, State};
use crate::sched::{NodeId, Time};
use std::collections::BTreeMap;

/// Versions of one row, rising, each with a time from which on it binds.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(Vec<(Time, u64)>);

impl Steps {
    pub(super) fn add(&mut self, at: Time, n: u64) {
        if self.0.last().is_none_or(|(_, newest)| *newest < n) {
            self.0.push((at, n));
        }
    }

    /// The newest version that binds at a time.
    pub(super) fn at(&self, at: Time) -> Option<(Time, u64)> {
        // Added as time passes, so the times rise as the versions do.
        let later = self.0.partition_point(|(since, _)| *since <= at);
        later.checked_sub(1).map(|newest| self.0[newest])
    }

    /// The newest version that binds at a time, of those that are not excused.
    fn newest(&self, at: Time, is_excused: impl Fn(u64) -> bool) -> Option<(Time, u64)> {
        let later = self.0.partition_point(|(since, _)| *since <= at);
        self.0[..later].iter().rev().find(|(_, n)| !is_excused(*n)).copied()
    }

    /// Since when there has been a newer version than this.
    pub(super) fn overtaken(&self, n: u64) -> Option<Time> {
        self.0.get(self.0.partition_point(|(_, other)| *other <= n)).map(|(at, _)| *at)
    }

    fn retain(&mut self, keep: impl Fn(Time, u64) -> bool) {
        self.0.retain(|(at, n)| keep(*at, *n));
    }
}

/// Everything that binds reads.
pub(super) struct Levels {
    /// A read of the bounded level is bound by this to what was acknowledged so long before it began.
    pub(super) bound: Time,
    /// And one of a region that loads from a replica, by this.
    lagging: Time,
    /// For each row: acknowledged writes.
    pub(super) safe: Vec<Steps>,
    /// For each row: writes that waited for all nodes before they returned.
    everywhere: Vec<Steps>,
    /// For each row that is only written under guards: what reads have returned.
    shown: Vec<Steps>,
    /// For each row and node: what that node has announced itself.
    own: BTreeMap<(RowId, NodeId), (Time, u64)>,
    settled_at: Option<Time>,
}

/// The promise that binds a read, since when, and to which version at least.
pub(super) type Least = (&'static str, Time, u64);

impl Levels {
    pub(super) fn new(bound: Time, replica_lag: Time, rows: usize) -> Self {
        // Clocks may drift by 200 parts in a million.
        let drifting = |bound: Time| bound + bound / 2000 + 10_000;
        let mut safe = Steps::default();
        safe.add(0, 0);
        Levels {
            bound: drifting(bound),
            lagging: drifting(bound.max(replica_lag)),
            safe: vec![safe; rows],
            everywhere: vec![Steps::default(); rows],
            shown: vec![Steps::default(); rows],
            own: BTreeMap::new(),
            settled_at: None,
        }
    }

    /// How long after a failover a lost version may still be served.
    pub(super) fn lost_after(&self, region: Region) -> Time {
        if region == Region::Lagging { self.lagging } else { self.bound }
    }

    pub(super) fn announced(&mut self, node: NodeId, row: RowId, n: u64, now: Time) {
        let own = self.own.entry((row, node)).or_insert((now, n));
        if own.1 < n {
            *own = (now, n);
        }
    }

    pub(super) fn everywhere(&mut self, row: RowId, n: u64, now: Time) {
        self.everywhere[row.0 as usize].add(now, n);
    }

    pub(super) fn shown(&mut self, row: RowId, n: u64, ended: Time) {
        self.shown[row.0 as usize].add(ended, n);
    }

    pub(super) fn forget_own(&mut self, node: NodeId) {
        self.own.retain(|(_, of), _| *of != node);
    }

    /// A failover lost versions: they bind nobody any more.
    pub(super) fn failed_over(&mut self, database: &Database) {
        for (at, row) in database.rows.iter().enumerate() {
            let there = |_, n: u64| matches!(row.versions[n as usize].state, State::Visible(_));
            for steps in [&mut self.safe[at], &mut self.everywhere[at], &mut self.shown[at]] {
                steps.retain(there);
            }
        }
        self.own.clear();
    }

    /// From now on, what the primary shows binds every read at every level. Whether it did not before.
    pub(super) fn settle(&mut self, database: &Database, now: Time) -> bool {
        if self.settled_at.is_some() {
            return false;
        }
        self.settled_at = Some(now);
        self.own.clear();
        for (steps, row) in self.safe.iter_mut().zip(&database.rows) {
            // As if written long ago: no bound excuses less any more.
            steps.retain(|_, n| n < row.current);
            steps.add(now.saturating_sub(self.lagging), row.current);
        }
        true
    }

    pub(super) fn least(&self, answer: &Answer, losses: &Losses) -> Option<Least> {
        let (at, node) = (answer.row.0 as usize, answer.node);
        let is_settled = self.settled_at.is_some_and(|settled| settled <= answer.begun);
        let is_bounded = answer.region != Region::Eventual && !answer.is_fallback();
        let bound = if answer.region == Region::Lagging { self.lagging } else { self.bound };
        let is_excused =
            |n| !is_settled && losses.excuse((answer.row, n), node, answer.begun, answer.ended, bound);
        let own = self.own.get(&(answer.row, answer.node)).filter(|(at, _)| *at <= answer.begun);
        let own = own.filter(|_| answer.region != Region::Lagging);
        let own = own.map(|(at, n)| ("a node sees its own writes", *at, *n));
        let bounded = || self.safe[at].newest(answer.begun.saturating_sub(bound), is_excused);
        let bounded = (is_bounded || is_settled).then(bounded).flatten().map(|(at, n)| ("the bound", at, n));
        let is_strong = is_bounded && answer.region != Region::Lagging;
        let strong = |name, steps: &Steps| {
            is_strong.then(|| steps.newest(answer.begun, is_excused)).flatten().map(|(at, n)| (name, at, n))
        };
        let everywhere = strong("fresh after return", &self.everywhere[at]);
        let everywhere = everywhere.filter(|_| !losses.may_be_apart(node, answer.begun, bound));
        let shown = strong("linearizable", &self.shown[at]);
        let session = answer.session.filter(|_| is_strong).map(|n| ("the session", answer.begun, n));
        [own, bounded, everywhere, shown, session].into_iter().flatten().max_by_key(|(_, _, n)| *n)
    }
}

impl Oracle {
    /// A write returned after all nodes had been waited for: every read that begins from now on sees it.
    pub(crate) fn everywhere(&mut self, row: RowId, n: u64, now: Time) {
        self.levels.everywhere(row, n, now);
    }

    /// What a session's token stands for that is taken now, after this version of the row was seen.
    pub(crate) fn covered(&self, database: &Database, row: RowId, seen: u64, now: Time) -> u64 {
        let acknowledged = self.levels.safe[row.0 as usize].at(now).map_or(0, |(_, n)| n);
        // What is announced after its commit can be seen before its record exists, and no token can stand for that.
        let is_announced = database.row(row).versions[seen as usize].by_outbox;
        if is_announced { acknowledged.max(seen) } else { acknowledged }
    }
}
