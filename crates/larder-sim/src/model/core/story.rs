//! The steps of the core model in words.

use super::state::{Applier, Entry, Renewal, State};
use super::{Action, Apply, Core, Read};
use crate::model::check::Protocol;

impl Protocol for Core {
    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        match action {
            Action::Tick(0) => "time: a tick passes".to_owned(),
            Action::Tick(slow) => {
                let nodes: Vec<_> = (0..self.nodes).filter(|at| slow & (1 << at) != 0).map(name).collect();
                format!("time: a tick passes, the clock of {} misses it", nodes.join(" and "))
            }
            Action::Open => {
                format!("writer: writes version {}, not yet committed", before.origin.committed + 1)
            }
            Action::Commit => format!("writer: version {} is committed", after.origin.committed),
            Action::Abort => "writer: rolls back".to_owned(),
            Action::Acknowledge => {
                format!("writer: is told that version {} is committed", after.origin.acked)
            }
            Action::Return => format!("writer: write(..) of version {} returns", after.origin.returned),
            Action::Other => format!("another process: {}", renewal(before.other, after.other, after.head)),
            Action::Renew(at) => {
                let at = usize::from(at);
                let (old, new) = (&before.nodes[at], &after.nodes[at]);
                let what = if new.renewal == Renewal::Idle {
                    format!("extends its lease, {} ticks are left", new.lease)
                } else {
                    renewal(old.renewal, new.renewal, after.head)
                };
                format!("{}: renewal {what}", name(at))
            }
            Action::Apply(at, step) => self.tell_apply(before, usize::from(at), step, after),
            Action::Restart(at) => format!("{}: restarts with nothing", name(usize::from(at))),
            Action::Read(who, step) => self.tell_read(before, usize::from(who), step, after),
            Action::Keep => format!("store: a copy is kept of {}", entry(before.store.now)),
            Action::RollBack => format!("store: falls back to {}", entry(after.store.now)),
            Action::Lose => "store: loses everything".to_owned(),
        }
    }

    fn standing(&self, state: &State) -> String {
        let serving = self
            .readers
            .iter()
            .zip(&state.readers)
            .filter(|(_, reader)| reader.at == super::At::Ready && reader.lease > 0);
        let mut text = format!(
            "{} committed, {} acknowledged, {} returned",
            state.origin.committed, state.origin.acked, state.origin.returned
        );
        for (home, reader) in serving {
            let home = name(usize::from(*home));
            let least = reader.due.max(reader.returned);
            text += &format!(
                "; a reader at {home} serves version {}, where {least} is the oldest allowed",
                reader.entry.map_or(0, |entry| entry.value)
            );
        }
        text
    }
}

impl Core {
    fn tell_apply(&self, before: &State, at: usize, step: Apply, after: &State) -> String {
        let (old, new) = (&before.nodes[at], &after.nodes[at]);
        let node = name(at);
        match (step, new.applier) {
            (Apply::Gap, Applier::Lost) => {
                format!("{node}: sees a gap after record {}, revokes its lease", old.applied)
            }
            (Apply::Gap, _) => format!("{node}: takes record {} for the next", old.applied + 2),
            (Apply::Fail, Applier::Lost) => {
                format!("{node}: cannot apply record {}, revokes its lease", old.applied + 1)
            }
            (Apply::Fail, _) => format!("{node}: cannot apply record {}, goes on after it", new.applied),
            (Apply::Next, Applier::Floored) => {
                format!("{node}: has no slot left, raises the floor to {}", new.floor)
            }
            (Apply::Next, Applier::Dropped) => format!("{node}: drops a slot"),
            (Apply::Next, Applier::Raised) => {
                let position = old.applied + 1;
                let tag = self.named(position);
                format!("{node}: applies record {position}: tag {tag} was last named at {}", new.last[tag])
            }
            (Apply::Next, Applier::Answered(head)) => format!("{node}: asks for the head, {head}"),
            (Apply::Next, Applier::Rebased(_)) => format!("{node}: raises its floor to {}", new.floor),
            (Apply::Next, Applier::Emptied(_)) => format!("{node}: empties its slots"),
            (Apply::Next, _) if old.applied == new.applied => {
                format!("{node}: raises the slot of record {}", new.applied)
            }
            (Apply::Next, _) => format!("{node}: has applied up to {}", new.applied),
        }
    }

    fn tell_read(&self, before: &State, who: usize, step: Read, after: &State) -> String {
        let (old, new) = (&before.readers[who], &after.readers[who]);
        let home = usize::from(self.readers[who]);
        let missed = if old.at != super::At::Ready && matches!(new.at, super::At::Idle | super::At::Missed) {
            ": a miss"
        } else {
            ""
        };
        let what = match step {
            Read::Lease if old.at == super::At::Idle => format!(
                "begins to read, nothing older than version {} is allowed; loads the lease, {} ticks are left",
                new.due.max(new.returned),
                new.lease
            ),
            Read::Lease => format!("loads the lease, {} ticks are left", new.lease),
            Read::Memory if old.at == super::At::Idle => format!(
                "begins to read, nothing older than version {} is allowed; finds {} in memory{missed}",
                new.due.max(new.returned),
                entry(before.nodes[home].memory)
            ),
            Read::Memory => format!("finds {} in memory{missed}", entry(before.nodes[home].memory)),
            Read::Applied => format!("sees that {} is applied", before.nodes[home].applied),
            Read::Slots => format!("compares the slot of its tag{missed}"),
            Read::Floor => format!("compares the floor, {}{missed}", before.nodes[home].floor),
            Read::Store => format!(
                "finds {} in the store and puts it into memory as {}",
                entry(before.store.now),
                entry(new.entry)
            ),
            Read::Follow => "waits for another's load".to_owned(),
            Read::Stamp => format!("stamps its load with {}", before.nodes[home].applied),
            Read::Snapshot => format!("loads version {} from the origin", before.origin.committed),
            Read::SnapshotInside => {
                format!("loads uncommitted version {} inside the transaction", before.origin.committed + 1)
            }
            Read::Fill => format!("puts {} into memory", entry(old.entry)),
            Read::FillStore => format!("puts {} into the store", entry(old.entry)),
            Read::Done if old.lease > 0 => {
                format!("serves version {}", old.entry.map_or(0, |entry| entry.value))
            }
            Read::Done => "finds the lease lapsed, begins again".to_owned(),
        };
        format!("reader {} at {}: {what}", who + 1, name(home))
    }
}

fn name(at: usize) -> String {
    format!("node {}", if at == 0 { "A" } else { "B" })
}

fn entry(entry: Option<Entry>) -> String {
    entry.map_or("nothing".to_owned(), |entry| format!("version {} born at {}", entry.value, entry.born))
}

fn renewal(before: Renewal, after: Renewal, head: u8) -> String {
    match (before, after) {
        (_, Renewal::Noted) => "notes the time".to_owned(),
        (_, Renewal::Peeked { rows, head }) => {
            format!("sees {rows} committed and head {head}, without the lock")
        }
        (_, Renewal::Overtaken { .. } | Renewal::Locked) => "takes the sequencer's lock".to_owned(),
        (_, Renewal::Viewed(rows)) => format!("sees {rows} committed"),
        (Renewal::Noted, Renewal::Sequenced) => {
            "finds the sequencer's lock busy and skips the step".to_owned()
        }
        (_, Renewal::Sequenced | Renewal::Idle) => format!("sequences up to {head} and lets the lock go"),
        (_, Renewal::Asked(goal)) => format!("is told the head, {goal}"),
        (_, Renewal::Replied(_)) => "reads the clock again".to_owned(),
    }
}
