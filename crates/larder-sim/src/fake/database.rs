//! The database: rows with versions, where a commit is durable before it is visible, and a replica that lags.
//!
//! May: abort, commit without saying so, hold a row for long, answer slowly or not at all, fail over to the replica with
//! or without the newest commits. Never: shows a version that is not committed, shows an older version after a newer one
//! on the same server, or lets two transactions write one row at once.

use crate::options::Options;
use crate::sched::{NodeId, Time};
use std::collections::BTreeMap;

/// A row's number; rows belong to tenants and groups by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId(pub(crate) u32);

/// How far a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its transaction runs, or is durable but not visible yet.
    Pending,
    Aborted,
    /// Visible to everybody since then.
    Visible(Time),
    /// It was visible, and a failover lost it then.
    Lost(Time),
}

/// One version of a row.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) state: State,
    /// The row does not exist in this version.
    pub(crate) gone: bool,
    /// Part of the value, and a tag of whoever caches it.
    pub(crate) owner: u8,
    /// When the write, its invalidation included, had been acknowledged to the application.
    pub(crate) safe_at: Option<Time>,
    /// Its record was committed with it.
    pub(crate) by_outbox: bool,
}

pub(crate) struct Row {
    /// By number: the first is 0, and there from the beginning.
    pub(crate) versions: Vec<Version>,
    /// What the primary shows.
    pub(crate) current: u64,
    pub(crate) is_locked: bool,
}

pub(crate) struct Database {
    pub(crate) rows: Vec<Row>,
    /// The replica shows what was visible then.
    pub(crate) replica_at: Time,
    /// When the newest commit became visible: what a replica must have replayed.
    pub(crate) newest_commit: Time,
    /// How often the primary has been replaced.
    pub(crate) timeline: u64,
    /// Loads at the database now, and the most there have been, of each life of each node.
    pub(crate) loading: BTreeMap<(NodeId, u32), (u64, u64)>,
    pub(crate) reads: u64,
    pub(crate) commits: u64,
    tenants: u32,
    group: u32,
    guarded_every: u32,
}

impl Database {
    pub(crate) fn new(options: &Options) -> Self {
        let row = |_| Row {
            versions: vec![Version {
                state: State::Visible(0),
                gone: false,
                owner: 0,
                safe_at: Some(0),
                by_outbox: true,
            }],
            current: 0,
            is_locked: false,
        };
        Database {
            rows: (0..options.rows).map(row).collect(),
            replica_at: 0,
            newest_commit: 0,
            timeline: 0,
            loading: BTreeMap::new(),
            reads: 0,
            commits: 0,
            tenants: options.tenants,
            group: options.group,
            guarded_every: options.guarded_every,
        }
    }

    pub(crate) fn row(&self, id: RowId) -> &Row {
        &self.rows[id.0 as usize]
    }

    pub(crate) fn row_mut(&mut self, id: RowId) -> &mut Row {
        &mut self.rows[id.0 as usize]
    }

    pub(crate) fn tenant_of(&self, id: RowId) -> u32 {
        id.0 % self.tenants
    }

    pub(crate) fn group_of(&self, id: RowId) -> u32 {
        id.0 / self.tenants / self.group
    }

    /// Whether the row is only ever written under guards.
    pub(crate) fn is_guarded(&self, id: RowId) -> bool {
        self.guarded_every > 0 && id.0.is_multiple_of(self.guarded_every)
    }

    /// The rows of the same tenant and group.
    pub(crate) fn siblings(&self, id: RowId) -> Vec<RowId> {
        let all = (0..self.rows.len() as u32).map(RowId);
        let (tenant, group) = (self.tenant_of(id), self.group_of(id));
        all.filter(|other| self.tenant_of(*other) == tenant && self.group_of(*other) == group).collect()
    }

    /// Whether a version has been committed, and not been lost.
    pub(crate) fn is_visible(&self, id: RowId, n: u64) -> bool {
        matches!(self.row(id).versions[n as usize].state, State::Visible(_))
    }

    /// What the primary shows.
    pub(crate) fn primary(&self, id: RowId) -> u64 {
        self.row(id).current
    }

    /// What the replica shows.
    pub(crate) fn replica(&self, id: RowId) -> u64 {
        let row = self.row(id);
        let shown = |n: &u64| match row.versions[*n as usize].state {
            State::Visible(at) => at <= self.replica_at,
            _ => false,
        };
        (0..=row.current).rev().find(shown).unwrap_or(0)
    }

    /// A new version of a row, on its way.
    pub(crate) fn begin_version(&mut self, id: RowId, gone: bool, owner: u8) -> u64 {
        let row = self.row_mut(id);
        row.versions.push(Version { state: State::Pending, gone, owner, safe_at: None, by_outbox: false });
        row.versions.len() as u64 - 1
    }

    pub(crate) fn show(&mut self, id: RowId, n: u64, now: Time) {
        let row = self.row_mut(id);
        row.versions[n as usize].state = State::Visible(now);
        row.current = n;
        self.newest_commit = now;
    }

    /// The primary is gone; the replica takes its place. Whatever it has not replayed by `kept_until` is lost; how many
    /// commits that were.
    pub(crate) fn fail_over(&mut self, kept_until: Time, now: Time) -> usize {
        self.timeline += 1;
        let mut lost = 0;
        for row in &mut self.rows {
            row.is_locked = false;
            for version in &mut row.versions {
                match version.state {
                    State::Visible(at) if at > kept_until => {
                        version.state = State::Lost(now);
                        lost += 1;
                    }
                    State::Pending => version.state = State::Aborted,
                    _ => {}
                }
            }
            let visible = |n: &u64| matches!(row.versions[*n as usize].state, State::Visible(_));
            row.current = (0..row.versions.len() as u64).rev().find(visible).unwrap_or(0);
        }
        lost
    }
}
