//! What the core model's world consists of. Small numbers only: the state is copied and hashed millions of times.

/// Nodes at most.
pub(super) const NODES: usize = 2;
/// Readers at most, over all nodes.
pub(super) const READERS: usize = 2;
/// Writes at most.
pub(super) const WRITES: usize = 3;
/// Tags at most.
pub(super) const TAGS: usize = 2;
/// A floor above every position: nothing of the journal is known yet.
pub(super) const UNKNOWN: u8 = u8::MAX;

/// Everything there is. Times are ages in ticks or ticks left, never instants, so that the world has no end
/// and yet finitely many states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) origin: Origin,
    /// The journal's head. Record `p` is of write `p`.
    pub(super) head: u8,
    /// Who has the sequencer's lock.
    pub(super) lock: Option<Agent>,
    /// A process beside the nodes that runs the sequencer's step.
    pub(super) other: Renewal,
    pub(super) nodes: [Node; NODES],
    pub(super) store: Store,
    pub(super) readers: [Reader; READERS],
}

/// Who runs the sequencer's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Agent {
    Node(u8),
    Other,
}

/// The database: one row, whose value is the number of the write that made it; 0 in the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// Writes committed and visible.
    pub(super) committed: u8,
    /// A transaction has written and not yet committed.
    pub(super) dirty: bool,
    /// Some transaction has been rolled back.
    pub(super) aborted: bool,
    /// Writes acknowledged to their writers.
    pub(super) acked: u8,
    /// Ticks since the acknowledgement of each write, up to the bound.
    pub(super) ages: [u8; WRITES],
    /// Writes whose `write(..)` has returned: all nodes applied them or their leases have lapsed.
    pub(super) returned: u8,
}

/// A cached value. Its tag follows from the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    pub(super) value: u8,
    pub(super) born: u8,
    /// As of which position the rule last called it fresh.
    pub(super) checked: Option<u8>,
}

/// A store, with one earlier state it may fall back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) now: Option<Entry>,
    pub(super) before: Option<Entry>,
    pub(super) rolled_back: bool,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) applied: u8,
    /// `last[tag]`; 0: no slot.
    pub(super) last: [u8; TAGS],
    pub(super) floor: u8,
    /// Ticks of this node's clock left in the lease.
    pub(super) lease: u8,
    /// Ticks since this clock last stood still, as far as it matters.
    pub(super) steady: u8,
    pub(super) applier: Applier,
    pub(super) renewal: Renewal,
    /// Ticks of this node's clock since `t0` of the renewal under way, up to Δ.
    pub(super) age: u8,
    pub(super) memory: Option<Entry>,
    pub(super) restarted: bool,
}

/// Where the task is that applies records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Applier {
    /// Between records.
    #[default]
    Idle,
    /// Has raised the floor to make room for a slot.
    Floored,
    /// Has dropped a slot to make room.
    Dropped,
    /// Has raised the record's slot.
    Raised,
    /// Weakened: has published the record before its slot.
    Published,
    /// Does not know where it stands; the lease is revoked.
    Lost,
    /// Has one answer of the authority: the head.
    Answered(u8),
    /// Has raised the floor to it.
    Rebased(u8),
    /// Has emptied the slots.
    Emptied(u8),
}

/// Where a renewal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Renewal {
    #[default]
    Idle,
    /// `t0` is noted.
    Noted,
    /// Weakened: has looked at the rows and the head before it has the lock.
    Peeked { rows: u8, head: u8 },
    /// Weakened: has the lock after that.
    Overtaken { rows: u8, head: u8 },
    /// Has the sequencer's lock.
    Locked,
    /// Has its snapshot: this many writes are visible.
    Viewed(u8),
    /// The sequencer's step is done, the lock is free.
    Sequenced,
    /// The authority's head is known: it is to be applied before the lease is extended.
    Asked(u8),
    /// Weakened: the clock was read again when the answer came.
    Replied(u8),
}

/// One who reads, at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reader {
    pub(super) at: At,
    /// The oldest version `Bounded` allows this read.
    pub(super) due: u8,
    /// The newest version whose `write(..)` had returned when this read began.
    pub(super) returned: u8,
    /// The lease as it was loaded, in ticks left.
    pub(super) lease: u8,
    /// `applied` as it was loaded.
    pub(super) seen: u8,
    pub(super) entry: Option<Entry>,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum At {
    #[default]
    Idle,
    /// Has loaded the lease.
    Leased,
    /// Has an entry.
    Looked,
    /// Has loaded `applied`.
    Counted,
    /// The first half of the rule (slots, then floor) was passed.
    HalfJudged,
    /// Weakened: the rule was passed, the lease not yet loaded.
    Judged,
    /// The rule was passed; the clock is next.
    Ready,
    /// There is nothing to serve in memory.
    Missed,
    /// Waits for the load of another.
    Following,
    /// Its load has its stamp (or, weakened, its snapshot).
    Stamped,
    /// Its load has its value.
    Loaded,
    /// Memory is filled, the store is next.
    Filled,
}
