//! The configurations: which model, with which bounds, and what is said of them. Called by the module's front.

use super::check::{Checked, check};
use super::core::Core;
use super::failover::Failover;
use super::guard::Guard;
use super::replica::Replica;
use super::session::Session;
use super::weakening::Weakening;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The smallest bounds in which every weakening of the configuration is caught.
    Small,
    /// What a run without options explores.
    Standard,
    /// Minutes and gigabytes.
    Deep,
}

type Progress<'a> = &'a dyn Fn(usize);

/// One model with bounds.
pub(super) struct Configuration {
    pub(super) name: &'static str,
    /// What it has beside the writer, the journal and one node.
    pub(super) about: &'static str,
    run: fn(Option<Weakening>, Size, Progress<'_>) -> Checked,
    bounds: fn(Size) -> String,
}

impl Configuration {
    /// Explores it, weakened or not.
    pub(super) fn check(&self, weak: Option<Weakening>, size: Size, progress: Progress<'_>) -> Checked {
        (self.run)(weak, size, progress)
    }

    /// Its bounds in words.
    pub(super) fn bounds(&self, size: Size) -> String {
        (self.bounds)(size)
    }
}

/// A configuration of the core model: how many nodes, readers, writes, ticks, and what else there is.
macro_rules! core {
    ($name:literal, $about:literal, $of:path) => {
        Configuration {
            name: $name,
            about: $about,
            run: |weak, size, progress| check(Core { weak, ..$of(size) }, progress),
            bounds: |size| {
                let core = $of(size);
                format!(
                    "{} writes, Δ {}, {} nodes, {} readers, {} tags",
                    core.writes,
                    core.delta,
                    core.nodes,
                    core.readers.len(),
                    core.tags
                )
            },
        }
    };
}

/// All of them.
pub(super) const ALL: &[Configuration] = &[
    core!("hit", "two readers, flights with followers, the memo of the rule", hit),
    core!("sequencer", "commits sequenced later, two processes that run the sequencer's step", sequencer),
    core!("store", "a second node that fills a store, which loses and rolls back", store),
    core!("start", "a second node that fills a store, a first that restarts", start),
    core!("tags", "dynamic tags, fewer slots than tags", tags),
    core!("gaps", "dynamic tags, records out of order, records that cannot be applied", gaps),
    core!("transactions", "open transactions, rollbacks, loads inside, dynamic tags", transactions),
    core!("drift", "a clock that loses one tick in three", drift),
    core!("returns", "write(..) that returns after acks or Δ", returns),
    Configuration {
        name: "guard",
        about: "write guards of two writers that may die",
        run: |weak, size, progress| check(Guard { weak, ..guard(size) }, progress),
        bounds: |size| guard_bounds(&guard(size)),
    },
    Configuration {
        name: "guard-start",
        about: "a write guard, a node that restarts",
        run: |weak, size, progress| check(Guard { weak, ..guard_start(size) }, progress),
        bounds: |size| guard_bounds(&guard_start(size)),
    },
    Configuration {
        name: "session",
        about: "tokens of a session that moves between two nodes",
        run: |weak, size, progress| check(Session { weak, ..session(size) }, progress),
        bounds: |size| format!("{} writes, 2 nodes, 1 session, 1 other reader", session(size).writes),
    },
    Configuration {
        name: "replica",
        about: "loads from a lagging replica, hold-off, a follower",
        run: |weak, size, progress| check(Replica { weak, ..replica(size) }, progress),
        bounds: |size| replica_bounds(&replica(size)),
    },
    Configuration {
        name: "replay",
        about: "loads that read the replica's position",
        run: |weak, size, progress| check(Replica { weak, ..replay(size) }, progress),
        bounds: |size| replica_bounds(&replay(size)),
    },
    Configuration {
        name: "failover",
        about: "a journal that loses its tail, both nodes write, one loads",
        run: |weak, size, progress| check(Failover { weak, ..failover(size) }, progress),
        bounds: |size| failover_bounds(&failover(size)),
    },
    Configuration {
        name: "failovers",
        about: "two failovers, the second may bring back the first epoch",
        run: |weak, size, progress| check(Failover { weak, ..failovers(size) }, progress),
        bounds: |size| failover_bounds(&failovers(size)),
    },
    Configuration {
        name: "empty",
        about: "a journal that may come back empty, entries without stamps",
        run: |weak, size, progress| check(Failover { weak, ..empty(size) }, progress),
        bounds: |size| failover_bounds(&empty(size)),
    },
    Configuration {
        name: "database",
        about: "journal and origin lose their tail together",
        run: |weak, size, progress| check(Failover { weak, ..database(size) }, progress),
        bounds: |size| failover_bounds(&database(size)),
    },
];

fn hit(size: Size) -> Core {
    let base = Core { nodes: 1, tags: 1, slots: 1, flights: true, memo: true, ..Core::default() };
    match size {
        Size::Small => Core { readers: &[0, 0], writes: 1, delta: 1, ..base },
        Size::Standard => Core { readers: &[0, 0], writes: 2, delta: 2, ..base },
        Size::Deep => Core { readers: &[0, 0], writes: 3, delta: 1, ..base },
    }
}

fn sequencer(size: Size) -> Core {
    let base =
        Core { nodes: 1, readers: &[0], tags: 1, slots: 1, sequencer: true, other: true, ..Core::default() };
    match size {
        Size::Small => Core { writes: 1, delta: 1, ..base },
        Size::Standard => Core { writes: 3, delta: 2, ..base },
        // Two full nodes that wait for each other's sequencer step, readers at both.
        Size::Deep => Core { nodes: 2, readers: &[0, 1], writes: 1, delta: 1, other: false, ..base },
    }
}

fn store(size: Size) -> Core {
    let base =
        Core { nodes: 2, readers: &[0, 1], tags: 1, slots: 1, delta: 1, store: true, ..Core::default() };
    match size {
        Size::Small => Core { writes: 1, loaders: 0b10, lookers: true, rollback: true, ..base },
        Size::Standard => Core { writes: 2, loaders: 0b10, lookers: true, rollback: true, ..base },
        // Both nodes do everything: hit, load, fill, promote, renew.
        Size::Deep => Core { writes: 1, ..base },
    }
}

fn start(size: Size) -> Core {
    let base = Core {
        nodes: 2,
        readers: &[0, 1],
        loaders: 0b10,
        lookers: true,
        tags: 1,
        slots: 1,
        delta: 1,
        ..Core::default()
    };
    let base = Core { store: true, restart: true, ..base };
    match size {
        Size::Small => Core { writes: 1, ..base },
        Size::Standard => Core { writes: 2, ..base },
        Size::Deep => Core { writes: 2, delta: 2, ..base },
    }
}

fn tags(size: Size) -> Core {
    let base = Core { nodes: 1, tags: 2, slots: 1, delta: 1, ..Core::default() };
    match size {
        Size::Small => Core { readers: &[0], writes: 3, ..base },
        Size::Standard => Core { readers: &[0, 0], writes: 3, ..base },
        Size::Deep => Core { readers: &[0, 0], writes: 3, delta: 2, ..base },
    }
}

fn gaps(size: Size) -> Core {
    let base = Core { nodes: 1, readers: &[0], tags: 2, slots: 2, delta: 1, gaps: true, ..Core::default() };
    match size {
        Size::Small => Core { writes: 2, ..base },
        Size::Standard => Core { writes: 3, ..base },
        Size::Deep => Core { readers: &[0, 0], writes: 3, ..base },
    }
}

fn transactions(size: Size) -> Core {
    let base = Core { nodes: 1, tags: 2, slots: 2, transactions: true, ..Core::default() };
    match size {
        Size::Small => Core { readers: &[0, 0], writes: 1, delta: 1, ..base },
        Size::Standard => Core { readers: &[0, 0], writes: 2, delta: 2, ..base },
        Size::Deep => Core { readers: &[0, 0], writes: 3, delta: 2, ..base },
    }
}

fn drift(size: Size) -> Core {
    let base = Core { nodes: 1, readers: &[0], tags: 1, slots: 1, drift: 3, margin: 1, ..Core::default() };
    match size {
        Size::Small => Core { writes: 1, delta: 2, ..base },
        Size::Standard => Core { writes: 2, delta: 2, ..base },
        Size::Deep => Core { readers: &[0, 0], writes: 2, delta: 2, ..base },
    }
}

fn returns(size: Size) -> Core {
    let base = Core { nodes: 2, readers: &[0], tags: 1, slots: 1, returns: true, ..Core::default() };
    match size {
        Size::Small => Core { writes: 1, delta: 1, ..base },
        Size::Standard => Core { writes: 2, delta: 2, ..base },
        Size::Deep => Core { readers: &[0, 1], writes: 2, delta: 1, ..base },
    }
}

fn guard(size: Size) -> Guard {
    let base = Guard { weak: None, writers: 2, delta: 1, deadline: 2, mortal: true, restart: false };
    match size {
        Size::Small => Guard { mortal: false, ..base },
        Size::Standard => base,
        Size::Deep => Guard { delta: 2, deadline: 3, restart: true, ..base },
    }
}

fn guard_start(size: Size) -> Guard {
    let base = Guard { weak: None, writers: 1, delta: 1, deadline: 2, mortal: true, restart: true };
    match size {
        Size::Small => base,
        Size::Standard | Size::Deep => Guard { delta: 2, deadline: 3, ..base },
    }
}

fn guard_bounds(guard: &Guard) -> String {
    format!(
        "{} writers, Δ {}, deadline {}, 1 node, 1 reader, 1 loader",
        guard.writers, guard.delta, guard.deadline
    )
}

fn session(size: Size) -> Session {
    match size {
        Size::Small => Session { weak: None, writes: 1 },
        Size::Standard => Session { weak: None, writes: 2 },
        Size::Deep => Session { weak: None, writes: 3 },
    }
}

fn replica(size: Size) -> Replica {
    let base = Replica { weak: None, writes: 2, delta: 1, lag: 2, replay: false };
    match size {
        Size::Small => base,
        Size::Standard => Replica { writes: 3, ..base },
        Size::Deep => Replica { writes: 3, delta: 2, lag: 3, ..base },
    }
}

fn replay(size: Size) -> Replica {
    let base = Replica { weak: None, writes: 2, delta: 2, lag: 2, replay: true };
    match size {
        Size::Small => Replica { delta: 1, ..base },
        Size::Standard => base,
        Size::Deep => Replica { writes: 3, lag: 3, ..base },
    }
}

fn replica_bounds(replica: &Replica) -> String {
    format!("{} writes, Δ {}, lag {}, 1 node, 1 reader, 1 loader", replica.writes, replica.delta, replica.lag)
}

fn failover(size: Size) -> Failover {
    let base = Failover { writes: 2, delta: 1, failovers: 1, ..Failover::default() };
    match size {
        Size::Small | Size::Standard => base,
        Size::Deep => Failover { delta: 2, both_load: true, ..base },
    }
}

fn failovers(size: Size) -> Failover {
    let base = Failover { delta: 1, failovers: 2, one_writer: true, ..Failover::default() };
    match size {
        Size::Small => Failover { writes: 1, ..base },
        Size::Standard => Failover { writes: 1, one_writer: false, both_load: true, ..base },
        Size::Deep => Failover { writes: 2, ..base },
    }
}

fn empty(size: Size) -> Failover {
    let base = Failover {
        delta: 1,
        failovers: 1,
        empty: true,
        foreign: true,
        one_writer: true,
        ..Failover::default()
    };
    match size {
        Size::Small => Failover { writes: 1, ..base },
        Size::Standard => Failover { writes: 2, ..base },
        Size::Deep => Failover { writes: 2, one_writer: false, ..base },
    }
}

fn database(size: Size) -> Failover {
    let base = Failover { writes: 2, delta: 1, failovers: 1, database: true, ..Failover::default() };
    match size {
        Size::Small => Failover { one_writer: true, ..base },
        Size::Standard => base,
        Size::Deep => Failover { writes: 3, one_writer: true, ..base },
    }
}

fn failover_bounds(failover: &Failover) -> String {
    format!(
        "{} writes, Δ {}, {} failovers, 2 nodes, 1 reader, 1 loader",
        failover.writes, failover.delta, failover.failovers
    )
}
