//! The promise of `Bounded`, with a journal, a follower and readers on threads of their own: a read that begins the
//! bound or more after a record was acknowledged never takes what that record names.

use crate::history::{History, Naming, key_of_all};
use crate::paced::{Pace, Place};
use larder_core::{Bound, Fences, Level, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RECORDS: u64 = 4_000;
const READERS: usize = 2;
/// In ticks of the clock, which only the follower moves.
const BOUND: u64 = 300;
/// How long the journal's answer takes.
const LATENCY: u64 = 200;
/// Records the follower may be behind.
const BEHIND_MAX: u64 = 40;
/// Looks at one entry.
const LOOKS: usize = 200;

struct Run {
    node: Fences,
    history: History,
    clock: AtomicU64,
    /// The journal's newest record.
    head: AtomicU64,
    /// When each record's writer was told that it is in the journal; 0 before.
    told: Vec<AtomicU64>,
}

/// How often readers took an entry, of these one that was named in the journal already, and refused one for the lease.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    late: u64,
    unconfirmed: u64,
}

impl Run {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn append_all(&self, pace: &Pace) {
        for n in 1..=RECORDS {
            self.head.store(n, Ordering::SeqCst);
            self.told[n as usize].store(self.now(), Ordering::SeqCst);
            while n > self.node.head().unwrap().position + BEHIND_MAX && !pace.is_over() {
                std::thread::yield_now();
            }
        }
    }

    /// Renews the lease until everything is applied, in the order the design fixes; each time late, so that readers see
    /// the lease new, about to end, and ended.
    fn follow(&self, pace: &Pace) {
        let _until_dropped = pace.writer();
        let mut applied = 0;
        while applied < RECORDS {
            let t0 = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
            let head = self.head.load(Ordering::SeqCst);
            // The answer is on its way, and others go on appending.
            (0..3).for_each(|_| std::thread::yield_now());
            self.clock.store(t0 + LATENCY, Ordering::SeqCst);
            for n in applied + 1..=head {
                self.node.apply(&self.history.record(n, 0)).unwrap();
            }
            applied = head;
            self.node.lease().extend(t0);
            for now in [t0 + LATENCY, t0 + BOUND - 1, t0 + BOUND] {
                self.clock.store(now, Ordering::SeqCst);
                pace.wait();
            }
        }
    }

    fn read(&self, place: &Place<'_>, seed: u64) -> Tally {
        let bound = Bound::from(Level::Bounded(Duration::from_nanos(BOUND)));
        let mut tally = Tally::default();
        let mut round = seed;
        while place.again() {
            round += 1;
            let birth = self.node.birth().unwrap();
            let tag = self.history.tag(round, birth.stamp.position);
            let (dependencies, checked) = (self.history.dependencies(&self.node, tag), AtomicU64::new(0));
            // Looked at until it is refused for good, or for a while.
            for _ in 0..LOOKS {
                let began = self.now();
                // The order of a hit: the lease, the entry and the rule, the clock.
                let confirmed = self.node.lease().load();
                let verdict = self.node.check(birth, &dependencies, &checked, key_of_all);
                match bound.admit(confirmed, verdict, self.now()) {
                    Verdict::Fresh => {
                        tally.taken += 1;
                        tally.late += u64::from(self.judge(tag, birth.stamp.position, began));
                    }
                    Verdict::Unconfirmed => tally.unconfirmed += 1,
                    _ => break,
                }
            }
        }
        tally
    }

    /// A read that began then took an entry born there; whether something newer was in the journal.
    fn judge(&self, tag: u64, born: u64, began: u64) -> bool {
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
        newest > born
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
    run.node.adopt(run.history.before(1), &[]);
    let pace = Pace::of(READERS);
    let tallies = std::thread::scope(|scope| {
        let run = &run;
        let readers: Vec<_> = pace
            .places()
            .zip(1u64..)
            .map(|(place, reader)| scope.spawn(move || run.read(&place, reader << 40)))
            .collect();
        scope.spawn(|| run.append_all(&pace));
        run.follow(&pace);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    for tally in tallies {
        assert!(tally.taken > 100 && tally.late > 0 && tally.unconfirmed > 100, "{tally:?}");
    }
}
