//! Known mistakes that a simulation on one thread cannot see, and what sees them instead.

/// What catches mistakes in the order in which a machine's memory shows stores to other threads.
const LOOM: &str = "loom, since one thread sees its own stores in order: cargo xtask seeded-bugs";

/// What catches mistakes that only a thread inside of another's synchronous code can see.
const SHUTTLE: &str =
    "shuttle and loom, since threads meet inside of synchronous code: cargo xtask seeded-bugs";

/// What catches mistakes that break no promise a reader could see here.
const TESTS: &str =
    "the tests, since no reader of this engine is served anything older: cargo xtask seeded-bugs";

const ELSEWHERE: [(&str, &str); 15] = [
    ("adopt_drops_first", SHUTTLE),
    ("any_flight_is_removed", SHUTTLE),
    ("applied_before_slots", SHUTTLE),
    ("applied_relaxed", LOOM),
    ("floor_after_drop", SHUTTLE),
    ("floor_before_table", SHUTTLE),
    ("intent_closed_first", SHUTTLE),
    ("intents_after_table", SHUTTLE),
    ("lease_relaxed", LOOM),
    ("lost_wakeup", SHUTTLE),
    // A node on a lost branch drops it within a beat, before anybody can be told by it.
    ("attendance_by_position", TESTS),
    // Nothing queued here is too much for one try, and no answer to one is lost between two writes of one row.
    ("queue_drained_in_any_order", TESTS),
    ("queued_again_is_done", TESTS),
    // Each costs loads, or time until a deadline.
    ("claim_keeps_its_stamp", TESTS),
    ("nested_load_waits_for_nodes", TESTS),
];

/// Who catches this mistake, why, and by which command.
pub(super) fn of(bug: &str) -> Option<String> {
    ELSEWHERE.iter().find(|(name, _)| *name == bug).map(|(_, who)| (*who).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::names;

    #[test]
    fn what_is_caught_elsewhere_is_there() {
        let known = names::known().unwrap();
        assert!(ELSEWHERE.iter().all(|(name, _)| known.contains(*name)));
    }
}
