//! Writing to the database: one transaction on one row, from its lock to its acknowledgement.

use super::{RowId, Seen, State};
use crate::fault::Fault;
use crate::sched::{MS, NodeId, NodeRuntime, Time};
use crate::world::{Service, World};
use larder_core::port::Hint;
use larder_core::{Cause, Target};

/// Why a write was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Nothing happened.
    Aborted,
    /// Nobody knows what happened.
    Unknown,
}

/// An open transaction. Dropped before its commit it aborts.
pub(crate) struct Transaction {
    world: World,
    rt: NodeRuntime,
    pub(crate) row: RowId,
    pub(crate) version: u64,
    /// The version it replaces, its owner, and whether naming that owner is enough: whatever is older is dead already,
    /// and whoever cached this version knows the owner.
    pub(crate) replaces: (u64, u8, bool),
    timeline: u64,
    is_open: bool,
}

impl Transaction {
    /// Locks a row and writes a new version into it.
    pub(crate) async fn begin(world: &World, rt: &NodeRuntime, row: RowId) -> Result<Self, Failed> {
        world.travel(rt, Service::Database).await.map_err(|_| Failed::Aborted)?;
        for _ in 0..200 {
            if let Some(open) = Self::try_begin(world, rt, row) {
                if world.strikes(Fault::DbLongTransaction, 0.02) {
                    world.sim().delay(100 * MS, 2000 * MS).await;
                }
                return Ok(open);
            }
            world.sim().delay(MS, 10 * MS).await;
        }
        Err(Failed::Aborted)
    }

    fn try_begin(world: &World, rt: &NodeRuntime, row: RowId) -> Option<Self> {
        let (gone, owner) = world.sim().draw(|rng| (rng.f64() < 0.05, rng.u8(..4)));
        let mut database = world.database();
        if database.row(row).is_locked {
            return None;
        }
        database.row_mut(row).is_locked = true;
        let old = database.primary(row);
        let replaced = &database.row(row).versions[old as usize];
        // Who finds nothing cannot know whose it was.
        let replaces = (old, replaced.owner, replaced.safe_at.is_some() && !replaced.gone);
        let version = database.begin_version(row, gone, owner);
        let timeline = database.timeline;
        drop(database);
        world.note(rt.node, || format!("begins row {} version {version}", row.0));
        let (world, rt) = (world.clone(), rt.clone());
        Some(Transaction { world, rt, row, version, replaces, timeline, is_open: true })
    }

    /// What a reader inside of the transaction sees.
    pub(crate) fn sight(&self) -> Seen {
        let database = self.world.database();
        let owner = database.row(self.row).versions[self.version as usize].owner;
        Seen { tenant: database.tenant_of(self.row), row: self.row.0, version: self.version, owner }
    }

    /// Commits, with a record for the journal in the same transaction if targets are given.
    pub(crate) async fn commit(self, record: Option<(Vec<Target>, Cause)>) -> Result<(), Failed> {
        self.commit_until(record, Time::MAX).await
    }

    /// [`Transaction::commit`] that the database refuses when it comes later than that: the transaction's own timeout.
    pub(crate) async fn commit_until(
        mut self,
        record: Option<(Vec<Target>, Cause)>,
        until: Time,
    ) -> Result<(), Failed> {
        let world = self.world.clone();
        if world.strikes(Fault::DbAbort, 0.1) {
            return Err(Failed::Aborted);
        }
        world.travel(&self.rt, Service::Database).await.map_err(|_| Failed::Aborted)?;
        if self.timeline != world.database().timeline || world.sim().now() > until {
            return Err(Failed::Aborted);
        }
        world.database().row_mut(self.row).versions[self.version as usize].by_outbox = record.is_some();
        // Durable from here on, whatever becomes of the node; visible a moment later.
        self.is_open = false;
        let outbox = record.map(|(targets, cause)| world.authority().outbox_durable(targets, cause));
        let (row, version, timeline) = (self.row, self.version, self.timeline);
        let finishing = world.clone();
        let shown = std::sync::Arc::new(tokio::sync::Notify::new());
        let when_shown = shown.clone();
        world.sim().spawn_world(async move {
            let lags = finishing.strikes(Fault::DbCommitLag, 0.2);
            let most = if lags { 400 * MS } else { MS / 10 };
            finishing.sim().delay(1000, most).await;
            let now = finishing.sim().now();
            let mut database = finishing.database();
            if database.timeline == timeline {
                database.show(row, version, now);
                database.row_mut(row).is_locked = false;
                database.commits += 1;
                drop(database);
                if let Some(outbox) = outbox {
                    finishing.authority().outbox_visible(outbox, now);
                    finishing.hint_all(NodeId::WORLD, &Hint::Look);
                }
            }
            shown.notify_one();
        });
        when_shown.notified().await;
        let is_lost = self.timeline != world.database().timeline;
        if is_lost || world.strikes(Fault::DbUnknownResult, 0.05) {
            return Err(Failed::Unknown);
        }
        world.travel(&self.rt, Service::Database).await.map_err(|_| Failed::Unknown)?;
        if self.timeline != world.database().timeline {
            return Err(Failed::Unknown);
        }
        world.note(self.rt.node, || format!("row {} version {version} committed", row.0));
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let mut database = self.world.database();
        if database.timeline == self.timeline {
            let row = database.row_mut(self.row);
            row.is_locked = false;
            row.versions[self.version as usize].state = State::Aborted;
        }
    }
}
