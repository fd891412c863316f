//! Loads from a lagging replica (order 9): the hold-off, and the replay position that is better than it.
//!
//! One node; the origin's commits are journal records at once, and reach the replica within `lag` ticks. All
//! loads read the replica. A load stamped within `lag` of the last apply is held off: its value goes to its reader
//! and nowhere else. With `replay`, the load takes the replica's position together with its value, and is stamped
//! with the older of the two.
//!
//! Who calls it: the catalogue. The promise here is `Bounded(max(Δ, lag))`, for hits and for loads.

use super::check::Protocol;
use super::weakening::Weakening;
use stateright::{Model, Property};

const WRITES: usize = 3;

/// The bounds of this model.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) weak: Option<Weakening>,
    pub(super) writes: u8,
    pub(super) delta: u8,
    /// Ticks after which a commit has reached the replica.
    pub(super) lag: u8,
    /// Loads read the replica's position instead of being held off.
    pub(super) replay: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Committed and acknowledged; also the journal's head.
    committed: u8,
    /// Ticks since each commit, up to the larger of Δ and lag.
    ages: [u8; WRITES],
    /// Commits the replica has.
    replayed: u8,
    applied: u8,
    raised: bool,
    /// Ticks since a record was applied last, up to the lag.
    quiet: u8,
    lease: u8,
    /// The head a renewal waits for (none yet: 255) and ticks since its `t0`.
    renewal: Option<(u8, u8)>,
    entry: Option<(u8, u8)>,
    reader: Reader,
    load: Load,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Reader {
    at: At,
    lease: u8,
    due: u8,
    entry: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Idle,
    Leased,
    Following,
    Looked,
    Ready,
}

/// A load; `due` is what its own reader may not fall behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Load {
    #[default]
    Idle,
    Stamped {
        born: u8,
        held: bool,
        due: u8,
    },
    /// Weakened: has its value, and reads the replica's position next.
    Unplaced {
        born: u8,
        value: u8,
    },
    Loaded {
        born: u8,
        held: bool,
        due: u8,
        value: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Tick,
    Commit,
    Replay,
    Apply,
    Renew,
    Hit,
    Follow,
    Load,
}

impl Replica {
    fn is(&self, weak: Weakening) -> bool {
        self.weak == Some(weak)
    }

    fn longest(&self) -> u8 {
        self.delta.max(self.lag)
    }

    fn bound(&self) -> u8 {
        if self.is(Weakening::LagLeftOutOfBound) { self.delta } else { self.longest() }
    }

    fn due(&self, state: &State) -> u8 {
        state.ages.iter().filter(|age| **age >= self.bound()).count() as u8
    }

    fn tick(&self, state: &mut State) -> Option<()> {
        let committed = usize::from(state.committed);
        // A commit is replayed before it is `lag` old.
        let waiting = state.ages[..committed].iter().skip(usize::from(state.replayed));
        if waiting.into_iter().any(|age| age + 1 >= self.lag) {
            return None;
        }
        for age in &mut state.ages[..committed] {
            *age = (*age + 1).min(self.longest());
        }
        state.quiet = (state.quiet + 1).min(self.lag);
        state.lease = state.lease.saturating_sub(1);
        if let Some((_, age)) = &mut state.renewal {
            *age = (*age + 1).min(self.delta);
        }
        if state.reader.at != At::Idle {
            state.reader.lease -= 1;
            if state.reader.lease == 0 {
                state.reader = Reader::default();
            }
        }
        Some(())
    }

    fn apply(&self, state: &mut State) -> Option<()> {
        if state.raised {
            state.raised = false;
            state.applied += 1;
            state.quiet = 0;
        } else {
            (state.applied < state.committed).then(|| state.raised = true)?;
        }
        Some(())
    }

    fn renew(&self, state: &mut State) -> Option<()> {
        state.renewal = match state.renewal {
            None => Some((u8::MAX, 0)),
            Some((u8::MAX, age)) => Some((state.committed, age)),
            Some((goal, age)) if state.applied >= goal => {
                state.lease = state.lease.max(self.delta - age);
                None
            }
            Some(_) => return None,
        };
        Some(())
    }

    fn hit(&self, state: &mut State) -> Option<()> {
        let last = state.applied + u8::from(state.raised);
        let due = self.due(state);
        let reader = &mut state.reader;
        match reader.at {
            At::Idle if state.lease == 0 => return None,
            At::Idle => *reader = Reader { at: At::Leased, lease: state.lease, due, entry: None },
            At::Leased => {
                reader.entry = state.entry;
                reader.at = At::Looked;
                if state.entry.is_none() {
                    *reader = Reader::default();
                }
            }
            At::Following => return None,
            At::Looked if reader.entry.is_some_and(|(_, born)| last <= born) => reader.at = At::Ready,
            At::Looked | At::Ready => *reader = Reader::default(),
        }
        Some(())
    }

    /// The reader waits for the load under way. One that is held off is not shared.
    fn follow(&self, state: &mut State) -> Option<()> {
        let shared = match state.load {
            Load::Stamped { held, .. } | Load::Loaded { held, .. } => {
                !held || self.is(Weakening::HeldOffLoadShared)
            }
            Load::Idle | Load::Unplaced { .. } => false,
        };
        (shared && state.reader.at == At::Leased).then(|| state.reader.at = At::Following)
    }

    fn load(&self, state: &mut State) -> Option<()> {
        state.load = match state.load {
            Load::Idle => {
                let late = self.replay
                    || self.is(Weakening::HoldOffMissing)
                    || self.is(Weakening::HoldOffDecidedAtFill);
                let held = !late && state.quiet < self.lag && state.applied > 0;
                Load::Stamped { born: state.applied, held, due: self.due(state) }
            }
            Load::Stamped { born, .. } if self.is(Weakening::ReplayReadAfterSnapshot) => {
                Load::Unplaced { born, value: state.replayed }
            }
            Load::Stamped { born, held, due } => {
                let known = self.replay && !self.is(Weakening::HoldOffMissing);
                let born = if known { born.min(state.replayed) } else { born };
                Load::Loaded { born, held, due, value: state.replayed }
            }
            Load::Unplaced { born, value } => {
                Load::Loaded { born: born.min(state.replayed), held: false, due: 0, value }
            }
            Load::Loaded { born, held, value, .. } => {
                let held = held || self.is(Weakening::HoldOffDecidedAtFill) && state.quiet < self.lag;
                if !held {
                    state.entry = Some((value, born));
                }
                if state.reader.at == At::Following {
                    state.reader.entry = Some((value, born));
                    state.reader.at = At::Looked;
                }
                Load::Idle
            }
        };
        Some(())
    }
}

impl Model for Replica {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { quiet: self.lag, ..State::default() }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        use Action::{Apply, Commit, Follow, Hit, Load, Renew, Replay, Tick};
        actions.extend([Tick, Commit, Replay, Apply, Renew, Hit, Follow, Load]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let done = match action {
            Action::Tick => self.tick(&mut state),
            Action::Commit => (state.committed < self.writes).then(|| state.committed += 1),
            Action::Replay => (state.replayed < state.committed).then(|| state.replayed += 1),
            Action::Apply => self.apply(&mut state),
            Action::Renew => self.renew(&mut state),
            Action::Hit => self.hit(&mut state),
            Action::Follow => self.follow(&mut state),
            Action::Load => self.load(&mut state),
        };
        done.map(|()| state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("bounded by max(Δ, lag)", |_: &Self, state: &State| {
                let served = state.reader.at != At::Ready
                    || state.reader.entry.is_some_and(|(value, _)| value >= state.reader.due);
                let loaded = !matches!(state.load, Load::Loaded { value, due, .. } if value < due);
                served && loaded
            }),
            Property::sometimes("a hit serves what is newest after a write", |_: &Self, state: &State| {
                state.reader.at == At::Ready
                    && state.reader.entry.is_some_and(|(value, _)| value > 0 && value == state.committed)
            }),
            Property::sometimes("a hit is stale inside the bound", |_: &Self, state: &State| {
                state.reader.at == At::Ready
                    && state.reader.entry.is_some_and(|(value, _)| value < state.committed)
            }),
            Property::sometimes(
                "the replica lags behind a stamp",
                |_: &Self, state: &State| matches!(state.load, Load::Stamped { born, .. } if born > state.replayed),
            ),
            Property::sometimes("a reader follows a load", |_: &Self, state: &State| {
                state.reader.at == At::Following && matches!(state.load, Load::Loaded { .. })
            }),
        ];
        if !self.replay {
            all.push(Property::sometimes("a load is held off", |_: &Self, state: &State| {
                matches!(state.load, Load::Loaded { held: true, .. })
            }));
        }
        all
    }
}

impl Protocol for Replica {
    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        match action {
            Action::Tick => "time: a tick passes".to_owned(),
            Action::Commit => format!("writer: version {} is committed and acknowledged", after.committed),
            Action::Replay => format!("replica: has version {}", after.replayed),
            Action::Apply if after.raised => format!("node: raises the slot of record {}", after.applied + 1),
            Action::Apply => format!("node: has applied up to {}", after.applied),
            Action::Renew => match (after.renewal, before.renewal) {
                (None, _) => format!("node: extends its lease, {} ticks are left", after.lease),
                (Some(_), None) => "node: renewal notes the time".to_owned(),
                (Some((goal, _)), Some(_)) => format!("node: renewal is told the head, {goal}"),
            },
            Action::Follow => "reader: waits for the load under way".to_owned(),
            Action::Hit => match (after.reader.at, after.reader.entry) {
                (At::Leased, _) => format!(
                    "reader: begins, nothing older than version {} is allowed; {} ticks are left in the lease",
                    after.reader.due, after.reader.lease
                ),
                (At::Looked, Some((value, born))) => format!("reader: finds version {value} born at {born}"),
                (At::Ready, _) => "reader: the rule calls it fresh".to_owned(),
                _ => "reader: is done".to_owned(),
            },
            Action::Load => match after.load {
                Load::Stamped { born, held, .. } => {
                    format!("loader: stamps a load with {born}{}", if held { ", held off" } else { "" })
                }
                Load::Unplaced { value, .. } => format!("loader: reads version {value} from the replica"),
                Load::Loaded { value, born, .. } => {
                    format!("loader: reads version {value} from the replica, born at {born}")
                }
                Load::Idle if before.entry == after.entry => "loader: is done".to_owned(),
                Load::Idle => "loader: puts it into memory".to_owned(),
            },
        }
    }

    fn standing(&self, state: &State) -> String {
        match (state.reader, state.load) {
            (Reader { at: At::Ready, due, entry: Some((value, _)), .. }, _) => {
                format!("the reader serves version {value}, where {due} is the oldest allowed")
            }
            (_, Load::Loaded { value, due, .. }) => {
                format!("the load returns version {value}, where {due} is the oldest allowed")
            }
            _ => format!("version {} is committed", state.committed),
        }
    }
}
