//! The core of the protocol: stamp, rule, hit, apply, renew, start (orders 1 to 6 of `design.md` §1).
//!
//! One row is written over and over: write `v` turns version `v - 1` into `v`, its journal record is number `v`
//! and names the tag of the version it replaces, so an entry's tag follows from its value (dynamic tags). Each
//! touch of shared memory is a step of its own: of a hit the lease, the entry, `applied`, the slot, the floor
//! and the clock; of a load the stamp, the snapshot and each fill; of an apply the floor, the slot and
//! `applied`; of a renewal `t0`, the sequencer's lock, its snapshot, its commit, the head and the extension.
//! Between any two of them anything else may happen, and any time may pass: a pause needs no action of its own.
//!
//! Levels are checked where a reader is about to serve, so no state is spent on what was served before.

mod apply;
mod property;
mod read;
mod renew;
mod state;
mod story;

pub(super) use state::State;
use state::{Agent, Applier, At, NODES, Node, READERS, Renewal, UNKNOWN};

use super::weakening::Weakening;
use stateright::{Model, Property};

/// What one configuration of this model has, and how much of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Core {
    pub(super) weak: Option<Weakening>,
    pub(super) nodes: usize,
    /// The node of each reader.
    pub(super) readers: &'static [u8],
    /// Of the readers, a mask of those that only load, for the store.
    pub(super) loaders: u8,
    /// The others never load: whatever memory holds came from the store.
    pub(super) lookers: bool,
    pub(super) writes: u8,
    /// Δ: ticks a lease lasts.
    pub(super) delta: u8,
    /// Ticks by which the promised bound is larger than Δ, for clocks that run slow.
    pub(super) margin: u8,
    /// 1 or 2.
    pub(super) tags: u8,
    /// Slots a node has room for; when they are all taken, the floor rises.
    pub(super) slots: u8,
    /// Commits are sequenced into the journal by a step of its own; otherwise they are the record.
    pub(super) sequencer: bool,
    /// A process beside the nodes that runs the sequencer's step too.
    pub(super) other: bool,
    pub(super) store: bool,
    /// The store falls back to an earlier state.
    pub(super) rollback: bool,
    pub(super) restart: bool,
    /// Hints hand over records out of order.
    pub(super) gaps: bool,
    /// Transactions stay open, are rolled back, and load inside.
    pub(super) transactions: bool,
    pub(super) flights: bool,
    /// A hit with nothing applied since the entry was last checked skips the rest of the rule.
    pub(super) memo: bool,
    /// A node's clock loses at most one tick in this many; 0: it is right.
    pub(super) drift: u8,
    /// `write(..)` waits for all nodes, or Δ, before it returns.
    pub(super) returns: bool,
}

/// A step. Numbers are those of nodes and readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A tick passes; the clocks of the nodes in this mask miss it.
    Tick(u8),
    Open,
    Commit,
    Abort,
    Acknowledge,
    Return,
    /// The other process runs its sequencer's step.
    Other,
    Renew(u8),
    Apply(u8, Apply),
    Restart(u8),
    Read(u8, Read),
    /// The store's state is copied, to come back later.
    Keep,
    RollBack,
    Lose,
}

/// A step of the task that applies records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apply {
    Next,
    /// A record beyond the next arrives.
    Gap,
    /// Applying the next record fails.
    Fail,
}

/// A step of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Lease,
    Memory,
    Applied,
    Slots,
    Floor,
    Store,
    Follow,
    Stamp,
    Snapshot,
    /// The loader runs inside the open transaction and sees what it has written.
    SnapshotInside,
    Fill,
    FillStore,
    /// The answer is out.
    Done,
}

impl Core {
    pub(super) fn is(&self, weak: Weakening) -> bool {
        self.weak == Some(weak)
    }

    /// The bound promised.
    fn bound(&self) -> u8 {
        let margin = if self.is(Weakening::DriftWithoutMargin) { 0 } else { self.margin };
        self.delta + margin
    }

    /// Whether anything ever raises a floor; where nothing does, no step is spent on it.
    fn floor_moves(&self) -> bool {
        self.slots < self.tags || self.gaps || self.restart
    }

    /// Whether anyone reads from this node's memory. Where nobody does, nobody needs its lease.
    fn hits_at(&self, node: u8) -> bool {
        self.readers.iter().enumerate().any(|(who, home)| *home == node && !self.only_loads(who))
    }

    /// Readers from this one on only load and fill the store: other nodes' part in the life of this one.
    fn only_loads(&self, who: usize) -> bool {
        self.loaders & (1 << who) != 0
    }

    fn tag(&self, value: u8) -> usize {
        usize::from(value % self.tags)
    }

    /// The tag record `position` names: that of the version its write replaced.
    fn named(&self, position: u8) -> usize {
        self.tag(position.saturating_sub(1))
    }

    fn tick(&self, last: &State, slow: u8) -> Option<State> {
        let mut state = last.clone();
        for age in state.origin.ages.iter_mut().take(usize::from(last.origin.acked)) {
            *age = (*age + 1).min(self.bound());
        }
        for at in 0..self.nodes {
            let node = &mut state.nodes[at];
            if slow & (1 << at) != 0 {
                let suspended = self.is(Weakening::ClockStopsInSuspend);
                if !suspended && (self.drift == 0 || node.steady + 1 < self.drift) {
                    return None;
                }
                node.steady = 0;
                continue;
            }
            if self.drift > 0 {
                node.steady = (node.steady + 1).min(self.drift - 1);
            }
            node.lease = node.lease.saturating_sub(1);
            if node.renewal != Renewal::Idle {
                node.age = (node.age + 1).min(self.delta);
            }
            for (home, reader) in self.readers.iter().zip(&mut state.readers) {
                if usize::from(*home) == at && reader.lease > 0 {
                    reader.lease -= 1;
                    // A hit whose lease has lapsed before the clock is read begins again.
                    if reader.lease == 0 && reader.at != At::Ready {
                        *reader = Default::default();
                    }
                }
            }
        }
        Some(self.sorted(state))
    }

    /// Two readers of one node are alike, so of two worlds that differ in their order one is enough. Not when
    /// weakened: a story is easier to follow when nobody changes names.
    fn sorted(&self, mut state: State) -> State {
        if self.weak.is_none() && self.loaders == 0 && self.readers == [0, 0] {
            state.readers.sort_unstable();
        }
        state
    }

    fn commit(&self, state: &mut State) -> Option<()> {
        if self.transactions && !state.origin.dirty || state.origin.committed >= self.writes {
            return None;
        }
        state.origin.dirty = false;
        state.origin.committed += 1;
        if !self.sequencer {
            state.head = state.origin.committed;
        }
        Some(())
    }

    fn acknowledge(&self, state: &mut State) -> Option<()> {
        let origin = &mut state.origin;
        (origin.acked < origin.committed).then(|| origin.acked += 1)
    }

    /// `write(..)` returns: every node has applied the record, or could not be trusting its state any more.
    fn give_back(&self, state: &mut State) -> Option<()> {
        let origin = &mut state.origin;
        let write = origin.returned + 1;
        if write > origin.acked {
            return None;
        }
        let lapsed = origin.ages[usize::from(write - 1)] >= self.bound();
        let nodes = &state.nodes[..self.nodes];
        let all = nodes.iter().all(|node| node.applied >= write);
        let one = self.is(Weakening::ReturnOnFirstNode) && nodes.iter().any(|node| node.applied >= write);
        if !(lapsed || all || one) {
            return None;
        }
        origin.returned = write;
        Some(())
    }

    fn restart(&self, state: &mut State, at: usize) -> Option<()> {
        let node = state.nodes.get_mut(at)?;
        if node.restarted {
            return None;
        }
        let floor = if self.is(Weakening::FloorZeroAtStart) { 0 } else { UNKNOWN };
        *node = Node { applier: Applier::Lost, floor, restarted: true, ..Node::default() };
        // A connection that dies lets the lock go.
        if state.lock == Some(Agent::Node(at as u8)) {
            state.lock = None;
        }
        for (home, reader) in self.readers.iter().zip(&mut state.readers) {
            if usize::from(*home) == at {
                *reader = Default::default();
            }
        }
        Some(())
    }

    fn store_fault(&self, state: &mut State, action: Action) -> Option<()> {
        let store = &mut state.store;
        match action {
            Action::Keep if store.before.is_none() && store.now.is_some() && !store.rolled_back => {
                store.before = store.now;
            }
            Action::RollBack if store.before.is_some() && store.now != store.before => {
                store.now = store.before.take();
                store.rolled_back = true;
            }
            Action::Lose if store.now.is_some() => store.now = None,
            _ => return None,
        }
        Some(())
    }
}

impl Model for Core {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Tick(0), Action::Commit, Action::Acknowledge]);
        if self.drift > 0 || self.is(Weakening::ClockStopsInSuspend) {
            actions.extend((1..1 << self.nodes).map(Action::Tick));
        }
        if self.transactions {
            actions.extend([Action::Open, Action::Abort]);
        }
        if self.returns {
            actions.push(Action::Return);
        }
        if self.other {
            actions.push(Action::Other);
        }
        if self.rollback {
            actions.extend([Action::Keep, Action::RollBack, Action::Lose]);
        }
        for node in 0..self.nodes as u8 {
            actions.push(Action::Apply(node, Apply::Next));
            if self.hits_at(node) {
                actions.push(Action::Renew(node));
            }
            if self.gaps {
                actions.push(Action::Apply(node, Apply::Gap));
            }
            if self.gaps || self.is(Weakening::ApplyErrorIgnored) {
                actions.push(Action::Apply(node, Apply::Fail));
            }
            if self.restart && node == 0 {
                actions.push(Action::Restart(node));
            }
        }
        for (reader, _) in (0..).zip(self.readers) {
            let moves = self.moves(usize::from(reader), &state.readers[usize::from(reader)]);
            actions.extend(moves.iter().map(|step| Action::Read(reader, *step)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        if let Action::Tick(slow) = action {
            return self.tick(last, slow);
        }
        let mut state = last.clone();
        let done = match action {
            Action::Tick(_) => None,
            Action::Open => {
                let more = !state.origin.dirty && state.origin.committed < self.writes;
                more.then(|| state.origin.dirty = true)
            }
            Action::Commit => self.commit(&mut state),
            Action::Abort => state.origin.dirty.then(|| {
                state.origin.dirty = false;
                state.origin.aborted = true;
            }),
            Action::Acknowledge => self.acknowledge(&mut state),
            Action::Return => self.give_back(&mut state),
            Action::Other => self.renew_elsewhere(&mut state),
            Action::Renew(node) => self.renew(&mut state, node),
            Action::Apply(node, step) => self.apply(&mut state, usize::from(node), step),
            Action::Restart(node) => self.restart(&mut state, usize::from(node)),
            Action::Read(reader, step) => self.read(&mut state, usize::from(reader), step),
            Action::Keep | Action::RollBack | Action::Lose => self.store_fault(&mut state, action),
        };
        done.map(|()| self.sorted(state))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.promises()
    }
}

// Everything is sized for the largest configuration.
const _: () = assert!(NODES == 2 && READERS == 2);
