//! Nodes as the scheduler sees them: processes that can be paused, killed and started again, each with a clock.

use super::task::TaskId;
use super::{Sim, Time};
use larder_core::port::BoxFuture;
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
        let passed = now.saturating_sub(then) as i128;
        (shown as i128 + passed + passed * i128::from(self.drift_ppm) / 1_000_000) as u64
    }
}

impl Sim {
    /// A new node, alive, its clock showing `clock`.
    pub(crate) fn add_node(&self, clock: u64) -> NodeId {
        let mut state = self.state();
        let mut node = Node::new();
        node.since = (state.now, clock);
        state.nodes.push(node);
        NodeId((state.nodes.len() - 1) as u32)
    }

    pub(crate) fn life_of(&self, node: NodeId) -> u32 {
        self.state().nodes[node.index()].life
    }

    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        !self.state().nodes[node.index()].is_dead
    }

    pub(crate) fn is_running(&self, node: NodeId) -> bool {
        let state = self.state();
        let node = &state.nodes[node.index()];
        !node.is_dead && !node.is_paused
    }

    /// Stops a node's tasks where they stand.
    pub(crate) fn pause(&self, node: NodeId) {
        let mut state = self.state();
        let now = state.now;
        let node = &mut state.nodes[node.index()];
        node.is_paused = true;
        node.paused_at = now;
    }

    pub(crate) fn resume(&self, node: NodeId) {
        let mut state = self.state();
        let now = state.now;
        let node = &mut state.nodes[node.index()];
        if node.is_paused && seeded_bug!("clock_stops_in_suspend") {
            node.since.1 = node.since.1.saturating_sub(now - node.paused_at);
        }
        node.is_paused = false;
        let mut parked = std::mem::take(&mut node.parked);
        state.ready.append(&mut parked);
    }

    /// Drops all of a node's tasks. What they do while they are dropped, a dead process would not do: fakes ignore the dead.
    pub(crate) fn kill(&self, node: NodeId) {
        let killed: Vec<BoxFuture<'static, ()>> = {
            let mut state = self.state();
            let place = &mut state.nodes[node.index()];
            place.is_dead = true;
            place.is_paused = false;
            place.parked.clear();
            let life = place.life;
            state.tasks.kill(node, life)
        };
        drop(killed);
    }

    /// Starts a dead node again; returns the number of its new life.
    pub(crate) fn revive(&self, node: NodeId) -> u32 {
        let mut state = self.state();
        let node = &mut state.nodes[node.index()];
        node.is_dead = false;
        node.life += 1;
        node.life
    }

    /// What a node's monotonic clock shows. It counts suspend, and drifts.
    pub(crate) fn clock_of(&self, node: NodeId) -> u64 {
        let state = self.state();
        let place = &state.nodes[node.index()];
        place.clock(state.now) + place.ahead
    }

    /// What it would show had it never jumped.
    pub(crate) fn trusted_clock_of(&self, node: NodeId) -> u64 {
        let state = self.state();
        state.nodes[node.index()].clock(state.now)
    }

    /// A node's cheap clock jumps ahead, until somebody compares it with the trusted one.
    pub(crate) fn jump_clock(&self, node: NodeId, by: u64) {
        self.state().nodes[node.index()].ahead += by;
    }

    /// Compares a node's clocks; whether the cheap one was right.
    pub(crate) fn set_clock_right(&self, node: NodeId) -> bool {
        std::mem::take(&mut self.state().nodes[node.index()].ahead) == 0
    }

    /// What a node's wall clock shows, in milliseconds.
    pub(crate) fn wall_ms_of(&self, node: NodeId) -> u64 {
        let state = self.state();
        let true_ms = (state.now / super::MS) as i64 + 1_700_000_000_000;
        (true_ms + state.nodes[node.index()].wall_off_ms) as u64
    }

    /// From now on a node's clock runs this many parts in a million too fast.
    pub(crate) fn set_drift(&self, node: NodeId, ppm: i64) {
        let mut state = self.state();
        let now = state.now;
        let node = &mut state.nodes[node.index()];
        node.since = (now, node.clock(now));
        node.drift_ppm = ppm;
    }

    /// Sets a node's wall clock off by so much.
    pub(crate) fn set_wall_off(&self, node: NodeId, off_ms: i64) {
        self.state().nodes[node.index()].wall_off_ms = off_ms;
    }
}
