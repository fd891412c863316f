//! Each known mistake in the order of publication, made on purpose: the history that is there for it must fail.

use std::process::Command;

/// The mistakes, as named in the code, and the history that finds each.
const MISTAKES: &[(&str, &str)] = &[
    ("applied_before_slots", "publication::a_record_is_seen_by_every_look_that_begins_after_it_was_applied"),
    ("checked_as_of_its_end", "publication::a_record_is_seen_by_every_look_that_begins_after_it_was_applied"),
    ("floor_after_drop", "publication::a_target_is_dropped_only_under_a_raised_floor"),
    ("floor_before_table", "publication::a_target_is_dropped_only_under_a_raised_floor"),
    ("adopt_drops_first", "publication::what_was_stale_stays_so_while_another_history_is_adopted"),
    ("intent_closed_first", "intents::between_an_intent_and_its_close_there_is_no_gap"),
    ("intents_after_table", "intents::between_an_intent_and_its_close_there_is_no_gap"),
];

/// Mistakes of a machine's memory, which one that runs a step at a time cannot make.
#[cfg(larder_loom)]
const OF_MEMORY: &[(&str, &str)] = &[
    ("applied_relaxed", "publication::a_record_is_seen_by_every_look_that_begins_after_it_was_applied"),
    ("lease_relaxed", "lease::a_read_the_bound_after_an_acknowledgement_never_takes_what_was_named"),
];
#[cfg(larder_shuttle)]
const OF_MEMORY: &[(&str, &str)] = &[];

#[test]
fn each_known_mistake_is_found() {
    let tests = std::env::current_exe().unwrap();
    for (mistake, history) in MISTAKES.iter().chain(OF_MEMORY) {
        let mut command = Command::new(&tests);
        let made = command.args(["--exact", history]).env("LARDER_SEEDED_BUG", mistake).output().unwrap();
        let said = String::from_utf8_lossy(&made.stdout);
        assert!(said.contains("running 1 test"), "no history is called {history}: {said}");
        assert!(said.contains("0 passed; 1 failed"), "{mistake} is not found by {history}: {said}");
        println!("{mistake}: found by {history}");
    }
}
