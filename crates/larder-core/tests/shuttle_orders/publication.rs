//! Records, fences, overflows and jumps, each while readers look.

use crate::explorer::{explore, thread};
use crate::node::{LARGE, Node, SMALL, link, pattern, target};
use larder_core::{Target, Verdict};
use std::sync::Arc;

/// Runs one step of a history on a thread of its own while two looks are taken here, and one after its end.
fn while_looking(node: &Arc<Node>, dying: u64, dead_from: u64, step: impl FnOnce(&Node) + Send + 'static) {
    let entry = node.entry(dying);
    let told = node.clone();
    let telling = thread::spawn(move || step(&told));
    node.look(&entry, dead_from);
    node.look(&entry, dead_from);
    telling.join().unwrap();
    assert_ne!(node.verdict(&entry), Verdict::Fresh, "when all is told");
    assert_eq!(node.verdict(&node.entry(dying)), Verdict::Fresh, "loaded after all was told");
}

#[test]
fn a_record_is_seen_by_every_look_that_begins_after_it_was_applied() {
    explore(|| while_looking(&Node::new(LARGE), 1, 1, |node| node.apply(1, &[target(1)])));
}

/// What an entry remembers of its last check must never hold it up against a later one.
#[test]
fn a_record_is_seen_by_all_who_share_what_an_entry_remembers() {
    explore(|| {
        let node = Node::new(LARGE);
        let entry = node.entry(1);
        let (other, shared) = (node.clone(), entry.clone());
        let looking = thread::spawn(move || {
            other.look(&shared, 1);
            other.look(&shared, 1);
        });
        node.apply(1, &[target(1)]);
        node.look(&entry, 1);
        looking.join().unwrap();
        node.look(&entry, 1);
    });
}

#[test]
fn every_target_of_a_record_is_seen() {
    explore(|| while_looking(&Node::new(LARGE), 3, 1, |node| node.apply(1, &[target(2), target(3)])));
}

#[test]
fn a_record_that_names_everything_is_seen() {
    explore(|| while_looking(&Node::new(LARGE), 1, 1, |node| node.apply(1, &[Target::everything()])));
}

#[test]
fn a_pattern_is_seen() {
    explore(|| while_looking(&Node::new(LARGE), 1, 1, |node| node.apply(1, &[pattern(1)])));
}

/// The second record of a target finds its slot and raises it.
#[test]
fn a_target_named_again_is_seen() {
    explore(|| {
        let node = Node::new(LARGE);
        node.apply(1, &[target(1)]);
        while_looking(&node, 1, 2, |node| node.apply(2, &[target(1)]));
    });
}

#[test]
fn a_target_named_before_the_table_grew_is_still_known() {
    explore(|| {
        let node = Node::new(LARGE);
        node.apply(1, &[target(2)]);
        while_looking(&node, 1, 2, |node| {
            node.apply(2, &[target(1)]);
            node.apply(3, &[target(3)]);
        });
    });
}

/// The third record overflows the table, and drops the target of the first.
#[test]
fn a_target_is_dropped_only_under_a_raised_floor() {
    explore(|| {
        let node = Node::new(SMALL);
        let entry = node.entry(1);
        node.apply(1, &[target(1)]);
        node.apply(2, &[target(2)]);
        let told = node.clone();
        let telling = thread::spawn(move || told.apply(3, &[target(3)]));
        node.look(&entry, 1);
        telling.join().unwrap();
        node.look(&entry, 1);
    });
}

#[test]
fn a_pattern_is_dropped_only_under_a_raised_floor() {
    explore(|| {
        let node = Node::new(LARGE);
        let entry = node.entry(1);
        node.apply(1, &[pattern(1)]);
        node.apply(2, &[pattern(2)]);
        let told = node.clone();
        let telling = thread::spawn(move || told.apply(3, &[pattern(3)]));
        node.look(&entry, 1);
        telling.join().unwrap();
        node.look(&entry, 1);
    });
}

/// The records between may have named anything.
#[test]
fn nothing_of_an_older_history_is_served_once_another_is_adopted() {
    explore(|| {
        while_looking(&Node::new(LARGE), 1, 1, |node| {
            node.fences.adopt(link(2, 0), &[]);
            node.acknowledge(1);
        });
    });
}

/// Adopting forgets the targets; what they had made stale must not come back.
#[test]
fn what_was_stale_stays_so_while_another_history_is_adopted() {
    explore(|| {
        let node = Node::new(LARGE);
        let entry = node.entry(1);
        node.apply(1, &[target(1)]);
        let told = node.clone();
        let telling = thread::spawn(move || told.fences.adopt(link(2, 0), &[]));
        node.look(&entry, 1);
        telling.join().unwrap();
        node.look(&entry, 1);
    });
}

/// A writer fences while the follower applies: neither undoes the other.
#[test]
fn a_local_fence_and_a_record_at_once_are_both_seen() {
    explore(|| {
        let node = Node::new(LARGE);
        let (fenced, named) = (node.entry(1), node.entry(2));
        let told = node.clone();
        let telling = thread::spawn(move || told.fences.apply(&crate::node::record(1, &[target(2)])));
        node.fences.fence(&[target(1)]);
        assert_ne!(node.verdict(&fenced), Verdict::Fresh, "after its fence");
        telling.join().unwrap().unwrap();
        assert_ne!(node.verdict(&fenced), Verdict::Fresh, "after the record");
        assert_ne!(node.verdict(&named), Verdict::Fresh, "after its record");
    });
}

/// A stamp newer than its number, or older, would be two truths about one load.
#[test]
fn a_birth_is_of_one_moment() {
    explore(|| {
        let node = Node::new(LARGE);
        let told = node.clone();
        let telling = thread::spawn(move || told.apply(1, &[target(1)]));
        let birth = node.fences.birth().unwrap();
        assert_eq!(node.fences.locate(birth.stamp), Some(birth));
        telling.join().unwrap();
    });
}
