//! More targets than the node remembers: the floor rises, nothing dropped is ever called fresh, and what is recent
//! is still known exactly.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

mod pair;

use pair::{Named, PATTERNS_MAX, Pair, TARGETS_MIN};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Records (or local fences), each with this many targets; of names never used, or out of this many names.
    Burst { records: usize, targets: usize, local: bool, out_of: Option<u64> },
    /// Loads begin and end, for names used before and not; some stamps are kept in a store too.
    Load(Vec<Index>),
    /// Every entry is looked at.
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    let burst = (1usize..400, 1usize..5, prop::bool::weighted(0.1), prop::option::of(1u64..900));
    prop_oneof![
        3 => burst.prop_map(|(records, targets, local, out_of)| Step::Burst { records, targets, local, out_of }),
        1 => (1usize..4, 200usize..1500)
            .prop_map(|(records, targets)| Step::Burst { records, targets, local: false, out_of: None }),
        3 => prop::collection::vec(any::<Index>(), 1..30).prop_map(Step::Load),
        2 => Just(Step::Check),
    ]
}

/// Runs the property and returns how often a fresh entry was found to be forgotten.
fn overflow(cases: u32, named: Named) -> usize {
    let forgotten = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let targets_max = prop::sample::select(&[16usize, 512, 700, 1500, 4000][..]);
    runner
        .run(&(targets_max, prop::collection::vec(step(), 1..24)), |(targets_max, steps)| {
            let mut pair = Pair::new(named, targets_max);
            steps.iter().try_for_each(|step| pair.step(step))?;
            pair.check()?;
            forgotten.set(forgotten.get() + pair.forgotten);
            Ok(())
        })
        .unwrap();
    forgotten.get()
}

#[test]
fn a_table_that_overflows_forgets_old_entries_and_never_an_invalidation() {
    let forgotten = overflow(40, Named::Exactly);
    assert!(forgotten > 100, "the floor hardly ever rose above a fresh entry: {forgotten}");
}

#[test]
fn patterns_that_overflow_forget_old_entries_and_never_an_invalidation() {
    let forgotten = overflow(8, Named::ByPattern);
    assert!(forgotten > 100, "the floor hardly ever rose above a fresh entry: {forgotten}");
}

#[test]
fn as_many_targets_as_were_asked_for_are_all_remembered() {
    for targets_max in [16, 512, 700, 1500, 4000] {
        all_remembered(Named::Exactly, targets_max, targets_max.max(TARGETS_MIN));
    }
    all_remembered(Named::ByPattern, 16, 16);
    all_remembered(Named::ByPattern, 4000, PATTERNS_MAX);
}

fn all_remembered(named: Named, targets_max: usize, room: usize) {
    let mut pair = Pair::new(named, targets_max);
    let room = room as u64;
    (0..room * 2).for_each(|name| pair.load(name));
    // Told again, they take no more room.
    (0..2).for_each(|_| (0..room).for_each(|name| pair.announce_names(&[name], false)));
    pair.check().unwrap();
    assert_eq!(pair.forgotten, 0);
}

/// One entry born right before each record, which names it, and one that is never named: wherever the floor comes to
/// stand, something was born at it, right below and right above.
#[test]
fn at_every_place_the_floor_stops_no_invalidation_is_forgotten() {
    for named in [Named::Exactly, Named::ByPattern] {
        let mut pair = Pair::new(named, 16);
        for name in 0..1500 {
            pair.load(name);
            pair.load(name + 1_000_000);
            pair.announce_names(&[name], name % 7 == 0);
            if name % 100 == 0 {
                pair.check().unwrap();
            }
        }
        pair.check().unwrap();
        assert!(pair.forgotten > 100);
    }
}
