//! The orders of the design that the core keeps: stamps (1), the rule (2), applying (4), and starting, restarting and
//! jumping (6). Each test is one history told step by step; `rule` draws them at random.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{
    Act, Birth, Cause, Epoch, Fences, Link, Path, Pattern, Record, Tag, Target, Tenant, Verdict, key, tag,
};
use std::sync::atomic::AtomicU64;

fn link(epoch: u128, position: u64) -> Link {
    Link { epoch: Epoch::new(epoch), position, nonce: position.wrapping_mul(31) }
}

fn record(epoch: u128, position: u64, targets: &[Target]) -> Record {
    Record {
        link: link(epoch, position),
        act: Act::Invalidate,
        targets: targets.to_vec(),
        cause: Cause::default(),
    }
}

/// A node that follows epoch 1 from its beginning and is confirmed.
fn node() -> Fences {
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 0), &[]);
    node.lease().extend(100);
    node
}

fn path(name: &str) -> Path {
    Path::of_region(&Tenant::common(), "r").below(&key![name])
}

fn branch() -> Tag {
    tag!["branch", 7u8]
}

/// What the rule says of an entry `name` that carries the branch's tag.
fn verdict(node: &Fences, born: Birth, name: &str) -> Verdict {
    let dependencies = node.dependencies(&path(name), &[branch()], &[]);
    node.check(born, &dependencies, &AtomicU64::new(0), || path(name))
}

/// Whoever appends applies its own record without asking, but only in its place.
#[test]
fn a_record_is_applied_after_the_place_it_followed_and_nowhere_else() {
    let node = node();
    let born = node.birth().unwrap();
    let (first, second) = (record(1, 1, &[Target::tag(branch())]), record(1, 2, &[other()]));
    assert!(!node.apply_after(link(1, 1), &second), "the first one is missing");
    let foreign = Link { nonce: 99, ..link(1, 0) };
    assert!(!node.apply_after(foreign, &first), "it followed something else");
    assert!(!node.apply_after(link(2, 0), &record(2, 1, &[other()])), "another history");
    assert!(!node.apply_after(link(1, 0), &second), "it does not follow what it is said to have followed");
    assert_eq!((node.head(), verdict(&node, born, "a")), (Some(link(1, 0)), Verdict::Fresh));
    assert!(node.apply_after(link(1, 0), &first));
    assert_eq!((node.head(), verdict(&node, born, "a")), (Some(link(1, 1)), Verdict::Invalidated));
    assert!(node.apply_after(link(1, 0), &first), "applied already");
    assert!(!Fences::new(7, 64).apply_after(link(1, 0), &first), "before any history was adopted");
    // A record of the node's own stood there, so that has been lost: not to be passed over in silence.
    node.fence_until([other()].into(), Link { nonce: 5, ..link(1, 2) });
    assert!(!node.apply_after(link(1, 1), &second));
}

fn other() -> Target {
    Target::key("r", key!["other"])
}

/// Order 1. Read old, invalidate, store old: the race every cache of the cache-aside kind has. The loader saw the
/// origin before the write; what it brings is stamped with what the node had applied before it looked.
#[test]
fn a_load_overtaken_by_a_record_is_dead_on_arrival_in_memory_and_in_every_store() {
    let node = node();
    let born = node.birth().unwrap();
    node.apply(&record(1, 1, &[Target::tag(branch())])).unwrap();
    assert_eq!(verdict(&node, born, "a"), Verdict::Invalidated);
    assert_eq!(verdict(&node, node.locate(born.stamp).unwrap(), "a"), Verdict::Invalidated);
    assert_eq!(verdict(&node, node.birth().unwrap(), "a"), Verdict::Fresh);
}

/// Order 1. Promotion never re-stamps: what comes from a store keeps its stamp, however new the node is.
#[test]
fn a_stamp_found_in_a_store_is_kept_as_it_was() {
    let node = node();
    node.apply(&record(1, 1, &[other()])).unwrap();
    let stored = node.birth().unwrap().stamp;
    node.apply(&record(1, 2, &[Target::tag(branch())])).unwrap();
    let found = node.locate(stored).unwrap();
    assert_eq!(found.stamp, stored);
    assert!(found.local < node.birth().unwrap().local);
    assert_eq!(verdict(&node, found, "a"), Verdict::Invalidated);
}

/// Order 1. What is built from others is as old as the oldest, in memory and by its stamp.
#[test]
fn the_older_of_two_births_is_older_by_both_its_numbers() {
    let node = node();
    let old = node.birth().unwrap();
    node.apply(&record(1, 1, &[other()])).unwrap();
    let new = node.birth().unwrap();
    assert_eq!(old.min(new), old);
    assert_eq!(new.min(old), old);
    assert_eq!(new.min(new), new);
}

/// Order 2. 7 begins 71 as text, and not as a segment.
#[test]
fn prefixes_reach_by_segment_and_never_by_text() {
    let node = node();
    let born = node.birth().unwrap();
    node.apply(&record(1, 1, &[Target::prefix("r", key!["7"])])).unwrap();
    assert_eq!(verdict(&node, born, "71"), Verdict::Fresh);
    assert_eq!(verdict(&node, born, "7"), Verdict::Invalidated);
}

/// Order 2, for a node that has no history: it knows nothing, so it trusts nothing.
#[test]
fn before_any_history_everything_is_a_miss() {
    let node = Fences::new(7, 1024);
    node.lease().extend(100);
    assert_eq!((node.birth(), node.head(), node.locate(link(1, 0))), (None, None, None));
    node.fence(&[other()]);
    for local in 0..10 {
        assert_eq!(verdict(&node, Birth { stamp: link(1, 0), local }, "a"), Verdict::BelowFloor);
    }
    assert!(node.apply(&record(1, 1, &[other()])).is_err());
    assert_eq!(node.lease().load().since(), None);
}

/// Order 4. All a record names applies, by every kind of name, and nothing else does.
#[test]
fn a_record_applies_to_everything_it_names_and_to_nothing_else() {
    let kinds = [
        Target::everything(),
        Target::key("r", key!["a"]),
        Target::region("r"),
        Target::prefix("r", key!["a"]),
        Target::tag(branch()),
        Target::pattern("r", Pattern::parse("?").unwrap()),
    ];
    for (place, kind) in (0..3).flat_map(|place| kinds.iter().map(move |kind| (place, kind))) {
        let node = node();
        let born = node.birth().unwrap();
        let mut targets = vec![other(), Target::tag(tag!["branch", 8u8])];
        node.apply(&record(1, 1, &targets)).unwrap();
        assert_eq!(verdict(&node, born, "a"), Verdict::Fresh, "{targets:?}");
        targets.insert(place, kind.clone());
        node.apply(&record(1, 2, &targets)).unwrap();
        assert_eq!(verdict(&node, born, "a"), Verdict::Invalidated, "{targets:?}");
        assert_eq!(verdict(&node, node.birth().unwrap(), "a"), Verdict::Fresh, "{targets:?}");
    }
}

/// Order 4. Whatever does not follow: the lease goes, and nothing else changes.
#[test]
fn a_record_that_does_not_follow_takes_the_lease_and_changes_nothing() {
    let rewound = Record { link: Link { nonce: 1, ..link(1, 1) }, ..record(1, 1, &[]) };
    for misfit in [record(1, 3, &[]), record(2, 2, &[]), record(2, 1, &[]), rewound] {
        let node = node();
        let born = node.birth().unwrap();
        node.apply(&record(1, 1, &[other()])).unwrap();
        let before = node.birth();
        node.lease().extend(200);
        let misfit = Record { targets: vec![Target::everything()], ..misfit };
        let gap = node.apply(&misfit).unwrap_err();
        assert!(gap.to_string().contains("does not follow 1@"), "{gap}");
        assert_eq!(node.lease().load().since(), None, "{misfit:?}");
        assert_eq!(node.birth(), before);
        assert_eq!(verdict(&node, born, "a"), Verdict::Fresh);
    }
}

/// Order 4. Records are delivered again after a reconnect; that is no reason to distrust anything, nor to miss.
#[test]
fn a_record_applied_already_changes_nothing_and_leaves_the_lease() {
    let node = node();
    node.apply(&record(1, 1, &[Target::tag(branch())])).unwrap();
    let born = node.birth().unwrap();
    node.apply(&record(1, 2, &[other()])).unwrap();
    let before = node.birth();
    for position in [1, 2] {
        node.apply(&record(1, position, &[Target::everything()])).unwrap();
    }
    assert_eq!(node.birth(), before);
    assert_eq!(node.lease().load().since(), Some(100));
    assert_eq!(verdict(&node, born, "a"), Verdict::Fresh);
}

/// Order 4. A check may take long, and a record may be applied during it. What the entry remembers of the check is as of
/// its beginning; otherwise the next hit would be served by one comparison, and so would all until the next record.
/// Here the record comes when the check asks for the key, to match it with a pattern.
#[test]
fn a_record_applied_during_a_check_is_seen_by_the_next_one() {
    let node = node();
    let born = node.birth().unwrap();
    let dependencies = node.dependencies(&path("a"), &[branch()], &[]);
    let checked = AtomicU64::new(0);
    node.apply(&record(1, 1, &[Target::pattern("r", Pattern::parse("b*").unwrap())])).unwrap();
    let during = node.check(born, &dependencies, &checked, || {
        node.apply(&record(1, 2, &[Target::tag(branch())])).unwrap();
        path("a")
    });
    assert_eq!(during, Verdict::Fresh, "as of when the check began");
    assert_eq!(node.check(born, &dependencies, &checked, || path("a")), Verdict::Invalidated);
}

/// Order 4. Between a write and its record a node fences what it wrote by itself. What it holds, and what a store holds
/// from before, is stale; what is loaded after is not. The fence is no record: the next one follows as if it were not.
#[test]
fn a_local_fence_covers_what_was_born_up_to_the_place_applied() {
    let node = node();
    node.apply(&record(1, 1, &[other()])).unwrap();
    let held = node.birth().unwrap();
    node.fence(&[Target::tag(branch())]);
    let after = node.birth().unwrap();
    assert_eq!(after.stamp, held.stamp);
    assert_eq!(verdict(&node, held, "a"), Verdict::Invalidated);
    assert_eq!(verdict(&node, node.locate(held.stamp).unwrap(), "a"), Verdict::Invalidated);
    assert_eq!(verdict(&node, after, "a"), Verdict::Fresh);
    assert_eq!(node.lease().load().since(), Some(100));
    node.apply(&record(1, 2, &[other()])).unwrap();
    assert_eq!(verdict(&node, node.locate(link(1, 2)).unwrap(), "a"), Verdict::Fresh);
}

/// Order 6. A process that starts again finds in its store what it knows to be good as of the place it adopted, and
/// nothing older, nor anything of another history that happens to have the same position.
#[test]
fn a_restart_is_warm_from_the_place_adopted_on() {
    let node = Fences::new(7, 1024);
    node.lease().extend(100);
    node.adopt(link(1, 40), &[]);
    assert_eq!(node.lease().load().since(), None, "the lease goes first");
    assert_eq!(node.head(), Some(link(1, 40)));
    assert_eq!(verdict(&node, node.locate(link(1, 40)).unwrap(), "a"), Verdict::Fresh);
    let strangers =
        [link(1, 39), link(1, 41), link(2, 40), Link { nonce: 1, ..link(1, 40) }, link(1, u64::MAX)];
    for stranger in strangers {
        assert_eq!(node.locate(stranger), None, "{stranger:?}");
    }
    node.apply(&record(1, 41, &[Target::tag(branch())])).unwrap();
    assert_eq!(verdict(&node, node.locate(link(1, 40)).unwrap(), "a"), Verdict::Invalidated);
    assert_eq!(verdict(&node, node.locate(link(1, 41)).unwrap(), "a"), Verdict::Fresh);
}

/// Order 6. Positions start again in another epoch, or go on beyond records nobody applied here: whatever was in
/// memory is below the floor, wherever its position lies.
#[test]
fn what_was_in_memory_before_a_jump_is_a_miss_whatever_its_position() {
    for to in [link(2, 0), link(2, 5), link(2, 900), link(1, 900), link(1, 2), link(1, 0)] {
        let node = node();
        (1..=5).for_each(|n| node.apply(&record(1, n, &[other()])).unwrap());
        let born = node.birth().unwrap();
        node.adopt(to, &[]);
        assert_eq!(verdict(&node, born, "a"), Verdict::BelowFloor, "{to}");
        assert_eq!(verdict(&node, node.birth().unwrap(), "a"), Verdict::Fresh, "{to}");
    }
}

/// Order 6. After a jump back to what the journal still holds, the records come again and mean what they meant.
#[test]
fn records_replayed_after_a_jump_back_still_invalidate_what_stores_hold() {
    let node = node();
    let told = [record(1, 1, &[other()]), record(1, 2, &[Target::tag(branch())]), record(1, 3, &[other()])];
    told.iter().for_each(|record| node.apply(record).unwrap());
    node.adopt(link(1, 0), &[]);
    told.iter().for_each(|record| node.apply(record).unwrap());
    let found = |position| verdict(&node, node.locate(link(1, position)).unwrap(), "a");
    assert_eq!([0, 1, 2, 3].map(found), {
        use Verdict::{Fresh, Invalidated};
        [Invalidated, Invalidated, Fresh, Fresh]
    });
}

/// A journal that is damaged may claim any position; the node neither fails nor takes what comes next for it.
#[test]
fn the_last_position_there_is_has_nothing_after_it() {
    let node = node();
    node.adopt(link(1, u64::MAX), &[]);
    assert_eq!(node.head(), Some(link(1, u64::MAX)));
    assert!(node.apply(&record(1, 0, &[other()])).is_err());
    assert!(node.locate(link(1, u64::MAX)).is_some());
}
