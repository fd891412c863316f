//! The journal itself: one history, its records, and what happens to them.

use super::outbox::Outbox;
use crate::sched::{Sim, Time};
use larder_core::port::{History, JournalError, Page};
use larder_core::{
    Act, Attendance, Cause, Epoch, Intent, IntentId, Link, NodeId, Record, Target, seeded_bug,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(crate) struct Authority {
    oldest: Link,
    /// The intents open as of the oldest place; the records after it say what became of them, and of others.
    open_at_oldest: BTreeMap<IntentId, Intent>,
    records: VecDeque<(Time, Record)>,
    retention: usize,
    pub(super) outbox: Outbox,
    pub(crate) is_sequencing: bool,
    pub(crate) appended: u64,
    /// How often it was read.
    pub(crate) pages: u64,
    /// Who is there, how far they have come, and until when.
    present: BTreeMap<NodeId, (Link, Time)>,
    /// Since when nobody's presence was lost.
    whole_since: Time,
}

impl Authority {
    pub(crate) fn new(epoch: u128) -> Self {
        let oldest = Link { epoch: Epoch::new(epoch), position: 0, nonce: 0 };
        Authority {
            oldest,
            open_at_oldest: BTreeMap::new(),
            records: VecDeque::new(),
            retention: usize::MAX,
            outbox: Outbox::default(),
            is_sequencing: false,
            appended: 0,
            pages: 0,
            present: BTreeMap::new(),
            whole_since: 0,
        }
    }

    pub(crate) fn retain(&mut self, records: u64) {
        self.retention = usize::try_from(records.max(1)).unwrap_or(usize::MAX);
    }

    pub(crate) fn head(&self) -> Link {
        self.records.back().map_or(self.oldest, |(_, record)| record.link)
    }

    pub(super) fn history(&self) -> History {
        History { oldest: self.oldest, head: self.head(), open: self.open().into_values().collect() }
    }

    /// The intents open as of the head.
    pub(crate) fn open(&self) -> BTreeMap<IntentId, Intent> {
        let mut open = self.open_at_oldest.clone();
        self.records.iter().for_each(|(_, record)| note_intent(&mut open, record));
        open
    }

    pub(super) fn page(&mut self, after: Link, limit: usize) -> Result<Page, JournalError> {
        self.pages += 1;
        let head = self.head();
        if after.epoch != head.epoch {
            return Err(JournalError::diverged("another epoch"));
        }
        if after.position > head.position {
            return Err(JournalError::diverged("beyond the head"));
        }
        let Some(from) = after.position.checked_sub(self.oldest.position) else {
            // The mistake of a query that asks for positions above, whether or not those right above are still there.
            if seeded_bug!("gap_not_noticed") {
                return Ok(Page {
                    records: self.records.iter().map(|(_, record)| record.clone()).collect(),
                    head,
                });
            }
            return Err(JournalError::compacted("before the oldest record kept"));
        };
        let from = from as usize;
        let there = from.checked_sub(1).map_or(self.oldest, |at| self.records[at].1.link);
        if there != after && !seeded_bug!("nonce_not_compared") {
            return Err(JournalError::diverged("another record stands there"));
        }
        let records = self.records.iter().skip(from).take(limit).map(|(_, record)| record.clone()).collect();
        Ok(Page { records, head })
    }

    pub(super) fn attend(&mut self, node: NodeId, applied: Link, lasts: Time, now: Time) {
        if lasts == 0 {
            self.present.remove(&node);
        } else {
            self.present.insert(node, (applied, now + lasts));
        }
    }

    pub(super) fn attendance(&mut self, now: Time) -> Attendance {
        self.present.retain(|_, (_, until)| *until >= now);
        let nodes = self.present.iter().map(|(node, (applied, _))| (*node, *applied)).collect();
        Attendance { nodes, whole_for: Duration::from_nanos(now - self.whole_since) }
    }

    /// The server is another one, or has started anew: it knows nobody.
    pub(crate) fn forget_nodes(&mut self, now: Time) {
        self.present.clear();
        self.whole_since = now;
    }

    pub(super) fn append(&mut self, act: Act, targets: Vec<Target>, cause: Cause, sim: &Sim) -> Link {
        let nonce = sim.draw(|rng| rng.u64(1..));
        let head = self.head();
        let link = Link { position: head.position + 1, nonce, ..head };
        self.records.push_back((sim.now(), Record { link, act, targets, cause }));
        self.appended += 1;
        self.keep(self.retention);
        link
    }

    /// A record by the application's recovery, from outside of the cluster.
    pub(crate) fn append_repair(&mut self, targets: Vec<Target>, sim: &Sim) {
        self.append(Act::Invalidate, targets, Cause::new("repair"), sim);
    }

    /// Forgets all but the newest records.
    pub(crate) fn keep(&mut self, records: usize) {
        while self.records.len() > records {
            if let Some((_, dropped)) = self.records.pop_front() {
                self.oldest = dropped.link;
                note_intent(&mut self.open_at_oldest, &dropped);
            }
        }
    }

    /// Begins another history, unless somebody has already.
    pub(super) fn roll(&mut self, seen: Epoch, sim: &Sim) -> bool {
        let is_current = self.head().epoch == seen;
        if is_current {
            self.begin_epoch(sim);
        }
        is_current
    }

    /// A new epoch: after a roll, or a new timeline of the database.
    pub(crate) fn begin_epoch(&mut self, sim: &Sim) {
        let (epoch, nonce) = sim.draw(|rng| (rng.u128(..), rng.u64(1..)));
        let position = self.head().position;
        self.open_at_oldest = self.open();
        self.records.clear();
        self.oldest = Link { epoch: Epoch::new(epoch), position, nonce };
    }

    /// The newest records are gone, and their positions will be handed out again; when the oldest of them was appended.
    pub(crate) fn lose_tail(&mut self, records: usize) -> Option<Time> {
        let mut oldest_lost = None;
        for _ in 0..records {
            oldest_lost = self.records.pop_back().map(|(at, _)| at).or(oldest_lost);
        }
        oldest_lost
    }

    /// The database failed over: what became visible after `kept_until` is lost, the outbox with it; and the history is
    /// another one from here on.
    pub(crate) fn fail_over(&mut self, kept_until: Time, sim: &Sim) {
        self.outbox.fail_over(kept_until);
        self.is_sequencing = false;
        self.forget_nodes(sim.now());
        self.begin_epoch(sim);
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
            self.append(Act::Invalidate, targets, cause, sim);
        }
        moved
    }
}

fn note_intent(open: &mut BTreeMap<IntentId, Intent>, record: &Record) {
    match record.act {
        Act::Invalidate => {}
        Act::Open { intent: id, lasts } => {
            open.entry(id).or_insert(Intent { id, lasts, targets: record.targets.as_slice().into() });
        }
        Act::Close { intent } => drop(open.remove(&intent)),
    }
}
