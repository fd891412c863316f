//! A cache beside a plain map, under random operations and time: the map says what each read returns, from where, how
//! old and how fresh, and how often a loader is called; the cache must say the same.
//!
//! Two tenants, three regions of different policy, keys made to be confused with each other, and in half of the runs a
//! second process on the same journal and store. One thing happens at a time: what may happen at once is the business
//! of the tests called `race_*` and of the simulator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, it fails the test")]
#![allow(unreachable_pub, reason = "the modules of a test binary reach nobody else")]

#[path = "../rig/mod.rs"]
mod rig;

mod map;
mod names;
mod pair;
mod steps;

use pair::Pair;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use steps::{Step, steps};

/// How often each kind of answer was seen.
type Seen = BTreeMap<&'static str, u32>;

fn run(processes: usize, has_store: bool, steps: &[Step]) -> Result<Seen, TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair::new(processes, has_store).await;
        for (at, step) in steps.iter().enumerate() {
            pair.step(at as u64, step).await?;
        }
        Ok(pair.seen)
    })
}

fn machine(processes: usize, has_store: bool, expected: &[&str]) {
    // PROPTEST_CASES asks for more.
    let config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let cases = config.cases;
    let seen = RefCell::new(Seen::new());
    TestRunner::new(config)
        .run(&steps(processes), |steps| {
            let of_case = run(processes, has_store, &steps)?;
            of_case.into_iter().for_each(|(what, n)| *seen.borrow_mut().entry(what).or_default() += n);
            Ok(())
        })
        .unwrap();
    // A property whose cases never got there would hold for nothing.
    let seen = seen.into_inner();
    for what in expected {
        // Once is enough: how often is left to chance, and some come ten times in the mean.
        assert!(seen.get(what).is_some_and(|n| *n > 0), "none of {what:?} in {cases} cases: {seen:?}");
    }
}

const ALONE: [&str; 11] = [
    "nested",
    "put as of",
    "memory",
    "loader",
    "nothing",
    "absent",
    "failed",
    "revalidating",
    "fallback",
    "refreshed",
    "throttled",
];

#[test]
fn a_cache_in_memory_is_the_map_that_expires_and_forgets() {
    machine(1, false, &ALONE);
}

#[test]
fn a_cache_with_a_store_is_the_map_that_expires_and_forgets() {
    machine(1, true, &ALONE);
}

#[test]
fn two_caches_on_one_store_and_journal_are_two_maps_over_one() {
    machine(2, true, &[&ALONE[..], &["store"]].concat());
}
