//! The steps of the failover model in words.

use super::state::{At, Entry, Renewal, Server, State};
use super::{Action, Failover};
use crate::model::check::Protocol;

impl Protocol for Failover {
    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        match action {
            Action::Tick => "time: a tick passes".to_owned(),
            Action::Write(by) => {
                format!("node {}: version {} is committed at the origin", name(by), after.version)
            }
            Action::Append => format!(
                "journal: write {} is record {} of epoch {}, acknowledged",
                after.written,
                after.server.records.len(),
                after.server.epoch
            ),
            Action::Lose(_) | Action::Return(_) | Action::Empty => {
                format!("failover: the server has {}", server(&after.server))
            }
            Action::Apply(at) => {
                let node = &after.nodes[usize::from(at)];
                if node.raised > 0 {
                    format!("node {}: raises the slot of record {}", name(at), node.applied() + 1)
                } else {
                    format!("node {}: has applied up to {}", name(at), node.applied())
                }
            }
            Action::Beat(at) => format!("node {}: {}", name(at), beat(before, usize::from(at), after)),
            Action::Read => match (after.reader.at, after.reader.entry) {
                (At::Leased, _) => format!(
                    "reader: begins, nothing older than version {} is allowed; {} ticks are left in the lease",
                    after.reader.due, after.reader.lease
                ),
                (At::Looked, Some(found)) => format!("reader: finds {} in the store", entry(found)),
                (At::Ready, _) => "reader: the rule calls it fresh".to_owned(),
                _ => "reader: is done".to_owned(),
            },
            Action::Load(at) => match after.load {
                Some(load) if load.value.is_none() => {
                    let stamp = load.stamp;
                    format!(
                        "node {}: stamps a load with {} of epoch {}",
                        name(at),
                        stamp.position,
                        stamp.epoch
                    )
                }
                Some(_) => format!("node {}: loads version {}", name(at), after.version),
                None => format!(
                    "node {}: puts {} into the store",
                    name(at),
                    after.store.map_or(String::new(), entry)
                ),
            },
            Action::Foreign => {
                format!("a foreign program: puts version {} into the store, without a stamp", after.version)
            }
        }
    }

    fn standing(&self, state: &State) -> String {
        let mut text =
            format!("version {} is at the origin; the server has {}", state.version, server(&state.server));
        if state.fooled {
            text += "; a node was told that all is well, and knows a record that the server has lost";
        }
        if let (At::Ready, Some(entry)) = (state.reader.at, state.reader.entry) {
            let lost = if state.ghosts & (1 << entry.value) != 0 { ", which was lost" } else { "" };
            text += &format!(
                "; the reader serves version {}{lost}, where {} is the oldest allowed",
                entry.value, state.reader.due
            );
        }
        text
    }
}

fn beat(before: &State, at: usize, after: &State) -> String {
    let (old, new) = (&before.nodes[at], &after.nodes[at]);
    match (old.renewal, new.renewal) {
        (_, Renewal::Noted) => "begins a beat, notes the time".to_owned(),
        (_, Renewal::Asked(head, _)) => format!("is told that all is well, the head is {head}"),
        (_, Renewal::Mismatch(epoch)) => format!("is told that its history is not that of epoch {epoch}"),
        (Renewal::Mismatch(_), _) if new.epoch != old.epoch => {
            format!("adopts epoch {} at head {}", new.epoch, new.applied())
        }
        (Renewal::Mismatch(_), _) if before.server != after.server => {
            format!("replaces the epoch by {}", after.server.epoch)
        }
        (Renewal::Idle, Renewal::Idle) => "beats and is told that all is well".to_owned(),
        (Renewal::Mismatch(_), _) => "finds the epoch changed, will ask anew".to_owned(),
        _ => format!("extends its lease, {} ticks are left", new.lease),
    }
}

fn name(at: u8) -> &'static str {
    if at == 0 { "A" } else { "B" }
}

fn server(server: &Server) -> String {
    let nonces: Vec<_> =
        (1..=server.records.len()).map(|at| format!("write {}", server.records.nonce(at))).collect();
    match (server.epoch, nonces.is_empty()) {
        (0, _) => "nothing at all".to_owned(),
        (epoch, true) => format!("epoch {epoch} without records"),
        (epoch, false) => format!("epoch {epoch} with {}", nonces.join(", ")),
    }
}

fn entry(entry: Entry) -> String {
    match entry.stamp {
        Some(stamp) => format!("version {} born at {} of epoch {}", entry.value, stamp.position, stamp.epoch),
        None => format!("version {} without a stamp", entry.value),
    }
}
