//! The oracle: what a read may return, worked out from what had been acknowledged before it began.
//!
//! It knows the true time of everything and the whole history of every row. It never looks into a cache. Beside mistakes
//! it counts what a run has seen, since a run in which nothing was cached or nothing was stale proves nothing.

mod levels;
mod losses;

use crate::fake::{Database, RowId, Seen, State};
use crate::options::{Options, REPLICA_LAG_MAX};
use crate::sched::{MS, NodeId, Time};
use larder::{Freshness, Source};
use levels::{Least, Levels};
use losses::Losses;
pub(crate) use losses::Recorded;
use serde::Serialize;
use std::collections::BTreeMap;

/// The regions of the simulated application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Region {
    Bounded,
    Eventual,
    /// Bounded, with stale-while-revalidate, refresh-ahead and the fail-safe.
    Safe,
    /// Built from entries of `Bounded`.
    Sums,
    /// Loaded from a replica that lags.
    Lagging,
}

impl Region {
    /// Whether guards and waits reach it.
    pub(crate) fn is_strong(self) -> bool {
        !matches!(self, Region::Eventual | Region::Lagging)
    }
}

/// One answer about one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) node: NodeId,
    pub(crate) region: Region,
    pub(crate) row: RowId,
    pub(crate) begun: Time,
    pub(crate) ended: Time,
    /// `None`: the row does not exist.
    pub(crate) seen: Option<Seen>,
    /// Unknown when absent: absence says nothing about itself.
    pub(crate) source: Option<Source>,
    pub(crate) freshness: Freshness,
    /// What the session it belongs to has seen already.
    pub(crate) session: Option<u64>,
}

impl Answer {
    /// Served because the origin failed or is slow, and said so: no level binds it.
    fn is_fallback(&self) -> bool {
        matches!(self.freshness, Freshness::OriginFailed | Freshness::OriginSlow)
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Violation {
    /// Which promise.
    pub(crate) promise: &'static str,
    /// When, in seconds.
    pub(crate) at: f64,
    pub(crate) node: String,
    pub(crate) row: Option<u32>,
    pub(crate) what: String,
}

/// What was seen in a run, beside mistakes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Witnessed {
    pub(crate) reads: u64,
    pub(crate) failed_reads: u64,
    pub(crate) writes: u64,
    pub(crate) failed_writes: u64,
    pub(crate) memory_hits: u64,
    pub(crate) store_hits: u64,
    pub(crate) loads: u64,
    pub(crate) followed: u64,
    pub(crate) absent: u64,
    pub(crate) revalidating: u64,
    pub(crate) fallbacks: u64,
    /// Reads that returned less than the newest acknowledged version, within their level.
    pub(crate) stale_within_bound: u64,
    /// Reads that returned less than their level asks for, but for a record that the journal had lost.
    pub(crate) excused: u64,
    /// How old, for each such read: counts by power of two of milliseconds.
    pub(crate) staleness_ms: BTreeMap<u64, u64>,
    /// Nodes that joined at the end and were asked for everything.
    pub(crate) warm_starts: u64,
}

impl Violation {
    /// One that was seen from outside of the simulated world.
    pub(crate) fn outside(promise: &'static str, what: String) -> Self {
        Violation { promise, at: 0.0, node: NodeId::WORLD.to_string(), row: None, what }
    }
}

pub(crate) struct Oracle {
    levels: Levels,
    losses: Losses,
    looked: Vec<NodeId>,
    violations: Vec<Violation>,
    pub(crate) witnessed: Witnessed,
    /// Of all answers, in their order.
    fingerprint: u64,
}

impl Oracle {
    pub(crate) fn new(options: &Options) -> Self {
        Oracle {
            levels: Levels::new(options.bound_ns(), REPLICA_LAG_MAX, options.rows as usize),
            losses: Losses::default(),
            looked: Vec::new(),
            violations: Vec::new(),
            witnessed: Witnessed::default(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// A write was acknowledged, its invalidation included.
    pub(crate) fn acknowledged(&mut self, database: &mut Database, row: RowId, n: u64, now: Time) {
        let version = &mut database.row_mut(row).versions[n as usize];
        if !matches!(version.state, State::Visible(_)) || version.safe_at.is_some() {
            return;
        }
        version.safe_at = Some(now);
        self.levels.safe[row.0 as usize].add(now, n);
    }

    /// A node has announced an invalidation, recorded or queued: its own reads see the write from here on.
    pub(crate) fn announced(&mut self, database: &Database, node: NodeId, row: RowId, n: u64, now: Time) {
        // Lost in a failover before it was announced: there is nothing to see.
        if matches!(database.row(row).versions[n as usize].state, State::Visible(_)) {
            self.levels.announced(node, row, n, now);
        }
    }

    /// A node died, and what it had fenced with it.
    pub(crate) fn forget_own(&mut self, node: NodeId) {
        self.levels.forget_own(node);
        self.losses.forget(node);
    }

    /// Versions were lost.
    pub(crate) fn failed_over(&mut self, database: &Database) {
        self.levels.failed_over(database);
    }

    /// Everything is well and repaired: from here on, what the primary shows is what must be served, at every level.
    pub(crate) fn settle(&mut self, database: &Database, now: Time) {
        if self.levels.settle(database, now) {
            self.expect_losses_noticed(now);
        }
    }

    pub(crate) fn has_violations(&self) -> bool {
        !self.violations.is_empty()
    }

    /// A node has served the newest of everything, or was blamed for not doing so.
    pub(crate) fn looked_last(&mut self, node: NodeId) {
        self.looked.push(node);
    }

    /// The nodes that came to their last look.
    pub(crate) fn looked(&self) -> &[NodeId] {
        &self.looked
    }

    /// Judges one answer.
    pub(crate) fn judge(&mut self, database: &Database, answer: &Answer) {
        self.count(answer);
        self.stamp(answer);
        let versions = &database.row(answer.row).versions;
        let least = self.levels.least(answer, &self.losses);
        match answer.seen {
            Some(seen) => {
                if seen.row != answer.row.0 || seen.tenant != database.tenant_of(answer.row) {
                    return self.blame("the key asked for", answer, format!("got {seen:?}"));
                }
                let Some(version) = versions.get(seen.version as usize) else {
                    return self.blame("no invented value", answer, format!("version {}", seen.version));
                };
                if let Some((promise, what)) = self.unfit(answer, version.state, seen.version) {
                    return self.blame(promise, answer, what);
                }
                self.compare(answer, seen.version, least);
                if database.is_guarded(answer.row) && !answer.is_fallback() && answer.region.is_strong() {
                    self.levels.shown(answer.row, seen.version, answer.ended);
                }
            }
            None => {
                let newest = versions.len() as u64;
                let from = least.map_or(0, |(_, _, n)| n);
                let ok = (from..newest).any(|n| {
                    let version = &versions[n as usize];
                    version.gone && self.unfit(answer, version.state, n).is_none()
                });
                if !ok {
                    self.blame(
                        "no invented absence",
                        answer,
                        format!("absent; existed since version {from}"),
                    );
                }
            }
        }
    }

    /// Why this version must not be seen by this read at all.
    fn unfit(&self, answer: &Answer, state: State, n: u64) -> Option<(&'static str, String)> {
        match state {
            State::Visible(at) if at <= answer.ended => None,
            State::Visible(at) => Some((
                "no future value",
                format!("version {n}, visible {} ms later", (at - answer.ended) / MS),
            )),
            State::Pending => Some(("no uncommitted value", format!("version {n}"))),
            State::Aborted => Some(("no aborted value", format!("version {n}"))),
            State::Lost(at) => {
                let is_bounded = answer.region != Region::Eventual && !answer.is_fallback();
                let is_old = at + self.levels.lost_after(answer.region) < answer.begun && is_bounded;
                is_old.then(|| {
                    ("no lost value", format!("version {n}, lost {} ms before", (answer.begun - at) / MS))
                })
            }
        }
    }

    fn compare(&mut self, answer: &Answer, n: u64, least: Option<Least>) {
        if let Some((promise, since, least)) = least
            && n < least
        {
            let late = (answer.begun - since) / MS;
            return self.blame(
                promise,
                answer,
                format!("version {n}; {least} was acknowledged {late} ms before"),
            );
        }
        let none = Losses::default();
        if self.losses.is_any() && self.levels.least(answer, &none).is_some_and(|(_, _, least)| n < least) {
            self.witnessed.excused += 1;
        }
        let safe = &self.levels.safe[answer.row.0 as usize];
        if let Some(since) = safe.overtaken(n).filter(|since| *since <= answer.begun) {
            let age_ms = (answer.begun - since) / MS;
            self.witnessed.stale_within_bound += 1;
            *self.witnessed.staleness_ms.entry(age_ms.next_power_of_two()).or_default() += 1;
        }
    }

    /// Two runs that differ in one answer, or in when it came, differ in this.
    fn stamp(&mut self, answer: &Answer) {
        let seen = answer.seen.map_or(u64::MAX, |seen| seen.version);
        let from = match answer.source {
            None => 0,
            Some(Source::Memory) => 1,
            Some(Source::Loader) => 2,
            Some(Source::Flight) => 3,
            Some(Source::Store(n)) => 4 + u64::from(n),
        };
        let row = u64::from(answer.row.0) << 32 | answer.node.index() as u64;
        for part in
            [row, answer.region as u64, answer.begun, answer.ended, seen, from, answer.freshness as u64]
        {
            self.fingerprint = (self.fingerprint ^ part).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    /// Of everything it has judged.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn count(&mut self, answer: &Answer) {
        let witnessed = &mut self.witnessed;
        witnessed.reads += 1;
        match answer.source {
            Some(Source::Memory) => witnessed.memory_hits += 1,
            Some(Source::Store(_)) => witnessed.store_hits += 1,
            Some(Source::Loader) => witnessed.loads += 1,
            Some(Source::Flight) => witnessed.followed += 1,
            None => witnessed.absent += 1,
        }
        match answer.freshness {
            Freshness::Fresh => {}
            Freshness::Revalidating => witnessed.revalidating += 1,
            Freshness::OriginFailed | Freshness::OriginSlow => witnessed.fallbacks += 1,
        }
    }

    fn blame(&mut self, promise: &'static str, answer: &Answer, what: String) {
        let what = format!("{what} ({:?}, {:?}, {:?})", answer.region, answer.source, answer.freshness);
        self.violation(promise, answer.ended, answer.node, Some(answer.row), what);
    }

    /// What it has to say, at the end.
    pub(crate) fn take(&mut self) -> (Vec<Violation>, Witnessed) {
        (std::mem::take(&mut self.violations), std::mem::take(&mut self.witnessed))
    }

    pub(crate) fn violation(
        &mut self,
        promise: &'static str,
        at: Time,
        node: NodeId,
        row: Option<RowId>,
        what: String,
    ) {
        let at = (at.saturating_sub(crate::sched::SECOND)) as f64 / 1e9;
        let row = row.map(|row| row.0);
        self.violations.push(Violation { promise, at, node: node.to_string(), row, what });
    }
}
