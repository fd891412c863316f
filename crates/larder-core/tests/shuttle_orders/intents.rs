//! Intents: what is being written is served from nowhere, until its write is over and seen.

use crate::explorer::{explore, thread};
use crate::node::{Entry, LARGE, Node, pattern, target};
use larder_core::{Target, Verdict};
use std::sync::Arc;

/// Steps of one writer, each acknowledged, while two looks are taken, and one after their end. From `dead_from` on
/// the entry is not served; nor is what was loaded before the write was over.
fn while_looking(
    node: &Arc<Node>,
    entry: &Entry,
    dead_from: u64,
    steps: impl FnOnce(&Node) + Send + 'static,
) {
    let told = node.clone();
    let telling = thread::spawn(move || steps(&told));
    node.look(entry, dead_from);
    node.look(entry, dead_from);
    telling.join().unwrap();
    node.look(entry, dead_from);
}

fn opened_and_closed(named: fn(u64) -> Target) {
    let node = Node::new(LARGE);
    let entry = node.entry(1);
    while_looking(&node, &entry, 1, move |node| {
        node.open(1, 9, &[named(1)]);
        node.close(2, 9, &[named(1)]);
    });
    assert_eq!(node.verdict(&node.entry(1)), Verdict::Fresh, "loaded after the write was over");
}

/// What is loaded while the write runs may be from before it or after.
fn closed(named: fn(u64) -> Target) {
    let node = Node::new(LARGE);
    node.open(1, 9, &[named(1)]);
    let entry = node.entry(1);
    while_looking(&node, &entry, 1, move |node| node.close(2, 9, &[named(1)]));
}

#[test]
fn an_intent_is_seen_from_when_it_was_applied_until_its_close_is() {
    explore(|| opened_and_closed(target));
}

#[test]
fn an_intent_on_a_pattern_is_seen_from_when_it_was_applied_until_its_close_is() {
    explore(|| opened_and_closed(pattern));
}

#[test]
fn between_an_intent_and_its_close_there_is_no_gap() {
    explore(|| closed(target));
}

#[test]
fn between_an_intent_on_a_pattern_and_its_close_there_is_no_gap() {
    explore(|| closed(pattern));
}

#[test]
fn between_an_intent_on_everything_and_its_close_there_is_no_gap() {
    explore(|| closed(|_| Target::everything()));
}

/// Two writers of one key: it is served again once both are done.
#[test]
fn of_two_intents_the_other_stays_open() {
    explore(|| {
        let node = Node::new(LARGE);
        node.open(1, 8, &[target(1)]);
        node.open(2, 9, &[target(1)]);
        let entry = node.entry(1);
        while_looking(&node, &entry, 1, |node| node.close(3, 8, &[target(1)]));
        let later = node.entry(1);
        assert_eq!(node.verdict(&later), Verdict::Intended, "loaded while the other writes");
        node.close(4, 9, &[target(1)]);
        assert_eq!(node.verdict(&later), Verdict::Invalidated);
        assert_eq!(node.verdict(&node.entry(1)), Verdict::Fresh);
    });
}

/// Another history is adopted in the middle of a write, and says so.
#[test]
fn an_intent_open_in_an_adopted_history_is_seen() {
    explore(|| {
        let node = Node::new(LARGE);
        node.open(1, 9, &[target(1)]);
        let entry = node.entry(1);
        while_looking(&node, &entry, 1, |node| {
            let open = node.fences.open_intents();
            node.fences.adopt(crate::node::link(2, 0), &open);
        });
        assert_eq!(node.verdict(&node.entry(1)), Verdict::Intended);
    });
}
