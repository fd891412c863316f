//! The promise of `Bounded`, with a journal, a follower and readers on threads of their own: a read that begins the
//! bound or more after a record was acknowledged never takes what that record names.

use crate::history::{History, Naming, key_of_all};
use crate::paced::{Pace, Place};
use larder_core::{Bound, Fences, Level, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RECORDS: u64 = 4_000;
const READERS: usize = 2;
/// In ticks of the clock; a look at it is one.
const BOUND: u64 = 300;
/// Records the follower may be behind.
const BEHIND_MAX: u64 = 40;

struct Run {
    node: Fences,
    history: History,
    clock: AtomicU64,
    /// The journal's newest record.
    head: AtomicU64,
    /// When each record's writer was told that it is in the journal; 0 before.
    told: Vec<AtomicU64>,
}

impl Run {
    /// Never twice the same, and later for whoever looks later.
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn append_all(&self) {
        for n in 1..=RECORDS {
            self.head.store(n, Ordering::SeqCst);
            self.told[n as usize].store(self.now(), Ordering::SeqCst);
            while n > self.node.head().unwrap().position + BEHIND_MAX {
                std::thread::yield_now();
            }
        }
    }

    /// Renews the lease until everything is applied, in the order the design fixes.
    fn follow(&self, pace: &Pace) {
        let mut applied = 0;
        while applied < RECORDS {
            let t0 = self.now();
            let head = self.head.load(Ordering::SeqCst);
            for n in applied + 1..=head {
                self.node.apply(&self.history.record(n, 0)).unwrap();
            }
            applied = head;
            self.node.lease().extend(t0);
            pace.wait();
        }
        pace.end();
    }

    /// Returns how many reads took their entry, and how many did not because of the lease.
    fn read(&self, place: &Place<'_>, seed: u64) -> (u64, u64) {
        let bound = Bound::from(Level::Bounded(Duration::from_nanos(BOUND)));
        let (mut taken, mut unconfirmed) = (0, 0);
        let mut round = seed;
        while place.again() {
            round += 1;
            let birth = self.node.birth().unwrap();
            let tag = self.history.tag(round, birth.stamp.position);
            let (dependencies, checked) = (self.history.dependencies(&self.node, tag), AtomicU64::new(0));
            // Looked at until it is refused for good, or for a while.
            for _ in 0..200 {
                let began = self.now();
                // The order of a hit: the lease, the entry and the rule, the clock.
                let confirmed = self.node.lease().load();
                let verdict = self.node.check(birth, &dependencies, &checked, key_of_all);
                let verdict = bound.admit(confirmed, verdict, self.now());
                match verdict {
                    Verdict::Fresh => taken += 1,
                    Verdict::Unconfirmed => unconfirmed += 1,
                    _ => break,
                }
                if verdict.is_fresh() {
                    self.judge(tag, birth.stamp.position, began);
                }
            }
        }
        (taken, unconfirmed)
    }

    /// A read that began then took an entry born there.
    fn judge(&self, tag: u64, born: u64, began: u64) {
        let newest = self.history.last_named(tag, self.head.load(Ordering::SeqCst));
        let mut n = newest;
        while n > born {
            let told = self.told[n as usize].load(Ordering::SeqCst);
            assert!(
                told == 0 || began < told + BOUND,
                "born at {born}, read at {began}: record {n} was acknowledged at {told}"
            );
            n = self.history.last_named(tag, n - 1);
        }
    }
}

#[test]
fn a_read_that_begins_the_bound_after_an_acknowledgement_never_takes_an_older_entry() {
    let run = Run {
        node: Fences::new(6, 1 << 16),
        history: History::new(RECORDS, Naming::Tags(8), u64::MAX),
        clock: AtomicU64::new(1),
        head: AtomicU64::new(0),
        told: (0..=RECORDS).map(|_| AtomicU64::new(0)).collect(),
    };
    run.node.adopt(run.history.before(1));
    let pace = Pace::of(READERS);
    let (taken, unconfirmed) = std::thread::scope(|scope| {
        let run = &run;
        let readers: Vec<_> = pace
            .places()
            .zip(1u64..)
            .map(|(place, reader)| scope.spawn(move || run.read(&place, reader << 40)))
            .collect();
        scope.spawn(|| run.append_all());
        run.follow(&pace);
        readers.into_iter().map(|reader| reader.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    assert!(taken > 1000 && unconfirmed > 100, "{taken} taken, {unconfirmed} unconfirmed");
}
