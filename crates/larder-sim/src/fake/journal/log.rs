//! One history as one server keeps it: its records, what is open in it, and who has said that he follows it.

use crate::sched::{Sim, Time};
use larder_core::port::{History, JournalError, Page};
use larder_core::{
    Act, Attendance, Cause, Epoch, Intent, IntentId, Link, NodeId, Record, Target, seeded_bug,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A history. A copy is what a replica has, or a dump.
#[derive(Clone)]
pub(crate) struct Log {
    oldest: Link,
    /// The intents open as of the oldest place; the records after it say what became of them, and of others.
    open_at_oldest: BTreeMap<IntentId, Intent>,
    records: VecDeque<(Time, Record)>,
    /// When its epoch began. Whoever has taken it up since has kept nothing from before.
    began: Time,
    /// Every record appended in this epoch, by its nonce, those that were dropped included.
    places: BTreeMap<u64, u64>,
    /// The records of the epochs before, that were there when those ended.
    before: BTreeSet<u64>,
    /// Who is there, how far they have come, and until when.
    present: BTreeMap<NodeId, (Link, Time)>,
    /// Since when nobody's presence was lost.
    whole_since: Time,
}

impl Log {
    pub(super) fn new(epoch: u128) -> Self {
        Log {
            oldest: Link { epoch: Epoch::new(epoch), position: 0, nonce: 0 },
            open_at_oldest: BTreeMap::new(),
            records: VecDeque::new(),
            began: 0,
            places: BTreeMap::new(),
            before: BTreeSet::new(),
            present: BTreeMap::new(),
            whole_since: 0,
        }
    }

    pub(super) fn head(&self) -> Link {
        self.records.back().map_or(self.oldest, |(_, record)| record.link)
    }

    pub(super) fn history(&self) -> History {
        History { oldest: self.oldest, head: self.head(), open: self.open().into_values().collect() }
    }

    /// The intents open as of the head.
    pub(super) fn open(&self) -> BTreeMap<IntentId, Intent> {
        let mut open = self.open_at_oldest.clone();
        self.records.iter().for_each(|(_, record)| note_intent(&mut open, record));
        open
    }

    pub(super) fn page(&self, after: Link, limit: usize) -> Result<Page, JournalError> {
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

    pub(super) fn append(&mut self, act: Act, targets: Vec<Target>, cause: Cause, sim: &Sim) -> Record {
        let nonce = sim.draw(|rng| rng.u64(1..));
        let head = self.head();
        let link = Link { position: head.position + 1, nonce, ..head };
        let record = Record { link, act, targets, cause };
        self.records.push_back((sim.now(), record.clone()));
        self.places.insert(nonce, link.position);
        record
    }

    /// Forgets all but the newest records; how many it forgot.
    pub(super) fn keep(&mut self, records: usize) -> usize {
        let mut forgot = 0;
        while self.records.len() > records {
            if let Some((_, dropped)) = self.records.pop_front() {
                self.oldest = dropped.link;
                note_intent(&mut self.open_at_oldest, &dropped);
                forgot += 1;
            }
        }
        forgot
    }

    /// A new epoch; what is open stays open.
    pub(super) fn begin_epoch(&mut self, sim: &Sim) {
        let (epoch, nonce) = sim.draw(|rng| (rng.u128(..), rng.u64(1..)));
        let position = self.head().position;
        self.open_at_oldest = self.open();
        self.records.clear();
        self.before.extend(std::mem::take(&mut self.places).into_keys());
        self.began = sim.now();
        self.oldest = Link { epoch: Epoch::new(epoch), position, nonce };
    }

    /// The newest records are gone, and their positions will be handed out again; how many there were.
    pub(super) fn lose_tail(&mut self, records: usize) -> usize {
        (0..records).map_while(|_| self.records.pop_back()).fold(0, |lost, (_, record)| {
            self.places.remove(&record.link.nonce);
            lost + 1
        })
    }

    /// What was appended after that moment is gone; how many records that were.
    pub(super) fn lose_since(&mut self, kept_until: Time) -> usize {
        let lost = self.records.iter().rev().take_while(|(at, _)| *at > kept_until).count();
        self.lose_tail(lost)
    }

    /// Whether a node that follows this, and is up to date with it, serves nothing from before this record: it is in
    /// it, or everything from before this epoch was a miss.
    pub(super) fn covers(&self, nonce: u64, appended: Time) -> bool {
        appended < self.began || self.places.contains_key(&nonce)
    }

    /// Until when this record was missing here, if it covers it only because it has begun anew since.
    pub(super) fn missed_until(&self, nonce: u64, appended: Time) -> Option<Time> {
        let was_there = self.places.contains_key(&nonce) || self.before.contains(&nonce);
        (appended < self.began && !was_there).then_some(self.began)
    }

    /// Whether somebody who has applied everything up to `applied` has applied this record.
    pub(super) fn knows(&self, applied: Link, nonce: u64) -> bool {
        let Some(place) = self.places.get(&nonce) else { return false };
        self.places.get(&applied.nonce) == Some(&applied.position) && *place <= applied.position
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

    /// The server has started anew, without the list of those who are there; how many that were.
    pub(super) fn forget_nodes(&mut self, now: Time) -> usize {
        let forgot = self.present.len();
        self.present.clear();
        self.whole_since = now;
        forgot
    }

    /// Another server goes on with this. It has the list as it had heard of it: some are missing, and it says so.
    pub(super) fn change_hands(&mut self, sim: &Sim) {
        self.present.retain(|_, _| sim.chance(0.5));
        // The mistake: what is known of who is there is taken to be of this server's own life.
        if !seeded_bug!("attendance_outlives_its_server") {
            self.whole_since = sim.now();
        }
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
