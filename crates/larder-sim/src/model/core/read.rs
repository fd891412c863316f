//! How a value is read: the steps of a hit, of a load, of a follower, and of a look into the store.

use super::state::{At, Entry, Node, Reader, State, UNKNOWN};
use super::{Core, Read};
use crate::model::weakening::Weakening;

impl Core {
    /// The steps a reader may take from where it is.
    pub(super) fn moves(&self, who: usize, reader: &Reader) -> &'static [Read] {
        match reader.at {
            At::Idle if self.only_loads(who) => &[Read::Stamp],
            At::Idle if self.lookers => &[Read::Lease],
            At::Idle if self.is(Weakening::LeaseAfterRule) => &[Read::Memory, Read::Stamp],
            At::Idle if self.is(Weakening::StampAfterSnapshot) => &[Read::Lease, Read::Snapshot],
            At::Idle => &[Read::Lease, Read::Stamp],
            At::Leased => &[Read::Memory],
            At::Looked if self.memo => &[Read::Applied],
            At::Looked if self.is(Weakening::FloorBeforeSlots) => &[Read::Floor],
            At::Looked | At::Counted => &[Read::Slots],
            At::HalfJudged if self.is(Weakening::FloorBeforeSlots) => &[Read::Slots],
            At::HalfJudged => &[Read::Floor],
            At::Judged => &[Read::Lease],
            At::Ready if reader.lease == 0 && self.is(Weakening::RenewedInPlace) => &[Read::Lease],
            At::Ready => &[Read::Done],
            At::Missed => &[Read::Follow, Read::Store],
            At::Following => &[],
            At::Stamped if self.is(Weakening::StampAfterSnapshot) => &[Read::Stamp],
            At::Stamped if self.transactions => &[Read::Snapshot, Read::SnapshotInside],
            At::Stamped => &[Read::Snapshot],
            At::Loaded => &[Read::Fill],
            At::Filled => &[Read::FillStore],
        }
    }

    pub(super) fn read(&self, state: &mut State, who: usize, step: Read) -> Option<()> {
        let home = usize::from(*self.readers.get(who)?);
        match step {
            Read::Follow => self.follow(state, who, home)?,
            Read::Store => self.look_in_store(state, who, home)?,
            Read::SnapshotInside if !state.origin.dirty => return None,
            Read::SnapshotInside => {
                let value = state.origin.committed + 1;
                self.take(&mut state.readers[who], value);
                if !self.is(Weakening::FillInTransaction) {
                    // It goes to the transaction that asked, and nowhere else.
                    state.readers[who] = Reader::default();
                }
            }
            Read::Snapshot => {
                let value = state.origin.committed;
                self.take(&mut state.readers[who], value);
            }
            Read::Fill => self.fill(state, who, home),
            Read::FillStore => {
                state.store.now = state.readers[who].entry;
                state.readers[who] = Reader::default();
            }
            Read::Lease | Read::Memory | Read::Applied | Read::Slots | Read::Floor => {
                if state.readers[who].at == At::Idle {
                    self.begin(state, who);
                }
                self.hit(&mut state.readers[who], &mut state.nodes[home], step)?;
            }
            Read::Stamp => {
                let applied = state.nodes[home].applied;
                self.stamp(&mut state.readers[who], applied);
            }
            Read::Done => state.readers[who] = Reader::default(),
        }
        Some(())
    }

    /// The read begins with its first step: one that began earlier would be asked for less.
    fn begin(&self, state: &mut State, who: usize) {
        let due = state.origin.ages.iter().filter(|age| **age >= self.bound()).count() as u8;
        let reader = &mut state.readers[who];
        reader.due = due;
        // What the bound asks for anyway need not be asked for twice.
        reader.returned = if state.origin.returned > due { state.origin.returned } else { 0 };
    }

    fn hit(&self, reader: &mut Reader, node: &mut Node, step: Read) -> Option<()> {
        if step == Read::Lease {
            let after = matches!(reader.at, At::Judged | At::Ready);
            reader.lease = node.lease;
            reader.at = if after { At::Ready } else { At::Leased };
            // A hit that begins with a lapsed lease serves nothing: it begins again after renewing.
            return (reader.lease > 0 || self.is(Weakening::RenewedInPlace)).then_some(());
        }
        let Some(next) = self.judge(reader, node, step) else {
            self.miss(reader);
            return Some(());
        };
        reader.at = next;
        if !matches!(next, At::Ready | At::Judged) {
            return Some(());
        }
        if let (true, Some(memory), Some(entry)) = (self.memo, &mut node.memory, reader.entry)
            && (memory.value, memory.born) == (entry.value, entry.born)
        {
            // The entry remembers, if it is still the one in memory.
            memory.checked = Some(reader.seen);
        }
        reader.seen = 0;
        // Nothing but the value is of use from here on.
        reader.entry = reader.entry.map(|entry| Entry { born: 0, checked: None, ..entry });
        Some(())
    }

    /// Where a step of the rule leads; `None`: to a miss.
    fn judge(&self, reader: &mut Reader, node: &Node, step: Read) -> Option<At> {
        let passed = if self.is(Weakening::LeaseAfterRule) { At::Judged } else { At::Ready };
        let floor_first = self.is(Weakening::FloorBeforeSlots);
        let (ok, next) = match step {
            Read::Memory => {
                reader.entry = node.memory;
                (reader.entry.is_some(), At::Looked)
            }
            Read::Applied => {
                reader.seen = node.applied;
                let same = reader.entry?.checked == Some(node.applied);
                (true, if same { passed } else { At::Counted })
            }
            Read::Slots => {
                let entry = reader.entry?;
                let fresh = node.last[self.tag(entry.value)] <= entry.born;
                (fresh, if floor_first || !self.floor_moves() { passed } else { At::HalfJudged })
            }
            _ => (reader.entry?.born >= node.floor, if floor_first { At::HalfJudged } else { passed }),
        };
        ok.then_some(next)
    }

    /// What follows a miss other than a load; a load needs nothing of the hit before it, so it begins afresh.
    fn miss(&self, reader: &mut Reader) {
        let (due, returned, lease) = (reader.due, reader.returned, reader.lease);
        *reader = Reader::default();
        if self.flights || self.store {
            *reader = Reader { at: At::Missed, due, returned, lease, ..Reader::default() };
        }
    }

    fn stamp(&self, reader: &mut Reader, applied: u8) {
        begin_load(reader);
        match &mut reader.entry {
            // Weakened: the value is there already.
            Some(entry) => {
                entry.born = applied;
                reader.at = At::Loaded;
            }
            None => {
                reader.entry = Some(Entry { value: UNKNOWN, born: applied, checked: None });
                reader.at = At::Stamped;
            }
        }
    }

    fn take(&self, reader: &mut Reader, value: u8) {
        begin_load(reader);
        match &mut reader.entry {
            Some(entry) => {
                entry.value = value;
                reader.at = At::Loaded;
            }
            None => {
                reader.entry = Some(Entry { value, born: UNKNOWN, checked: None });
                reader.at = At::Stamped;
            }
        }
    }

    /// A reader that finds another's load under way waits for it. Its lease is loaded already: lease first.
    fn follow(&self, state: &mut State, who: usize, home: usize) -> Option<()> {
        let mut others = self.readers.iter().zip(&state.readers).enumerate();
        let running = others.any(|(other, (at, reader))| {
            other != who && usize::from(*at) == home && matches!(reader.at, At::Stamped | At::Loaded)
        });
        (self.flights && running).then(|| state.readers[who].at = At::Following)
    }

    /// The load of `who` lands: memory is filled, followers are woken.
    fn fill(&self, state: &mut State, who: usize, home: usize) {
        let Some(entry) = state.readers[who].entry else { return };
        if !self.only_loads(who) {
            state.nodes[home].memory = Some(entry);
        }
        for (other, at) in self.readers.iter().enumerate() {
            let reader = &mut state.readers[other];
            if usize::from(*at) != home || reader.at != At::Following {
                continue;
            }
            reader.entry = Some(entry);
            reader.at = At::Looked;
            if self.is(Weakening::FollowerSkipsRule) {
                reader.at = At::Ready;
                reader.lease = reader.lease.max(1);
            }
        }
        let reader = &mut state.readers[who];
        if self.store {
            reader.at = At::Filled;
        } else {
            *reader = Reader::default();
        }
    }

    /// What the store has goes into memory under the stamp it has, and is judged there.
    fn look_in_store(&self, state: &mut State, who: usize, home: usize) -> Option<()> {
        if !self.store {
            return None;
        }
        let mut entry = state.store.now?;
        let node = &mut state.nodes[home];
        if self.is(Weakening::PromotionRestamps) {
            entry.born = node.applied;
        }
        node.memory = Some(entry);
        let reader = &mut state.readers[who];
        reader.entry = Some(entry);
        reader.at = At::Looked;
        Some(())
    }
}

/// A load begun after its read is as good as any answer: nothing is asked of it, the lease is not needed.
fn begin_load(reader: &mut Reader) {
    (reader.due, reader.returned, reader.lease) = (0, 0, 0);
}
