//! The write guard: intents, the wait, orphans (order 7), and a start that takes over open intents (order 6).
//!
//! Two writers of the same key write under guards: intent, wait, effect at the origin, commit record. A writer
//! may die at any point; its request to the origin may still be on its way and land until a deadline has passed.
//! Each node applies the journal in order, effects of a record before `applied`; readers at the first node hit in
//! separate steps and load. The level checked is the linearizable one: a read never returns a version older than
//! the newest that was at the origin when it began, nor one that is not there yet when it ends.
//!
//! Who calls it: the catalogue. It never models slots, tags or the sequencer: those are the core's.

use super::check::Protocol;
use super::weakening::Weakening;
use stateright::{Model, Property};

const WRITERS: usize = 2;
/// Two records a writer.
const RECORDS: usize = 4;

/// The bounds of this model.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) weak: Option<Weakening>,
    /// 1 or 2.
    pub(super) writers: usize,
    /// Δ in ticks.
    pub(super) delta: u8,
    /// Ticks after its intent by which a request to the origin has landed or never will.
    pub(super) deadline: u8,
    /// Writers may die.
    pub(super) mortal: bool,
    /// The node that readers use may restart.
    pub(super) restart: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    journal: [Option<Record>; RECORDS],
    /// Effects that have landed at the origin: the version there.
    version: u8,
    writers: [Writer; WRITERS],
    node: Node,
    reader: Reader,
    loader: Load,
    restarted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Intent(u8),
    /// Closes the intent of this writer and invalidates.
    Commit(u8),
    /// The same for an intent whose writer is gone.
    Expire(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Writer {
    stage: Stage,
    /// Ticks since its intent, up to the deadline.
    age: u8,
    /// It has died with its request on its way.
    dead: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Idle,
    /// The intent is in the journal; the wait is on.
    Waiting,
    /// The request to the origin is on its way.
    Sent,
    /// It has landed.
    Landed,
    /// It will never land: refused, or its deadline has passed.
    Nothing,
    /// The intent is closed by the writer, or by expiry.
    Closed,
}

/// A process: what it knows follows from how much of the journal it has applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Node {
    applied: u8,
    /// The effects of the record after `applied` are there.
    raised: bool,
    /// Open intents, by writer.
    intents: u8,
    last: u8,
    floor: u8,
    lease: u8,
    /// A renewal: the head it waits for, and ticks since its `t0`.
    renewal: Option<(u8, u8)>,
    entry: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Reader {
    #[default]
    Idle,
    /// Has the lease (ticks left); the version it must not fall behind.
    Leased { lease: u8, least: u8 },
    /// Has the entry.
    Looked { lease: u8, least: u8, value: u8, born: u8 },
    /// Has passed the rule.
    Ready { lease: u8, least: u8, value: u8 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Load {
    #[default]
    Idle,
    Stamped(u8),
    Loaded(u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Tick,
    Intent(u8),
    Send(u8),
    Land(u8),
    Refuse(u8),
    Die(u8),
    Close(u8),
    Expire(u8),
    Apply,
    Renew,
    Restart,
    Hit,
    Load,
}

impl Guard {
    fn is(&self, weak: Weakening) -> bool {
        self.weak == Some(weak)
    }

    fn tick(&self, state: &mut State) -> Option<()> {
        for writer in &mut state.writers {
            if !matches!(writer.stage, Stage::Idle | Stage::Closed) {
                writer.age = (writer.age + 1).min(self.deadline.max(self.delta));
            }
            // A request cannot outlive its deadline.
            if writer.stage == Stage::Sent && writer.age >= self.deadline {
                writer.stage = Stage::Nothing;
            }
        }
        let node = &mut state.node;
        node.lease = node.lease.saturating_sub(1);
        if let Some((_, age)) = &mut node.renewal {
            *age = (*age + 1).min(self.delta);
        }
        match &mut state.reader {
            Reader::Idle => {}
            Reader::Leased { lease, .. } | Reader::Looked { lease, .. } | Reader::Ready { lease, .. } => {
                *lease = lease.saturating_sub(1);
                if *lease == 0 {
                    state.reader = Reader::Idle;
                }
            }
        }
        Some(())
    }

    fn head(state: &State) -> u8 {
        state.journal.iter().flatten().count() as u8
    }

    fn append(state: &mut State, record: Record) -> Option<()> {
        let free = state.journal.iter_mut().find(|slot| slot.is_none())?;
        *free = Some(record);
        Some(())
    }

    fn write(&self, state: &mut State, action: Action, who: u8) -> Option<()> {
        let seen = self.intent_seen(state, who);
        let writer = state.writers.get_mut(usize::from(who))?;
        let (stage, record) = match (action, writer.stage) {
            (Action::Intent(_), Stage::Idle) => (Stage::Waiting, Some(Record::Intent(who))),
            (Action::Send(_), Stage::Waiting) if !writer.dead => {
                // Refused when it could outlive the deadline.
                let lapsed = writer.age >= self.delta;
                let waited = seen || lapsed || self.is(Weakening::IntentNotWaitedFor);
                if !waited || writer.age >= self.deadline {
                    return None;
                }
                (Stage::Sent, None)
            }
            (Action::Land(_), Stage::Sent) => (Stage::Landed, None),
            (Action::Refuse(_), Stage::Sent) => (Stage::Nothing, None),
            (Action::Refuse(_), Stage::Waiting) if !writer.dead => (Stage::Nothing, None),
            (Action::Die(_), Stage::Waiting | Stage::Sent | Stage::Landed | Stage::Nothing)
                if !writer.dead =>
            {
                writer.dead = true;
                return Some(());
            }
            (Action::Close(_), Stage::Landed | Stage::Nothing) if !writer.dead => {
                (Stage::Closed, Some(Record::Commit(who)))
            }
            (Action::Expire(_), stage) if writer.dead && stage != Stage::Closed => {
                let due = stage == Stage::Landed || stage == Stage::Nothing || stage == Stage::Waiting;
                // Whoever expires it cannot see what became of the request; it can only wait out the deadline.
                if !(self.is(Weakening::OrphanClearedEarly) || due && writer.age >= self.deadline) {
                    return None;
                }
                // When weakened, what is still on its way stays on its way.
                let next = if stage == Stage::Sent { Stage::Sent } else { Stage::Closed };
                writer.dead = next == Stage::Sent;
                (next, Some(Record::Expire(who)))
            }
            _ => return None,
        };
        writer.stage = stage;
        if matches!(stage, Stage::Closed) {
            *writer = Writer { stage, ..Writer::default() };
        }
        if stage == Stage::Landed && action == Action::Land(who) {
            state.version += 1;
        }
        record.map_or(Some(()), |record| Self::append(state, record))
    }

    /// The node has applied this writer's intent.
    fn intent_seen(&self, state: &State, who: u8) -> bool {
        let at = state.journal.iter().position(|record| *record == Some(Record::Intent(who)));
        at.is_some_and(|at| usize::from(state.node.applied) > at)
    }

    fn apply(&self, state: &mut State) -> Option<()> {
        let node = &mut state.node;
        if node.raised {
            node.applied += 1;
            node.raised = false;
            return Some(());
        }
        let record = (*state.journal.get(usize::from(node.applied))?)?;
        self.take_effect(node, record);
        node.raised = true;
        Some(())
    }

    fn take_effect(&self, node: &mut Node, record: Record) {
        let position = node.applied + 1;
        match record {
            Record::Intent(who) => node.intents |= 1 << who,
            Record::Commit(_) if self.is(Weakening::IntentIsAFlag) => node.intents = 0,
            Record::Commit(who) | Record::Expire(who) => node.intents &= !(1 << who),
        }
        let silent = matches!(record, Record::Expire(_)) && self.is(Weakening::ExpiryIsNoInvalidation);
        if !matches!(record, Record::Intent(_)) && !silent {
            node.last = position;
        }
    }

    fn renew(&self, state: &mut State) -> Option<()> {
        let head = Self::head(state);
        let node = &mut state.node;
        match node.renewal {
            None => node.renewal = Some((u8::MAX, 0)),
            Some((u8::MAX, age)) => node.renewal = Some((head, age)),
            Some((goal, age)) if node.applied >= goal => {
                node.lease = node.lease.max(self.delta - age);
                node.renewal = None;
            }
            Some(_) => return None,
        }
        Some(())
    }

    /// One answer of the authority gives head and open intents.
    fn restart(&self, state: &mut State) -> Option<()> {
        if state.restarted {
            return None;
        }
        let head = Self::head(state);
        let mut node = Node { applied: head, floor: head, ..Node::default() };
        for record in state.journal.iter().flatten() {
            match record {
                Record::Intent(who) => node.intents |= 1 << who,
                Record::Commit(who) | Record::Expire(who) => node.intents &= !(1 << who),
            }
        }
        if self.is(Weakening::StartWithoutIntents) {
            node.intents = 0;
        }
        state.node = node;
        state.restarted = true;
        state.reader = Reader::Idle;
        state.loader = Load::Idle;
        Some(())
    }

    fn hit(&self, state: &mut State) -> Option<()> {
        let node = &state.node;
        state.reader = match state.reader {
            Reader::Idle if node.lease == 0 => return None,
            Reader::Idle => Reader::Leased { lease: node.lease, least: state.version },
            Reader::Leased { lease, least } => match node.entry {
                Some((value, born)) => Reader::Looked { lease, least, value, born },
                None => Reader::Idle,
            },
            Reader::Looked { lease, least, value, born } => {
                let open = node.intents != 0;
                if born >= node.floor && node.last <= born && !open {
                    Reader::Ready { lease, least, value }
                } else {
                    Reader::Idle
                }
            }
            Reader::Ready { .. } => Reader::Idle,
        };
        Some(())
    }

    fn load(&self, state: &mut State) -> Option<()> {
        state.loader = match state.loader {
            Load::Idle => Load::Stamped(state.node.applied),
            Load::Stamped(born) => Load::Loaded(state.version, born),
            Load::Loaded(value, born) => {
                state.node.entry = Some((value, born));
                Load::Idle
            }
        };
        Some(())
    }
}

impl Model for Guard {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Tick, Action::Apply, Action::Renew, Action::Hit, Action::Load]);
        if self.restart {
            actions.push(Action::Restart);
        }
        for who in 0..self.writers as u8 {
            actions.extend([
                Action::Intent(who),
                Action::Send(who),
                Action::Land(who),
                Action::Refuse(who),
                Action::Close(who),
            ]);
            if self.mortal {
                actions.extend([Action::Die(who), Action::Expire(who)]);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let done = match action {
            Action::Tick => self.tick(&mut state),
            Action::Apply => self.apply(&mut state),
            Action::Renew => self.renew(&mut state),
            Action::Restart => self.restart(&mut state),
            Action::Hit => self.hit(&mut state),
            Action::Load => self.load(&mut state),
            Action::Intent(who)
            | Action::Send(who)
            | Action::Land(who)
            | Action::Refuse(who)
            | Action::Die(who)
            | Action::Close(who)
            | Action::Expire(who) => self.write(&mut state, action, who),
        };
        done.map(|()| state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("linearizable", |_: &Self, state: &State| match state.reader {
                Reader::Ready { least, value, .. } => value >= least && value <= state.version,
                _ => true,
            }),
            Property::sometimes(
                "a hit serves what was written",
                |_: &Self, state: &State| matches!(state.reader, Reader::Ready { value, .. } if value > 0),
            ),
            Property::sometimes("an open intent refuses a hit", |_: &Self, state: &State| {
                let node = &state.node;
                matches!(state.reader, Reader::Looked { born, .. } if node.last <= born && node.intents != 0)
            }),
            Property::sometimes("a write is aborted", |_: &Self, state: &State| {
                state.writers.iter().any(|writer| writer.stage == Stage::Nothing && !writer.dead)
            }),
            Property::sometimes("a write goes ahead before Δ has passed", |guard: &Self, state: &State| {
                state.writers.iter().any(|writer| writer.stage == Stage::Sent && writer.age < guard.delta)
            }),
        ];
        if self.writers > 1 {
            all.push(Property::sometimes("both writes succeed", |_: &Self, state: &State| {
                state.version == 2
            }));
        }
        if self.mortal {
            all.push(Property::sometimes("a writer dies and its write lands", |_: &Self, state: &State| {
                state.writers.iter().any(|writer| writer.dead && writer.stage == Stage::Landed)
            }));
            all.push(Property::sometimes(
                "an orphan is cleared after its write landed",
                |_: &Self, state: &State| {
                    let expired = |record: &Record| matches!(record, Record::Expire(_));
                    state.version > 0 && state.journal.iter().flatten().any(expired)
                },
            ));
        }
        if self.restart {
            all.push(Property::sometimes("a hit after a restart", |_: &Self, state: &State| {
                state.restarted && matches!(state.reader, Reader::Ready { .. })
            }));
        }
        all
    }
}

impl Protocol for Guard {
    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        let node = &after.node;
        match action {
            Action::Tick => "time: a tick passes".to_owned(),
            Action::Intent(who) => format!("writer {}: its intent is record {}", who + 1, Self::head(after)),
            Action::Send(who) => format!("writer {}: has waited, sends its write to the origin", who + 1),
            Action::Land(who) => {
                format!("origin: the write of writer {} lands, version {}", who + 1, after.version)
            }
            Action::Refuse(who) => format!("writer {}: its write will not happen", who + 1),
            Action::Die(who) => format!("writer {}: dies", who + 1),
            Action::Close(who) => {
                format!("writer {}: its commit record is record {}", who + 1, Self::head(after))
            }
            Action::Expire(who) => {
                format!("the intent of writer {} expires with record {}", who + 1, Self::head(after))
            }
            Action::Apply if node.raised => {
                format!(
                    "node: applies record {}, {} intents are open",
                    node.applied + 1,
                    node.intents.count_ones()
                )
            }
            Action::Apply => format!("node: has applied up to {}", node.applied),
            Action::Renew => match (node.renewal, before.node.renewal) {
                (None, _) => format!("node: extends its lease, {} ticks are left", node.lease),
                (Some(_), None) => "node: renewal notes the time".to_owned(),
                (Some((goal, _)), Some(_)) => format!("node: renewal is told the head, {goal}"),
            },
            Action::Restart => format!("node: restarts, takes over head {}", node.applied),
            Action::Load => match (before.loader, after.loader) {
                (_, Load::Stamped(born)) => format!("loader: stamps its load with {born}"),
                (_, Load::Loaded(value, _)) => format!("loader: loads version {value}"),
                (_, Load::Idle) => "loader: puts it into memory".to_owned(),
            },
            Action::Hit => match after.reader {
                Reader::Leased { lease, least } => {
                    format!(
                        "reader: begins while version {least} is at the origin; {lease} ticks are left in the lease"
                    )
                }
                Reader::Looked { value, born, .. } => format!("reader: finds version {value} born at {born}"),
                Reader::Ready { .. } => "reader: the rule calls it fresh".to_owned(),
                Reader::Idle => "reader: is done".to_owned(),
            },
        }
    }

    fn standing(&self, state: &State) -> String {
        match state.reader {
            Reader::Ready { least, value, .. } => {
                format!("the reader serves version {value}, but version {least} was there when it began")
            }
            _ => format!("version {} is at the origin", state.version),
        }
    }
}
