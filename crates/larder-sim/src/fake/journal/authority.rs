//! The journal itself: what its server holds, and what becomes of servers. Two of them while it is split.

use super::log::Log;
use super::outbox::Outbox;
use crate::sched::{NodeId as Place, Sim, Time};
use larder_core::port::{History, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Link, NodeId, Record, Target};
use std::collections::BTreeMap;

/// Dumps that may be restored.
const DUMPS_MAX: usize = 3;

pub(crate) struct Authority {
    log: Log,
    /// While it is split: what the other server holds, and which nodes talk to that one.
    other: Option<(Log, Nodes)>,
    dumps: Vec<Log>,
    retention: usize,
    pub(super) outbox: Outbox,
    pub(crate) is_sequencing: bool,
    pub(crate) appended: u64,
    /// How often it was read.
    pub(crate) pages: u64,
    /// What each node has applied, as far as it has said.
    applied: BTreeMap<Place, Link>,
    /// The histories that each node has left, for they had lost something it knew.
    left: BTreeMap<Place, Vec<Epoch>>,
    /// When each node last found that the place it stood at had been dropped: nobody could tell it what became of it.
    lost_track: BTreeMap<Place, Time>,
    /// When each record was appended, by its nonce, and to which epoch, wherever it is now.
    appended_at: BTreeMap<u64, (Time, Epoch)>,
}

/// Some nodes, by the bits of their numbers.
pub(crate) type Nodes = u64;

/// The bit of a node.
pub(crate) fn bit(node: Place) -> Nodes {
    1 << (node.index() % 64)
}

/// What the servers held, to be compared with what they hold now.
pub(crate) struct Before {
    sides: Vec<(Log, Nodes)>,
    applied: BTreeMap<Place, Link>,
}

impl Before {
    /// Who had applied this record by then, and has said so.
    pub(crate) fn knew(&self, nonce: u64) -> Nodes {
        let knew = |(log, nodes): &(Log, Nodes)| {
            let here = self.applied.iter().filter(|(node, _)| bit(**node) & nodes != 0);
            here.filter(|(_, applied)| log.knows(**applied, nonce)).fold(0, |all, (node, _)| all | bit(*node))
        };
        self.sides.iter().map(knew).fold(0, |all, some| all | some)
    }
}

impl Authority {
    pub(crate) fn new(epoch: u128) -> Self {
        Authority {
            log: Log::new(epoch),
            other: None,
            dumps: Vec::new(),
            retention: usize::MAX,
            outbox: Outbox::default(),
            is_sequencing: false,
            appended: 0,
            pages: 0,
            applied: BTreeMap::new(),
            left: BTreeMap::new(),
            lost_track: BTreeMap::new(),
            appended_at: BTreeMap::new(),
        }
    }

    pub(crate) fn retain(&mut self, records: u64) {
        self.retention = usize::try_from(records.max(1)).unwrap_or(usize::MAX);
    }

    /// The server that a node talks to.
    fn at(&mut self, node: Place) -> &mut Log {
        match &mut self.other {
            Some((log, nodes)) if *nodes & bit(node) != 0 => log,
            _ => &mut self.log,
        }
    }

    /// Whether two nodes talk to the same server.
    pub(crate) fn are_together(&self, one: Place, other: Place) -> bool {
        self.other.as_ref().is_none_or(|(_, nodes)| (nodes & bit(one) == 0) == (nodes & bit(other) == 0))
    }

    pub(crate) fn head(&self) -> Link {
        self.log.head()
    }

    pub(super) fn history(&mut self, node: Place) -> History {
        // It takes up another, and forgets what it knew of the one before.
        self.applied.remove(&node);
        self.at(node).history()
    }

    pub(super) fn page(&mut self, node: Place, after: Link, limit: usize) -> Result<Page, JournalError> {
        self.pages += 1;
        self.applied.insert(node, after);
        self.at(node).page(after, limit)
    }

    /// A node was told that the place it stands at has been dropped.
    pub(super) fn lose_track(&mut self, node: Place, now: Time) {
        self.lost_track.insert(node, now);
    }

    pub(super) fn attend(&mut self, at: Place, node: NodeId, applied: Link, lasts: Time, now: Time) {
        self.applied.insert(at, applied);
        self.at(at).attend(node, applied, lasts, now);
    }

    pub(super) fn attendance(&mut self, node: Place, now: Time) -> Attendance {
        self.at(node).attendance(now)
    }

    /// What it follows, and the record.
    pub(super) fn append(
        &mut self,
        node: Place,
        act: Act,
        targets: Vec<Target>,
        cause: Cause,
        sim: &Sim,
    ) -> (Link, Record) {
        let retention = self.retention;
        let log = self.at(node);
        let after = log.head();
        let record = log.append(act, targets, cause, sim);
        log.keep(retention);
        self.appended += 1;
        self.appended_at.insert(record.link.nonce, (sim.now(), record.link.epoch));
        (after, record)
    }

    /// A record by the application's recovery, from outside of the cluster.
    pub(crate) fn append_repair(&mut self, targets: Vec<Target>, sim: &Sim) {
        self.append(Place::WORLD, Act::Invalidate, targets, Cause::new("repair"), sim);
    }

    /// Forgets all but the newest records; how many it forgot.
    pub(crate) fn keep(&mut self, records: usize) -> usize {
        let other = self.other.as_mut().map_or(0, |(log, _)| log.keep(records));
        self.log.keep(records) + other
    }

    /// Begins another history, unless somebody has already.
    pub(super) fn roll(&mut self, node: Place, seen: Epoch, sim: &Sim) -> bool {
        self.left.entry(node).or_default().push(seen);
        let log = self.at(node);
        let is_current = log.head().epoch == seen;
        if is_current {
            log.begin_epoch(sim);
        }
        is_current
    }

    /// The servers start anew and know nobody; how many they knew.
    pub(crate) fn forget_nodes(&mut self, now: Time) -> usize {
        let other = self.other.as_mut().map_or(0, |(log, _)| log.forget_nodes(now));
        self.log.forget_nodes(now) + other
    }

    /// A node's process is gone, and what it knew.
    pub(crate) fn forget(&mut self, node: Place) {
        self.applied.remove(&node);
        self.left.remove(&node);
        self.lost_track.remove(&node);
    }

    /// The newest records are gone, and their positions will be handed out again; how many there were.
    pub(crate) fn lose_tail(&mut self, records: usize) -> usize {
        self.log.lose_tail(records)
    }

    /// A replica takes the place of the server, in the same history: it had not heard of the newest records, nor of all
    /// who are there. How many records that were.
    pub(crate) fn promote(&mut self, records: usize, sim: &Sim) -> usize {
        self.log.change_hands(sim);
        self.lose_tail(records)
    }

    /// The server starts with nothing.
    pub(crate) fn empty(&mut self, sim: &Sim) {
        let epoch = sim.draw(|rng| rng.u128(..));
        self.log = Log::new(epoch);
        self.log.forget_nodes(sim.now());
        self.log.begin_epoch(sim);
    }

    /// A dump is made, which may be restored one day.
    pub(crate) fn dump(&mut self, sim: &Sim) {
        if self.dumps.len() >= DUMPS_MAX {
            let at = sim.draw(|rng| rng.usize(..DUMPS_MAX));
            self.dumps.swap_remove(at);
        }
        self.dumps.push(self.log.clone());
    }

    /// The server is restored from one of its dumps; false if there is none.
    pub(crate) fn restore(&mut self, sim: &Sim) -> bool {
        if self.dumps.is_empty() {
            return false;
        }
        let at = sim.draw(|rng| rng.usize(..self.dumps.len()));
        self.log = self.dumps[at].clone();
        self.log.change_hands(sim);
        true
    }

    /// A replica takes itself for the master too: from now on these nodes talk to that one.
    pub(crate) fn split(&mut self, nodes: Nodes, sim: &Sim) {
        let mut log = self.log.clone();
        log.change_hands(sim);
        self.other = Some((log, nodes));
    }

    /// One of the two is told that it is a replica: what it had taken is gone. Which nodes had talked to that one.
    pub(crate) fn heal(&mut self, other_wins: bool) -> Nodes {
        match self.other.take() {
            None => 0,
            Some((log, nodes)) if other_wins => {
                self.log = log;
                !nodes
            }
            Some((_, nodes)) => nodes,
        }
    }

    /// What the servers hold now.
    pub(crate) fn before(&self) -> Before {
        let (other, apart) = match &self.other {
            Some((log, nodes)) => (Some((log.clone(), *nodes)), *nodes),
            None => (None, 0),
        };
        let sides = [(self.log.clone(), !apart)].into_iter().chain(other).collect();
        Before { sides, applied: self.applied.clone() }
    }

    /// The nodes whose server knows nothing of this record.
    pub(crate) fn uncovered(&self, nonce: u64, appended: Time) -> Nodes {
        let of = |log: &Log, nodes: Nodes| if log.covers(nonce, appended) { 0 } else { nodes };
        match &self.other {
            Some((other, nodes)) => of(&self.log, !nodes) | of(other, *nodes),
            None => of(&self.log, Nodes::MAX),
        }
    }

    /// The nodes whose server knew nothing of this record until it began anew, and when that was.
    pub(crate) fn missed(&self, nonce: u64, appended: Time) -> Vec<(Nodes, Time)> {
        let apart = self.other.as_ref().map_or(0, |(_, nodes)| *nodes);
        let other = self.other.as_ref().map(|(log, nodes)| (log, *nodes));
        let sides = [(&self.log, !apart)].into_iter().chain(other);
        sides.filter_map(|(log, nodes)| Some((nodes, log.missed_until(nonce, appended)?))).collect()
    }

    /// When a record was appended.
    pub(crate) fn appended_at(&self, nonce: u64) -> Option<Time> {
        self.appended_at.get(&nonce).map(|(at, _)| *at)
    }

    /// The nodes that notice that this record is missing, should they know of it: those who find another record in its
    /// place, or the end of the same history; and those who find a history they have left. Who finds one that he has
    /// never seen cannot tell whether it began before or after, nor can who finds that the place has been dropped.
    pub(crate) fn would_notice(&self, nonce: u64) -> Nodes {
        let Some((at, epoch)) = self.appended_at.get(&nonce) else { return 0 };
        let of = |log: &Log| {
            if log.covers(nonce, *at) {
                return 0;
            }
            if log.head().epoch == *epoch {
                let lost_track = self.lost_track.iter().filter(|(_, then)| at < *then);
                return lost_track.fold(Nodes::MAX, |all, (node, _)| all & !bit(*node));
            }
            let has_left = self.left.iter().filter(|(_, left)| left.contains(&log.head().epoch));
            has_left.fold(0, |all, (node, _)| all | bit(*node))
        };
        of(&self.log) | self.other.as_ref().map_or(0, |(log, _)| of(log))
    }

    /// The database failed over: what became visible after `kept_until` is lost, the outbox with it. Whether the history
    /// is another one from here on is up to who knows whether anything was lost.
    pub(crate) fn fail_over(&mut self, kept_until: Time, begins_anew: bool, sim: &Sim) -> usize {
        self.outbox.fail_over(kept_until);
        self.is_sequencing = false;
        self.log.forget_nodes(sim.now());
        if begins_anew {
            self.log.begin_epoch(sim);
            return 0;
        }
        self.log.lose_since(kept_until)
    }

    pub(crate) fn outbox_durable(&mut self, targets: Vec<Target>, cause: Cause) -> u64 {
        self.outbox.add(targets, cause)
    }

    pub(crate) fn outbox_visible(&mut self, id: u64, now: Time) {
        self.outbox.show(id, now);
    }

    /// The sequencer's lock, if nobody has it.
    pub(crate) fn take_turn(&mut self) -> bool {
        !std::mem::replace(&mut self.is_sequencing, true)
    }

    pub(crate) fn outbox_is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(crate) fn outbox_snapshot(&self) -> Vec<u64> {
        self.outbox.visible()
    }

    /// Moves these outbox rows into the journal, in their order; how many were still there.
    pub(crate) fn sequence(&mut self, ids: &[u64], sim: &Sim) -> usize {
        let taken = self.outbox.take(ids);
        let moved = taken.len();
        for (targets, cause) in taken {
            self.append(Place::WORLD, Act::Invalidate, targets, cause, sim);
        }
        moved
    }
}
