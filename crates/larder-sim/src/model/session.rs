//! Session tokens (order 8): monotonic reads and reading one's own writes while a session moves between nodes.
//!
//! One session reads at either of two nodes, by a hit in separate steps or by a load, and writes; others write
//! too, and load into either node's memory. No lease is involved: a session needs none. Commits are sequenced
//! into the journal later, by a step that whoever asks for a token runs first.
//!
//! Who calls it: the catalogue. It knows no time: a token holds for ever.

use super::check::Protocol;
use super::weakening::Weakening;
use stateright::{Model, Property};

/// The bounds of this model: two nodes, one session, this many writes.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) weak: Option<Weakening>,
    pub(super) writes: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    committed: u8,
    head: u8,
    nodes: [Node; 2],
    /// What somebody else loads, and where.
    filler: Option<(u8, Load)>,
    /// The newest version this session has read or written.
    seen: u8,
    token: u8,
    at: At,
    /// Some answer of this session was a hit under a token above zero.
    moved: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Node {
    applied: u8,
    /// The slot of the record after `applied` is raised.
    raised: bool,
    entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    value: u8,
    born: u8,
    token: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Load {
    Stamped { born: u8, token: u8 },
    Taken { born: u8, token: u8, value: u8 },
    Tokened(Entry),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Idle,
    /// The node has applied what the token asks for.
    Admitted(u8),
    Looked(u8, Entry),
    /// The rule was passed. About to serve, unless the token is still to be compared (weakened).
    Judged(u8, Entry),
    Ready(Entry),
    Loading(u8, Load),
    /// Has written; asks for the token.
    Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Somebody else commits.
    Commit,
    Sequence,
    Apply(u8),
    /// Somebody else loads.
    Fill(u8),
    Hit(u8),
    Load(u8),
    Write,
}

impl Session {
    fn is(&self, weak: Weakening) -> bool {
        self.weak == Some(weak)
    }

    /// The head, after a sequencer step.
    fn ask(&self, state: &mut State) -> u8 {
        if !self.is(Weakening::TokenWithoutSequencer) {
            state.head = state.committed;
        }
        state.head
    }

    fn apply(&self, state: &mut State, at: u8) -> Option<()> {
        let node = state.nodes.get_mut(usize::from(at))?;
        if node.raised {
            node.applied += 1;
            node.raised = false;
        } else {
            (node.applied < state.head).then(|| node.raised = true)?;
        }
        Some(())
    }

    /// One step of a load at node `at`; the entry once it is complete.
    fn load_step(&self, state: &mut State, at: u8, load: Option<Load>) -> Load {
        match load {
            None => {
                let token = if self.is(Weakening::TokenBeforeSnapshot) { self.ask(state) } else { 0 };
                Load::Stamped { born: state.nodes[usize::from(at)].applied, token }
            }
            Some(Load::Stamped { born, token }) => Load::Taken { born, token, value: state.committed },
            Some(Load::Taken { born, token, value }) => {
                let token = if self.is(Weakening::TokenBeforeSnapshot) {
                    token
                } else if self.is(Weakening::TokenIsBorn) {
                    born
                } else if self.is(Weakening::TokenIsApplied) {
                    state.nodes[usize::from(at)].applied
                } else {
                    self.ask(state)
                };
                Load::Tokened(Entry { value, born, token })
            }
            Some(load @ Load::Tokened(entry)) => {
                state.nodes[usize::from(at)].entry = Some(entry);
                load
            }
        }
    }

    fn fill(&self, state: &mut State, at: u8) -> Option<()> {
        let load = match state.filler {
            None => None,
            Some((node, load)) if node == at => Some(load),
            Some(_) => return None,
        };
        let next = self.load_step(state, at, load);
        state.filler = (load != Some(next)).then_some((at, next));
        Some(())
    }

    fn load(&self, state: &mut State, at: u8) -> Option<()> {
        let load = match state.at {
            At::Idle => None,
            At::Loading(node, load) if node == at => Some(load),
            _ => return None,
        };
        let next = self.load_step(state, at, load);
        state.at = At::Loading(at, next);
        if let (Some(Load::Tokened(entry)), true) = (load, load == Some(next)) {
            state.at = At::Idle;
            state.seen = state.seen.max(entry.value);
            state.token = state.token.max(entry.token);
        }
        Some(())
    }

    fn hit(&self, state: &mut State, at: u8) -> Option<()> {
        let node = &state.nodes[usize::from(at)];
        let behind = node.applied < state.token;
        let late = self.is(Weakening::TokenAfterRule);
        state.at = match state.at {
            At::Idle if behind && !late => return None,
            At::Idle => At::Admitted(at),
            At::Admitted(place) if place == at => node.entry.map_or(At::Idle, |entry| At::Looked(at, entry)),
            At::Looked(place, entry) if place == at => {
                let last = node.applied + u8::from(node.raised);
                match (last <= entry.born, late) {
                    (false, _) => At::Idle,
                    (true, true) => At::Judged(at, entry),
                    (true, false) => At::Ready(entry),
                }
            }
            At::Judged(place, entry) if place == at => {
                if behind {
                    At::Idle
                } else {
                    At::Ready(entry)
                }
            }
            At::Ready(entry) if at == 0 => {
                state.moved |= state.token > 0;
                state.seen = state.seen.max(entry.value);
                state.token = state.token.max(entry.token);
                At::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn write(&self, state: &mut State) -> Option<()> {
        match state.at {
            At::Idle if state.committed < self.writes => {
                state.committed += 1;
                state.seen = state.committed;
                state.at = At::Written;
            }
            At::Written => {
                let token = self.ask(state);
                state.token = state.token.max(token);
                state.at = At::Idle;
            }
            _ => return None,
        }
        Some(())
    }
}

impl Model for Session {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Commit, Action::Sequence, Action::Write]);
        for at in 0..2 {
            actions.extend([Action::Apply(at), Action::Fill(at), Action::Hit(at), Action::Load(at)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let done = match action {
            Action::Commit => (state.committed < self.writes).then(|| state.committed += 1),
            Action::Sequence => (state.head < state.committed).then(|| state.head = state.committed),
            Action::Apply(at) => self.apply(&mut state, at),
            Action::Fill(at) => self.fill(&mut state, at),
            Action::Hit(at) => self.hit(&mut state, at),
            Action::Load(at) => self.load(&mut state, at),
            Action::Write => self.write(&mut state),
        };
        done.map(|()| state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("session", |_: &Self, state: &State| match state.at {
                At::Ready(entry) => entry.value >= state.seen,
                _ => true,
            }),
            Property::always("nothing from the future", |_: &Self, state: &State| match state.at {
                At::Ready(entry) => entry.value <= state.committed,
                _ => true,
            }),
            Property::sometimes(
                "a hit serves what the session has not seen yet",
                |_: &Self, state: &State| matches!(state.at, At::Ready(entry) if entry.value > state.seen),
            ),
            Property::sometimes(
                "a hit serves an older version than the newest",
                |_: &Self, state: &State| matches!(state.at, At::Ready(entry) if entry.value < state.committed),
            ),
            Property::sometimes("a token keeps the session from a hit", |_: &Self, state: &State| {
                state.at == At::Idle
                    && state.nodes.iter().any(|n| n.entry.is_some() && n.applied < state.token)
            }),
            Property::sometimes("a hit under a token", |_: &Self, state: &State| state.moved),
        ]
    }
}

impl Protocol for Session {
    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        match action {
            Action::Commit => format!("another writer: version {} is committed", after.committed),
            Action::Sequence => format!("sequencer: the head is {}", after.head),
            Action::Apply(at) => {
                let node = &after.nodes[usize::from(at)];
                if node.raised {
                    format!("node {}: raises the slot of record {}", name(at), node.applied + 1)
                } else {
                    format!("node {}: has applied up to {}", name(at), node.applied)
                }
            }
            Action::Fill(at) => {
                let old = before.filler.map(|(_, load)| load);
                let new = after.filler.map(|(_, load)| load);
                format!("another reader at node {}: {}", name(at), load(old, new))
            }
            Action::Load(at) => match (before.at, after.at) {
                (At::Loading(_, Load::Tokened(entry)), _) => {
                    format!(
                        "session at node {}: is given version {}, token {}",
                        name(at),
                        entry.value,
                        after.token
                    )
                }
                (_, At::Loading(_, new)) => {
                    format!("session at node {}: {}", name(at), load(None, Some(new)))
                }
                _ => String::new(),
            },
            Action::Write if after.at == At::Written => {
                format!("session: writes version {}", after.committed)
            }
            Action::Write => format!("session: is given token {}", after.token),
            Action::Hit(at) => match after.at {
                At::Admitted(_) => format!(
                    "session at node {}: begins to read under token {}; {} is applied",
                    name(at),
                    after.token,
                    after.nodes[usize::from(at)].applied
                ),
                At::Looked(_, entry) => {
                    format!("session: finds version {} born at {}", entry.value, entry.born)
                }
                At::Judged(..) => "session: the rule calls it fresh".to_owned(),
                At::Ready(_) => "session: nothing speaks against it".to_owned(),
                _ if matches!(before.at, At::Ready(_)) => {
                    format!("session: is served, token {}", after.token)
                }
                _ => "session: a miss".to_owned(),
            },
        }
    }

    fn standing(&self, state: &State) -> String {
        match state.at {
            At::Ready(entry) => {
                format!(
                    "the session is served version {}, after it has seen version {}",
                    entry.value, state.seen
                )
            }
            _ => format!("the session has seen version {}", state.seen),
        }
    }
}

fn name(at: u8) -> &'static str {
    if at == 0 { "A" } else { "B" }
}

fn load(before: Option<Load>, after: Option<Load>) -> String {
    match (before, after) {
        (_, Some(Load::Stamped { born, .. })) => format!("stamps a load with {born}"),
        (_, Some(Load::Taken { value, .. })) => format!("loads version {value} from the origin"),
        (_, Some(Load::Tokened(entry))) => format!("has token {} for it", entry.token),
        (_, None) => "puts it into memory".to_owned(),
    }
}
