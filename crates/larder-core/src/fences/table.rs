//! The table of `last[target]`: the highest local number of a record naming each target.
//!
//! Open addressing over atomics: one writer (who holds the chain's lock), any number of readers who never wait.
//! Slots are only ever added and raised; dropping some means building another table, which the owner publishes
//! after raising the floor.

use crate::sync::{AtomicU64, AtomicUsize, scaled};
use std::sync::atomic::Ordering;

const SLOTS_MIN: usize = scaled(64, 4);

#[derive(Default)]
struct Slot {
    /// 0 while free. Set once, after `last`.
    id: AtomicU64,
    last: AtomicU64,
}

pub(super) struct Table {
    slots: Box<[Slot]>,
    used: AtomicUsize,
}

impl Table {
    /// A table with room for `targets` of them.
    pub(super) fn with_room(targets: usize) -> Self {
        let slots = (targets.saturating_mul(2)).next_power_of_two().max(SLOTS_MIN);
        Table { slots: (0..slots).map(|_| Slot::default()).collect(), used: AtomicUsize::new(0) }
    }

    /// Targets in the table.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether another target would make probing slow.
    pub(super) fn is_full(&self) -> bool {
        self.len() * 2 >= self.slots.len()
    }

    /// The highest number of a record naming this target; 0 if none in the table does.
    #[inline]
    pub(super) fn last(&self, id: u64) -> u64 {
        let mask = self.slots.len() - 1;
        let mut at = id as usize & mask;
        loop {
            let slot = &self.slots[at];
            match slot.id.load(Ordering::Acquire) {
                0 => return 0,
                found if found == id => return slot.last.load(Ordering::Acquire),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Raises a target's number. One writer at a time; the table must not be full unless the target is in it.
    pub(super) fn raise(&self, id: u64, local: u64) {
        let mask = self.slots.len() - 1;
        let mut at = id as usize & mask;
        loop {
            let slot = &self.slots[at];
            match slot.id.load(Ordering::Relaxed) {
                0 => {
                    slot.last.store(local, Ordering::Relaxed);
                    slot.id.store(id, Ordering::Release);
                    self.used.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                found if found == id => {
                    slot.last.fetch_max(local, Ordering::Release);
                    return;
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// All targets with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.slots
            .iter()
            .map(|slot| (slot.id.load(Ordering::Relaxed), slot.last.load(Ordering::Relaxed)))
            .filter(|(id, _)| *id != 0)
    }

    /// A table with room for `targets`, holding what is above `floor`.
    pub(super) fn rebuilt(&self, targets: usize, floor: u64) -> Table {
        let table = Table::with_room(targets);
        self.iter().filter(|(_, last)| *last > floor).for_each(|(id, last)| table.raise(id, last));
        table
    }
}
