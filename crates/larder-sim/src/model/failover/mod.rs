//! Failover of the journal, and of the database with it (order 10): nonces, beats, epochs.
//!
//! Two nodes, one key that every record names, one store. A write is committed at the origin, then appended by its
//! node, which is the acknowledgement. The server may lose any tail of its history, fall back to the epoch before, or
//! come back empty, with or without the origin; positions are then handed out again. Nodes beat: they send the newest
//! links they know and are told whether these are in the server's history. Node A reads, in steps; node B loads (or
//! both do); either writes. Of node B nobody compares slots or lease, so what only concerns those is one step there.
//!
//! The promise is the design's, no more: a lost record counts again from the moment the epoch changed, and every
//! node that knew it notices at its next beat. What nobody knew is not claimed. Split brain is not modelled.
//!
//! Who calls it: the catalogue.

mod beat;
mod state;
mod story;

pub(super) use state::State;
use state::{At, Entry, Load, Node, Reader, Renewal, Server, Stamp};

use super::weakening::Weakening;
use stateright::{Model, Property};

/// The bounds of this model.
#[derive(Clone, Debug, Default)]
pub(super) struct Failover {
    pub(super) weak: Option<Weakening>,
    pub(super) writes: u8,
    pub(super) delta: u8,
    pub(super) failovers: u8,
    /// The server may come back empty.
    pub(super) empty: bool,
    /// Journal and origin are one database: the record is committed with the write, and lost with it.
    pub(super) database: bool,
    /// A foreign program puts entries without a stamp into the store.
    pub(super) foreign: bool,
    /// Node B writes, and node A does not.
    pub(super) one_writer: bool,
    /// Node A loads too.
    pub(super) both_load: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Tick,
    Write(u8),
    Append,
    /// The server loses all records but the first so many.
    Lose(u8),
    /// The server has the first so many records of the epoch before.
    Return(u8),
    /// The server has nothing.
    Empty,
    Apply(u8),
    Beat(u8),
    Read,
    Load(u8),
    Foreign,
}

impl Failover {
    fn is(&self, weak: Weakening) -> bool {
        self.weak == Some(weak)
    }

    /// Whether the server's history has this write, or began after it.
    fn covered(&self, state: &State, write: u8) -> bool {
        let home = state.home[usize::from(write - 1)];
        home == 0
            || state.server.epoch > home
            || state.server.epoch == home && state.server.records.contains(write)
    }

    fn tick(&self, state: &mut State) -> Option<()> {
        for write in 1..=state.written {
            let at = usize::from(write - 1);
            if state.home[at] > 0 && self.covered(state, write) {
                state.ages[at] = (state.ages[at] + 1).min(self.delta);
            }
        }
        if state.ghosts > 0 && (1..=state.written).all(|write| self.covered(state, write)) {
            state.ghost_age = (state.ghost_age + 1).min(self.delta);
        }
        let node = &mut state.nodes[0];
        node.lease = node.lease.saturating_sub(1);
        if matches!(node.renewal, Renewal::Noted | Renewal::Asked(..)) {
            node.age = (node.age + 1).min(self.delta);
        }
        if state.reader.at != At::Idle {
            state.reader.lease -= 1;
            if state.reader.lease == 0 {
                state.reader = Reader::default();
            }
        }
        Some(())
    }

    fn write(&self, state: &mut State, by: u8) -> Option<()> {
        if state.written >= self.writes || state.appending.is_some() {
            return None;
        }
        state.written += 1;
        state.version = state.written;
        state.appending = Some(by);
        if self.database {
            return self.append(state);
        }
        Some(())
    }

    /// One script: the record is appended and its link returned. It sends what a beat sends, and is refused where a
    /// beat would be: otherwise a second append covers up that the first was lost.
    fn append(&self, state: &mut State) -> Option<()> {
        let by = state.appending.filter(|_| state.server.epoch > 0)?;
        let agrees = self.agrees(&state.nodes[usize::from(by)], &state.server);
        if !agrees && !self.is(Weakening::AppendWithoutLink) {
            return None;
        }
        let write = state.written;
        state.server.records.push(write)?;
        state.home[usize::from(write - 1)] = state.server.epoch;
        state.appending = None;
        let position = state.server.records.len();
        let node = &mut state.nodes[usize::from(by)];
        node.knows |= 1 << write;
        if node.epoch == state.server.epoch {
            node.own = Some((position, write));
        }
        Some(())
    }

    fn fail_over(&self, state: &mut State, action: Action) -> Option<()> {
        if state.failovers >= self.failovers {
            return None;
        }
        let cut = |server: Server, count: u8| Server { records: server.records.first(count), ..server };
        let server = match action {
            Action::Lose(count) if count < state.server.records.len() => cut(state.server, count),
            Action::Return(count) if state.old.epoch > 0 && count <= state.old.records.len() => {
                cut(state.old, count)
            }
            Action::Empty if state.server.epoch > 0 => Server::default(),
            _ => return None,
        };
        state.failovers += 1;
        state.server = server;
        if self.database {
            let left = server.records.nonce(server.records.len());
            for write in left + 1..=state.version {
                state.ghosts |= 1 << write;
            }
            state.version = left;
            state.ghost_age = 0;
            // What is gone cannot be asked for.
            state.reader.due = state.reader.due.min(left);
        }
        if state.failovers >= self.failovers {
            state.old = Server::default();
        }
        for write in 1..=state.written {
            if !self.covered(state, write) {
                state.ages[usize::from(write - 1)] = 0;
            }
        }
        Some(())
    }

    /// The rule, for a key that every record names.
    fn fresh(&self, node: &Node, entry: &Entry) -> bool {
        let absent = Stamp { epoch: node.epoch, position: 0, nonce: 0 };
        let stamp = match entry.stamp {
            Some(stamp) => stamp,
            None if self.is(Weakening::AbsentStampIsZero) => absent,
            None => return false,
        };
        if node.epoch == 0 || stamp.epoch != node.epoch && !self.is(Weakening::EpochNotCompared) {
            return false;
        }
        let last = node.applied() + u8::from(node.raised > 0);
        let known = stamp.position <= node.applied() && node.chain.holds(stamp.position, stamp.nonce);
        last <= stamp.position && (known || self.is(Weakening::NonceNotCompared))
    }

    fn read(&self, state: &mut State) -> Option<()> {
        let node = &state.nodes[0];
        let counts =
            |write: u8| state.ages[usize::from(write - 1)] >= self.delta && state.ghosts & (1 << write) == 0;
        let due = (1..=state.written).rev().find(|write| counts(*write)).unwrap_or_default();
        let reader = &mut state.reader;
        match reader.at {
            At::Idle if node.lease == 0 => return None,
            At::Idle => {
                let exorcised = state.ghosts > 0 && state.ghost_age >= self.delta;
                *reader = Reader { at: At::Leased, lease: node.lease, due, exorcised, entry: None };
            }
            At::Leased if state.store.is_some() => {
                reader.entry = state.store;
                reader.at = At::Looked;
            }
            At::Looked if reader.entry.is_some_and(|entry| self.fresh(node, &entry)) => {
                reader.entry = reader.entry.map(|entry| Entry { stamp: None, ..entry });
                reader.at = At::Ready;
            }
            At::Leased | At::Looked | At::Ready => *reader = Reader::default(),
        }
        Some(())
    }

    fn load(&self, state: &mut State, at: u8) -> Option<()> {
        let node = &state.nodes[usize::from(at)];
        state.load = match state.load {
            // Without a history there is no stamp, and nothing is kept.
            None if node.epoch == 0 => return None,
            None => {
                let position = node.applied();
                let nonce = node.chain.nonce(position);
                Some(Load { node: at, stamp: Stamp { epoch: node.epoch, position, nonce }, value: None })
            }
            Some(load) if load.node != at => return None,
            Some(load) => match load.value {
                None => Some(Load { value: Some(state.version), ..load }),
                Some(value) => {
                    state.store = Some(Entry { value, stamp: Some(load.stamp) });
                    None
                }
            },
        };
        Some(())
    }
}

impl Model for Failover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let server = Server { epoch: 1, ..Server::default() };
        let node = Node { epoch: 1, seen: 0b10, ..Node::default() };
        vec![State { server, epochs: 1, nodes: [node.clone(), node], ..State::default() }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Tick, Action::Append, Action::Read]);
        actions.extend((0..self.writes).map(Action::Lose));
        if self.failovers > 1 {
            actions.extend((0..=self.writes).map(Action::Return));
        }
        if self.empty {
            actions.push(Action::Empty);
        }
        for node in 0..2 {
            actions.extend([Action::Apply(node), Action::Beat(node)]);
            if node == 1 || !self.one_writer {
                actions.push(Action::Write(node));
            }
            if node == 1 || self.both_load {
                actions.push(Action::Load(node));
            }
        }
        if self.foreign {
            actions.push(Action::Foreign);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let done = match action {
            Action::Tick => self.tick(&mut state),
            Action::Write(by) => self.write(&mut state, by),
            Action::Append => self.append(&mut state),
            Action::Lose(_) | Action::Return(_) | Action::Empty => self.fail_over(&mut state, action),
            Action::Apply(at) => self.apply(&mut state, usize::from(at)),
            Action::Beat(at) => self.beat(&mut state, usize::from(at)),
            Action::Read => self.read(&mut state),
            Action::Load(at) => self.load(&mut state, at),
            Action::Foreign => {
                state.store = Some(Entry { value: state.version, stamp: None });
                Some(())
            }
        };
        done.map(|()| state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("bounded, from the ack or the new epoch", |_: &Self, state: &State| {
                let reader = &state.reader;
                reader.at != At::Ready || reader.entry.is_some_and(|entry| entry.value >= reader.due)
            }),
            Property::always(
                "a lost record that was known is noticed within a beat",
                |_: &Self, state: &State| !state.fooled,
            ),
            Property::sometimes("a hit serves what is newest after a failover", |_: &Self, state: &State| {
                let newest = |entry: Entry| entry.value > 0 && entry.value == state.version;
                state.failovers > 0 && state.reader.at == At::Ready && state.reader.entry.is_some_and(newest)
            }),
            Property::sometimes("a hit is stale inside the bound", |_: &Self, state: &State| {
                state.reader.at == At::Ready
                    && state.reader.entry.is_some_and(|entry| entry.value < state.version)
            }),
            Property::sometimes("both nodes follow a new epoch", |_: &Self, state: &State| {
                state.nodes.iter().all(|node| node.epoch > 1 && node.epoch == state.server.epoch)
            }),
        ];
        if self.writes > 1 && !self.one_writer {
            all.push(Property::sometimes("a position is handed out again", |_: &Self, state: &State| {
                let [a, _] = &state.nodes;
                let position = a.applied();
                position > 0
                    && a.epoch == state.server.epoch
                    && state.server.records.nonce(position) > 0
                    && !state.server.records.holds(position, a.chain.nonce(position))
            }));
        }
        if self.empty {
            all.push(Property::sometimes("a server comes back empty", |_: &Self, state: &State| {
                state.server.epoch == 0
            }));
        }
        if self.database {
            all.push(Property::always("nothing lost is served", |_: &Self, state: &State| {
                let reader = &state.reader;
                let ghost = |entry: Entry| state.ghosts & (1 << entry.value) != 0;
                !(reader.at == At::Ready && reader.exorcised && reader.entry.is_some_and(ghost))
            }));
            all.push(Property::sometimes("a lost version waits in the store", |_: &Self, state: &State| {
                let ghost = |entry: Entry| state.ghosts & (1 << entry.value) != 0;
                state.ghost_age == 1 && state.store.is_some_and(ghost)
            }));
        }
        all
    }
}
