//! What is drawn for a run before it begins: how large the world is, and what will go wrong in it.

use crate::fault::Fault;
use crate::sched::{MS, SECOND};
use fastrand::Rng;
use serde::Serialize;

/// How far behind a replica may be, at most, in nanoseconds.
pub(crate) const REPLICA_LAG_MAX: u64 = 2500 * MS;

/// How invalidations reach the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Capture {
    /// With the data, in its transaction.
    Outbox,
    /// By `invalidate` after the commit.
    Direct,
    /// Each write as it likes.
    Both,
}

impl Capture {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Capture::Outbox => "outbox",
            Capture::Direct => "direct",
            Capture::Both => "both",
        }
    }
}

/// Where the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalKind {
    /// With the data: what is committed is in both, and a failover of the one is a failover of the other.
    Beside,
    /// On a Redis server, which may lose what it took, and split.
    Redis,
}

impl JournalKind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            JournalKind::Beside => "beside",
            JournalKind::Redis => "redis",
        }
    }

    /// Whether this can happen where such a journal is.
    fn knows(self, fault: Fault) -> bool {
        match fault {
            Fault::JournalTailLoss | Fault::JournalEmptied | Fault::JournalRestored | Fault::JournalSplit => {
                self == JournalKind::Redis
            }
            // Then the data has lost what the journal names, and whoever runs it must invalidate everything.
            Fault::DbFailoverLoss => self == JournalKind::Beside,
            _ => true,
        }
    }
}

/// The options of a run. All follow from the seed, unless the command line says otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) nodes: u32,
    pub(crate) tenants: u32,
    pub(crate) rows: u32,
    /// Rows of a tenant that share a group, and so a tag and a prefix.
    pub(crate) group: u32,
    /// The level of the bounded regions, in milliseconds.
    pub(crate) bound_ms: u64,
    pub(crate) ttl_ms: u64,
    /// Operations per simulated second, of all nodes together.
    pub(crate) ops_per_s: u64,
    /// The share of operations that write.
    pub(crate) write_share: f64,
    pub(crate) journal: JournalKind,
    pub(crate) capture: Capture,
    pub(crate) store: bool,
    /// Simulated time with faults, and then without.
    pub(crate) faulty_ms: u64,
    pub(crate) quiet_ms: u64,
    /// Records the journal keeps.
    pub(crate) retention: u64,
    pub(crate) memory_kib: u64,
    /// Invalidated names a node remembers.
    pub(crate) targets_max: u64,
    /// How often faults strike, relative to usual.
    pub(crate) intensity: f64,
    pub(crate) loads_max: u64,
    /// Every so many rows one is only ever written under a guard; none when 0.
    pub(crate) guarded_every: u32,
    pub(crate) faults: Vec<Fault>,
}

impl Options {
    /// The full mix: each fault with an even chance, so that runs differ in which of them meet.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x0b71_0250);
        let journal = if rng.f64() < 0.4 { JournalKind::Redis } else { JournalKind::Beside };
        let mut faults: Vec<Fault> = Fault::ALL.into_iter().filter(|_| rng.f64() < 0.5).collect();
        faults.retain(|fault| journal.knows(*fault));
        let guarded_every = if loses_records(&faults) { 0 } else { *pick(&mut rng, &[0, 3, 5]) };
        Options {
            guarded_every,
            seed,
            nodes: rng.u32(2..=5),
            tenants: rng.u32(1..=2),
            rows: *pick(&mut rng, &[4, 8, 24, 60]),
            group: *pick(&mut rng, &[2, 4, 8]),
            bound_ms: *pick(&mut rng, &[100, 300, 1000]),
            ttl_ms: *pick(&mut rng, &[500, 5_000, 60_000]),
            ops_per_s: *pick(&mut rng, &[300, 1000]),
            write_share: *pick(&mut rng, &[0.02, 0.1, 0.3]),
            journal,
            capture: match pick(&mut rng, &[Capture::Outbox, Capture::Direct, Capture::Both]) {
                _ if journal == JournalKind::Redis => Capture::Direct,
                capture => *capture,
            },
            store: rng.f64() < 0.85,
            faulty_ms: 20_000,
            quiet_ms: if guarded_every > 0 { 20_000 } else { 14_000 },
            retention: *pick(&mut rng, &[40, 400, 10_000]),
            memory_kib: *pick(&mut rng, &[64, 512, 4096]),
            targets_max: *pick(&mut rng, &[16, 64, 4096]),
            intensity: *pick(&mut rng, &[0.3, 1.0, 3.0]),
            loads_max: *pick(&mut rng, &[4, 16]),
            faults,
        }
    }

    /// Five nodes at 1,000 operations a second: what speed is stated for.
    pub(crate) fn cluster(seed: u64, seconds: u64) -> Self {
        Options {
            nodes: 5,
            tenants: 2,
            rows: 60,
            group: 4,
            bound_ms: 1000,
            ttl_ms: 60_000,
            ops_per_s: 1000,
            write_share: 0.02,
            journal: JournalKind::Beside,
            capture: Capture::Both,
            store: true,
            faulty_ms: seconds * 1000,
            retention: 10_000,
            memory_kib: 4096,
            targets_max: 4096,
            intensity: 0.3,
            loads_max: 16,
            guarded_every: 0,
            ..Options::drawn(seed)
        }
        .possible()
    }

    /// Without the faults that cannot happen in such a world.
    pub(crate) fn possible(mut self) -> Self {
        let journal = self.journal;
        self.faults.retain(|fault| journal.knows(*fault));
        self
    }

    /// The largest bound of any region: how long waits for all nodes last.
    pub(crate) fn bound_max_ns(&self) -> u64 {
        if self.has(Fault::DbReplicaLag) { self.bound_ns().max(REPLICA_LAG_MAX) } else { self.bound_ns() }
    }

    pub(crate) fn bound_ns(&self) -> u64 {
        self.bound_ms * MS
    }

    /// Whether the journal may lose records that had been acknowledged.
    pub(crate) fn loses_records(&self) -> bool {
        loses_records(&self.faults)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// When faults stop.
    pub(crate) fn healed_at(&self) -> u64 {
        SECOND + self.faulty_ms * MS
    }

    /// When nodes look at everything for the last time.
    pub(crate) fn last_look_at(&self) -> u64 {
        // A guard nobody closed is closed by its expiry, and only then.
        let settles = if self.guarded_every > 0 { 14 } else { 8 };
        self.healed_at() + settles * SECOND + self.bound_ns()
    }

    /// The shortest quiet time in which nodes come to their last look.
    pub(crate) fn quiet_ms_least(&self) -> u64 {
        // Some for looking, and some for those who join after it.
        (self.last_look_at() + 5 * SECOND - self.healed_at()).div_ceil(MS)
    }

    /// Whether the run lasts until long after that.
    pub(crate) fn has_last_look(&self) -> bool {
        self.quiet_ms >= self.quiet_ms_least()
    }

    pub(crate) fn ends_at(&self) -> u64 {
        self.healed_at() + self.quiet_ms * MS
    }
}

/// A journal that loses the record of an open intent ends its promise, and says so nowhere.
fn loses_records(faults: &[Fault]) -> bool {
    let loses = [
        Fault::JournalTailLoss,
        Fault::JournalEmptied,
        Fault::JournalRestored,
        Fault::JournalSplit,
        Fault::DbFailoverLoss,
    ];
    loses.iter().any(|fault| faults.contains(fault))
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}
