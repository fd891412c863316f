//! Real threads: what has been acknowledged is never overlooked, however checks, records, a growing table, a rising
//! floor and changing histories fall together.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

mod bound;
mod history;
mod paced;

use history::{History, Naming, key_of_all, spread};
use larder_core::{Birth, Dependencies, Fences, Verdict};
use paced::{Pace, Place};
use std::sync::atomic::{AtomicU64, Ordering};

const RECORDS: u64 = 6_000;
/// So many that each is named again after a few hundred records: during the life of some of the entries it is on, and
/// around the time when it is dropped from a small table.
const MANY: Naming = Naming::Tags(400);
const READERS: usize = 2;
/// Records between two waits for the readers.
const STRIDE: u64 = 64;

struct Entry {
    tag: u64,
    birth: Birth,
    dependencies: Dependencies,
    checked: AtomicU64,
    /// The record after which it is loaded anew.
    until: u64,
}

#[derive(Debug, Default)]
struct Tally {
    fresh: u64,
    invalidated: u64,
    below: u64,
}

struct Run {
    node: Fences,
    history: History,
    life_max: u64,
    /// Everything up to this record has been applied; stored after.
    acknowledged: AtomicU64,
}

impl Run {
    fn new(naming: Naming, targets_max: usize, records_per_epoch: u64) -> Self {
        let run = Run {
            node: Fences::new(5, targets_max),
            history: History::new(RECORDS, naming, records_per_epoch),
            life_max: match naming {
                // Long enough to be named, looked at again, and fall below a rising floor.
                Naming::Tags(tags) => tags + 6,
                _ => 7,
            },
            acknowledged: AtomicU64::new(0),
        };
        run.node.adopt(run.history.before(1), &[]);
        run
    }

    fn write(&self, pace: &Pace, fillers: u64) {
        let _until_dropped = pace.writer();
        for n in 1..=RECORDS {
            if self.history.begins_epoch(n) {
                self.node.adopt(self.history.before(n), &[]);
            }
            self.node.apply(&self.history.record(n, fillers)).unwrap();
            self.acknowledged.store(n, Ordering::Release);
            if n.is_multiple_of(STRIDE) {
                pace.wait();
            }
        }
    }

    fn load(&self, drawn: u64) -> Entry {
        let before = self.acknowledged.load(Ordering::Acquire);
        let birth = self.node.birth().unwrap();
        assert!(birth.stamp.position >= before, "a birth is at least as new as what was acknowledged");
        if let Some(located) = self.node.locate(birth.stamp) {
            assert_eq!(located, birth, "a birth is of one moment: there are no local fences here");
        }
        let tag = self.history.tag(drawn, birth.stamp.position);
        let dependencies = self.history.dependencies(&self.node, tag);
        let until = birth.stamp.position + spread(!drawn) % self.life_max;
        Entry { tag, birth, dependencies, checked: AtomicU64::new(0), until }
    }

    fn look(&self, entry: &Entry, checked: &AtomicU64, tally: &mut Tally) {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        match self.node.check(entry.birth, &entry.dependencies, checked, key_of_all) {
            Verdict::Fresh => {
                let (born, last) = (entry.birth.stamp, self.history.last_named(entry.tag, acknowledged));
                assert!(
                    last <= born.position,
                    "record {last} of {acknowledged} names what was born {born:?}"
                );
                assert!(born.epoch >= self.history.epoch_of(acknowledged), "{born:?} at {acknowledged}");
                tally.fresh += 1;
            }
            Verdict::Invalidated => {
                // No record that was only begun when the check ended can be further than one ahead.
                let newest = self.acknowledged.load(Ordering::Acquire) + 1;
                let last = self.history.last_named(entry.tag, newest);
                assert!(last > entry.birth.stamp.position, "nothing names {:?} up to {newest}", entry.birth);
                tally.invalidated += 1;
            }
            _ => tally.below += 1,
        }
    }

    fn read(&self, place: &Place<'_>, seed: u64, held: u64) -> Tally {
        let mut tally = Tally::default();
        let mut drawn = seed + held;
        let mut held: Vec<Entry> = (seed..drawn).map(|n| self.load(n)).collect();
        while place.again() {
            let acknowledged = self.acknowledged.load(Ordering::Acquire);
            for entry in &mut held {
                if entry.until <= acknowledged {
                    drawn += 1;
                    *entry = self.load(drawn);
                }
                self.look(entry, &entry.checked, &mut tally);
                self.look(entry, &AtomicU64::new(0), &mut tally);
            }
        }
        tally
    }

    /// `held`: entries each reader looks at, one after another.
    fn go(&self, fillers: u64, held: u64) -> Tally {
        let pace = Pace::of(READERS);
        std::thread::scope(|scope| {
            let readers: Vec<_> = pace
                .places()
                .zip(1u64..)
                .map(|(place, reader)| scope.spawn(move || self.read(&place, reader << 40, held)))
                .collect();
            self.write(&pace, fillers);
            readers.into_iter().map(|reader| reader.join().unwrap()).fold(Tally::default(), |a, b| Tally {
                fresh: a.fresh + b.fresh,
                invalidated: a.invalidated + b.invalidated,
                below: a.below + b.below,
            })
        })
    }
}

/// Every record names everything the readers look at, and they look at it all the time: also while it is applied.
#[test]
fn nothing_acknowledged_is_overlooked_while_one_tag_is_named_again_and_again() {
    let tally = Run::new(Naming::Tags(1), 1 << 20, u64::MAX).go(8, 2);
    assert!(tally.fresh > 100 && tally.invalidated > 100, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_overlooked_while_a_pattern_is_named_again_and_again() {
    let tally = Run::new(Naming::Pattern, 1 << 20, u64::MAX).go(0, 2);
    assert!(tally.fresh > 100 && tally.invalidated > 100, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_overlooked_when_it_is_named_for_the_first_time() {
    let tally = Run::new(Naming::NewTags, 1 << 20, u64::MAX).go(0, 2);
    assert!(tally.fresh > 100 && tally.invalidated > 100, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_overlooked_while_the_table_grows() {
    let tally = Run::new(MANY, 1 << 20, u64::MAX).go(2, 24);
    assert!(tally.fresh > 100 && tally.invalidated > 100, "{tally:?}");
    assert_eq!(tally.below, 0, "the table had room for everything");
}

#[test]
fn nothing_acknowledged_is_overlooked_while_the_floor_rises() {
    let tally = Run::new(MANY, 512, u64::MAX).go(2, 24);
    assert!(tally.fresh > 100 && tally.invalidated > 100 && tally.below > 100, "{tally:?}");
}

/// Each record overflows the table, and drops what the one before it named.
#[test]
fn nothing_acknowledged_is_overlooked_while_it_is_dropped_from_the_table() {
    let tally = Run::new(Naming::Tags(1), 512, u64::MAX).go(300, 2);
    assert!(tally.fresh > 100 && tally.below > 100, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_overlooked_while_histories_change() {
    let tally = Run::new(Naming::Tags(100), 1 << 16, 130).go(0, 24);
    assert!(tally.fresh > 100 && tally.invalidated > 100 && tally.below > 100, "{tally:?}");
}

/// The same, with every entry named in its own history, and the next one never far.
#[test]
fn nothing_acknowledged_is_overlooked_while_histories_change_all_the_time() {
    let tally = Run::new(Naming::Tags(1), 1 << 16, 3).go(0, 2);
    assert!(tally.fresh > 100 && tally.below > 100, "{tally:?}");
}

/// A stamp newer than its number would be stored with a value that is older than it says.
#[test]
fn a_birth_is_of_one_moment() {
    let run = Run::new(Naming::Tags(1), 16, u64::MAX);
    let pace = Pace::of(1);
    let births = std::thread::scope(|scope| {
        let place = pace.places().next().unwrap();
        let reader = scope.spawn(|| {
            let (place, mut births) = (place, 0);
            while place.again() {
                for _ in 0..100 {
                    let birth = run.node.birth().unwrap();
                    let located = run.node.locate(birth.stamp);
                    births += u64::from(located.is_some());
                    assert!(
                        located.is_none_or(|located| located == birth),
                        "{birth:?}, found at {located:?}"
                    );
                }
            }
            births
        });
        run.write(&pace, 0);
        reader.join().unwrap()
    });
    assert!(births > 100);
}
