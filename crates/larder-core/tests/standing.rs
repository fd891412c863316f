//! Fences that stand: what a node has announced, and cannot have applied yet, stays invalid on it whatever it learns of
//! history meanwhile.
//!
//! Found by the simulator (one seed of a thousand): a writer's record was appended at 937, the journal failed right
//! after, and a read of the journal that had been under way applied 932 to 934. An entry that another node had loaded before
//! the write, and stamped 934, came back from the store and passed the rule on the writer's own node.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{Act, Cause, Epoch, Expected, Fences, Link, Path, Record, Target, Tenant, Verdict, key};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

fn link(epoch: u128, position: u64) -> Link {
    Link { epoch: Epoch::new(epoch), position, nonce: position.wrapping_mul(31) }
}

fn target(name: &str) -> Target {
    Target::key("r", key![name])
}

fn apply(node: &Fences, position: u64, names: &str) {
    let targets = vec![target(names)];
    let record = Record { link: link(1, position), act: Act::Invalidate, targets, cause: Cause::default() };
    node.apply(&record).unwrap();
}

/// What the rule says on this node of an entry that another node stamped so.
fn verdict(node: &Fences, stamp: Link) -> Option<Verdict> {
    let born = node.locate(stamp)?;
    let path = Path::of_region(&Tenant::common(), "r").below(&key!["written"]);
    let dependencies = node.dependencies(&path, &[], &[]);
    Some(node.check(born, &dependencies, &AtomicU64::new(0), || path.clone()))
}

fn node() -> Fences {
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 0), &[]);
    node
}

fn written() -> Arc<[Target]> {
    Arc::new([target("written")])
}

#[test]
fn a_fence_stands_above_what_is_applied_until_its_own_record_is() {
    let node = node();
    node.fence(&written());
    apply(&node, 1, "other");
    assert_eq!(verdict(&node, link(1, 1)), Some(Verdict::Fresh), "a fence alone does not reach it");
    node.fence_until(written(), link(1, 4));
    assert_eq!(verdict(&node, link(1, 1)), Some(Verdict::Invalidated));
    for position in 2..4 {
        apply(&node, position, "other");
        assert_eq!(verdict(&node, link(1, position)), Some(Verdict::Invalidated), "{position}");
    }
    apply(&node, 4, "written");
    assert_eq!(verdict(&node, link(1, 3)), Some(Verdict::Invalidated));
    assert_eq!(
        verdict(&node, link(1, 4)),
        Some(Verdict::Fresh),
        "whoever stamps its record has seen the write"
    );
    apply(&node, 5, "other");
    assert_eq!(verdict(&node, link(1, 5)), Some(Verdict::Fresh), "and it stands no longer");
}

#[test]
fn a_fence_for_a_record_that_has_been_applied_is_none() {
    let node = node();
    apply(&node, 1, "written");
    node.fence_until(written(), link(1, 1));
    assert_eq!(verdict(&node, link(1, 1)), Some(Verdict::Fresh));
}

#[test]
fn what_is_queued_stands_through_records_and_a_new_start_until_it_is_queued_no_more() {
    let node = node();
    let fenced = node.fence(&written());
    node.fence_queued(written(), fenced);
    apply(&node, 1, "other");
    assert_eq!(verdict(&node, link(1, 1)), Some(Verdict::Invalidated));
    node.adopt(link(1, 7), &[]);
    assert_eq!(verdict(&node, link(1, 7)), Some(Verdict::Invalidated));
    node.fence_queued(Arc::new([]), None);
    apply(&node, 8, "other");
    assert_eq!(verdict(&node, link(1, 8)), Some(Verdict::Fresh));
}

#[test]
fn another_epoch_ends_what_was_awaited_in_the_one_before() {
    let node = node();
    node.fence_until(written(), link(1, 4));
    node.adopt(link(2, 4), &[]);
    // Whatever carries a stamp of the new epoch was loaded after it began, and so after the write.
    assert_eq!(verdict(&node, link(2, 4)), Some(Verdict::Fresh));
}

#[test]
fn what_is_queued_stays_as_it_was_fenced_when_nothing_has_been_applied_since() {
    // A put that could not be recorded keeps its value: it was born with the fence itself.
    let node = node();
    let fenced = node.fence(&written()).unwrap();
    node.fence_queued(written(), Some(fenced));
    assert_eq!(node.birth().unwrap().local, fenced.local);
}

#[test]
fn another_record_in_the_place_of_an_awaited_one_is_a_gap() {
    // The journal took this node's record, lost it, and gave its place away: nobody else may ever learn of it.
    let node = node();
    let mine = Link { nonce: 99, ..link(1, 1) };
    node.fence_until(written(), mine);
    let other = Record {
        link: link(1, 1),
        act: Act::Invalidate,
        targets: vec![target("other")],
        cause: Cause::default(),
    };
    assert!(node.apply(&other).is_err());
    assert_eq!(node.lease().load().since(), None);
    assert_eq!(node.awaited(), [mine]);
}

#[test]
fn too_many_awaited_records_fence_everything_until_the_last_of_them() {
    let node = node();
    for position in (2..=1026).rev() {
        node.fence_until(written(), link(1, position));
    }
    assert_eq!(node.awaited(), [link(1, 1026)], "whatever order the answers came in");
    apply(&node, 1, "other");
    assert_eq!(verdict(&node, link(1, 1)), Some(Verdict::Invalidated));
}

#[test]
fn a_record_of_a_history_that_is_over_is_awaited_no_more() {
    // Its writer had moved on to another history before it heard where the record had been.
    let node = node();
    node.fence_until(written(), link(7, 4));
    assert_eq!(node.awaited(), [link(7, 4)]);
    node.forget_foreign(&[link(7, 4)], link(1, 0));
    assert!(node.awaited().is_empty());
}

/// A writer's record was lost, and the node found out only if it had not gone on for so long that it had forgotten the
/// record's place: it said that the write was done, and others served what was there before.
#[test]
fn a_record_that_is_looked_out_for_is_missed_however_much_follows() {
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 2), &[]);
    assert_eq!(node.expect(link(1, 3)), Expected::ToCome);
    assert_eq!(node.awaited(), [link(1, 3)]);
    let other = Link { nonce: 99, ..link(1, 3) };
    let targets = vec![target("another")];
    let in_its_place = Record { link: other, act: Act::Invalidate, targets, cause: Cause::default() };
    assert!(node.apply(&in_its_place).is_err());
    apply(&node, 3, "written");
    assert!(node.awaited().is_empty(), "it has been applied");
    assert_eq!(node.expect(link(1, 3)), Expected::ToCome, "and is known");
    assert_eq!(node.expect(other), Expected::Lost);
    assert_eq!(node.expect(link(1, 1)), Expected::Forgotten);
}

#[test]
fn a_record_that_was_passed_over_is_not_forgotten() {
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 2), &[]);
    assert_eq!(node.expect(link(1, 3)), Expected::ToCome);
    // Its place is dropped before this node has read it.
    node.adopt(link(1, 40), &[]);
    assert_eq!(node.skipped(), Some(link(1, 3)));
    node.adopt(link(1, 50), &[]);
    assert_eq!(node.skipped(), Some(link(1, 3)), "as long as that history goes on");
    node.adopt(link(2, 50), &[]);
    assert_eq!(node.skipped(), None);
}
