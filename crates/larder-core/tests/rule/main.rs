//! The rule, compared with a plain list of everything that was ever applied: for what fits the table they agree
//! on every entry, whatever came in whatever order, and however often the entry was looked at before.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

#[path = "../names/mod.rs"]
mod names;
mod pair;
mod reference;
mod steps;

use pair::Pair;
use proptest::test_runner::{Config, TestRunner};
use steps::steps;

#[test]
fn the_rule_says_what_a_list_of_everything_applied_would_say() {
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<_, u32>::new());
    runner
        .run(&(0usize..4, steps()), |(before, steps)| {
            let mut pair = Pair::new();
            for (at, step) in steps.iter().enumerate() {
                if at == before {
                    pair.begin()?;
                }
                pair.step(step)?;
            }
            pair.check(0, usize::MAX)?;
            pair.seen
                .into_iter()
                .for_each(|(what, count)| *seen.borrow_mut().entry(what).or_default() += count);
            Ok(())
        })
        .unwrap();
    // A property whose cases never got there would hold for nothing.
    let seen = seen.into_inner();
    let expected = [
        "Fresh",
        "Invalidated",
        "BelowFloor",
        "Intended",
        "opened",
        "closed",
        "shortcut",
        "adopted",
        "new",
        "seen before",
        "duplicate",
        "misfit",
        "found",
        "not found",
        "dead on arrival",
        "nested",
    ];
    for what in expected {
        assert!(seen.get(what).is_some_and(|count| *count > 50), "too few of {what:?}: {seen:?}");
    }
}
