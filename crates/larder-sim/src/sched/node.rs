//! Nodes as the scheduler sees them: processes that can be paused, killed and started again, each with a clock.

use super::task::TaskId;
use super::{Sim, Time};
use larder_core::seeded_bug;

/// A process, or rather its place: it keeps its number when it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

impl NodeId {
    /// What runs on no node: users, faults, the oracle. Never paused, never killed.
    pub(crate) const WORLD: NodeId = NodeId(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == NodeId::WORLD { f.pad("world") } else { f.pad(&format!("n{}", self.0)) }
    }
}

pub(super) struct Node {
    /// Which of its lives it is in.
    pub(super) life: u32,
    pub(super) is_dead: bool,
    pub(super) is_paused: bool,
    paused_at: Time,
    /// Tasks that became ready while it was paused.
    pub(super) parked: Vec<TaskId>,
    /// Parts in a million its clock runs too fast (or slow).
    drift_ppm: i64,
    /// How far its cheap clock has jumped ahead since it was last set right.
    ahead: u64,
    /// When `drift_ppm` was set, and what the clock showed then.
    since: (Time, u64),
    /// What its wall clock is off by, in milliseconds.
    pub(super) wall_off_ms: i64,
}

impl Node {
    pub(super) fn new() -> Self {
        Node {
            life: 0,
            is_dead: false,
            is_paused: false,
            paused_at: 0,
            parked: Vec::new(),
            drift_ppm: 0,
            ahead: 0,
            since: (0, 0),
            wall_off_ms: 0,
        }
    }

    pub(super) fn clock(&self, now: Time) -> u64 {
        let (then, shown) = self.since;
        let passed = now.saturating_sub(then) as i64;
        // In two parts, so that the product fits.
        let drifted = passed / 1_000_000 * self.drift_ppm + passed % 1_000_000 * self.drift_ppm / 1_000_000;
        shown.wrapping_add_signed(passed + drifted)
    }
}

impl Sim {
    fn with_node<T>(&self, node: NodeId, look: impl FnOnce(&mut Node, Time) -> T) -> T {
        self.with(|state| look(&mut state.nodes[node.index()], state.now))
    }

    /// A new node, alive, its clock showing `clock`.
    pub(crate) fn add_node(&self, clock: u64) -> NodeId {
        self.with(|state| {
            let mut node = Node::new();
            node.since = (state.now, clock);
            state.nodes.push(node);
            NodeId((state.nodes.len() - 1) as u32)
        })
    }

    /// Whether a node is alive, and in this life.
    pub(crate) fn lives(&self, node: NodeId, life: u32) -> bool {
        self.with_node(node, |node, _| !node.is_dead && node.life == life)
    }

    pub(crate) fn is_running(&self, node: NodeId) -> bool {
        self.with_node(node, |node, _| !node.is_dead && !node.is_paused)
    }

    /// Stops a node's tasks where they stand.
    pub(crate) fn pause(&self, node: NodeId) {
        self.with_node(node, |node, now| {
            node.is_paused = true;
            node.paused_at = now;
        });
    }

    pub(crate) fn resume(&self, node: NodeId) {
        let mut parked = self.with_node(node, |node, now| {
            if node.is_paused && seeded_bug!("clock_stops_in_suspend") {
                node.since.1 = node.since.1.saturating_sub(now - node.paused_at);
            }
            node.is_paused = false;
            std::mem::take(&mut node.parked)
        });
        self.with(|state| state.ready.append(&mut parked));
    }

    /// Drops all of a node's tasks. What they do while they are dropped, a dead process would not do: fakes ignore the dead.
    pub(crate) fn kill(&self, node: NodeId) {
        let life = self.with_node(node, |node, _| {
            node.is_dead = true;
            node.is_paused = false;
            node.parked.clear();
            node.life
        });
        let killed = self.with(|state| state.tasks.kill(node, life));
        drop(killed);
    }

    /// Starts a dead node again; returns the number of its new life.
    pub(crate) fn revive(&self, node: NodeId) -> u32 {
        self.with_node(node, |node, _| {
            node.is_dead = false;
            node.life += 1;
            node.life
        })
    }

    /// What a node's monotonic clock shows. It counts suspend, and drifts.
    pub(crate) fn clock_of(&self, node: NodeId) -> u64 {
        self.with_node(node, |node, now| node.clock(now) + node.ahead)
    }

    /// What it would show had it never jumped.
    pub(crate) fn trusted_clock_of(&self, node: NodeId) -> u64 {
        self.with_node(node, |node, now| node.clock(now))
    }

    /// A node's cheap clock jumps ahead, until somebody compares it with the trusted one.
    pub(crate) fn jump_clock(&self, node: NodeId, by: u64) {
        self.with_node(node, |node, _| node.ahead += by);
    }

    /// Compares a node's clocks; whether the cheap one was right.
    pub(crate) fn set_clock_right(&self, node: NodeId) -> bool {
        self.with_node(node, |node, _| std::mem::take(&mut node.ahead) == 0)
    }

    /// What a node's wall clock shows, in milliseconds.
    pub(crate) fn wall_ms_of(&self, node: NodeId) -> u64 {
        self.with_node(node, |node, now| {
            let true_ms = (now / super::MS) as i64 + 1_700_000_000_000;
            (true_ms + node.wall_off_ms) as u64
        })
    }

    /// From now on a node's clock runs this many parts in a million too fast.
    pub(crate) fn set_drift(&self, node: NodeId, ppm: i64) {
        self.with_node(node, |node, now| {
            node.since = (now, node.clock(now));
            node.drift_ppm = ppm;
        });
    }

    /// Sets a node's wall clock off by so much.
    pub(crate) fn set_wall_off(&self, node: NodeId, off_ms: i64) {
        self.with_node(node, |node, _| node.wall_off_ms = off_ms);
    }
}
