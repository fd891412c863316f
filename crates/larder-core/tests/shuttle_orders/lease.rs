//! The lease: a read that begins the bound or more after a record was acknowledged never takes what it names.

use crate::explorer::{Mutex, explore, thread};
use crate::node::{Entry, LARGE, Node, record, target};
use larder_core::{Bound, Confirmed, Level, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// In ticks.
const BOUND: u64 = 3;

/// The journal and the clock: one lock, since both are what everybody agrees on.
struct World {
    now: u64,
    head: u64,
    /// When the journal's record was acknowledged to its writer.
    acknowledged: Option<u64>,
}

struct Stage {
    node: Arc<Node>,
    world: Mutex<World>,
    bound: Bound,
}

impl Stage {
    /// The lease holds since tick 1, and nothing has been named.
    fn new() -> Arc<Self> {
        let node = Node::new(LARGE);
        node.fences.lease().extend(1);
        let bound = Bound::from(Level::Bounded(Duration::from_nanos(BOUND)));
        Arc::new(Stage { node, world: Mutex::new(World { now: 1, head: 0, acknowledged: None }), bound })
    }

    fn now(&self) -> u64 {
        self.world.lock().unwrap().now
    }

    /// A writer's record is in the journal, and the writer knows.
    fn append(&self) {
        let mut world = self.world.lock().unwrap();
        world.head = 1;
        world.acknowledged = Some(world.now);
    }

    fn pass(&self, ticks: u64) {
        self.world.lock().unwrap().now += ticks;
    }

    /// One renewal, in the order the design fixes.
    fn renew(&self) {
        let (t0, head) = {
            let world = self.world.lock().unwrap();
            (world.now, world.head)
        };
        if head == 1 {
            self.node.fences.apply(&record(1, &[target(1)])).unwrap();
        }
        self.node.fences.lease().extend(t0);
    }

    /// One hit; `lease_first` is the order the design fixes.
    fn hit(&self, entry: &Entry, lease_first: bool) -> Verdict {
        let lease = || self.node.fences.lease().load();
        let before: Option<Confirmed> = lease_first.then(lease);
        let verdict = self.node.verdict(entry);
        let confirmed = before.unwrap_or_else(lease);
        self.bound.admit(confirmed, verdict, self.now())
    }

    fn read(&self, entry: &Entry, lease_first: bool) {
        let began = self.now();
        let taken = self.hit(entry, lease_first).is_fresh();
        let acknowledged = self.world.lock().unwrap().acknowledged;
        assert!(
            !taken || acknowledged.is_none_or(|told| began < told + BOUND),
            "read at {began}, although a record named it that was acknowledged at {acknowledged:?}"
        );
    }
}

fn renewals_and_reads(lease_first: bool) {
    let stage = Stage::new();
    let entry = stage.node.entry(1);
    let following = stage.clone();
    stage.append();
    let follower = thread::spawn(move || {
        following.pass(BOUND);
        following.renew();
    });
    stage.read(&entry, lease_first);
    stage.read(&entry, lease_first);
    follower.join().unwrap();
}

#[test]
fn a_read_the_bound_after_an_acknowledgement_never_takes_what_was_named() {
    explore(|| renewals_and_reads(true));
}

/// The worst mistake of the design's first draft: a renewal in between blesses an old check.
#[test]
#[should_panic(expected = "although a record named it")]
fn a_lease_loaded_after_the_rule_is_found_to_break_the_bound() {
    explore(|| renewals_and_reads(false));
}

/// The lease goes before a gap is reported, so nobody trusts a state that is known to be behind.
#[test]
fn a_gap_takes_the_lease_before_it_is_reported() {
    explore(|| {
        let stage = Stage::new();
        let entry = stage.node.entry(1);
        let following = stage.clone();
        let follower = thread::spawn(move || {
            following.node.fences.apply(&record(2, &[])).unwrap_err();
            following.node.acknowledge(1);
        });
        let confirmed = stage.node.fences.lease().load();
        let verdict = stage.node.verdict(&entry);
        assert_eq!(verdict, Verdict::Fresh, "the rule knows of nothing");
        follower.join().unwrap();
        assert!(confirmed.since().is_none_or(|since| since == 1));
        assert_eq!(stage.node.fences.lease().load().since(), None);
    });
}
