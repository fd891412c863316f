//! How nodes follow the journal across a failover: apply, beat, roll, adopt.

use super::Failover;
use super::state::{Chain, Node, Renewal, Server, State};
use crate::model::weakening::Weakening;

impl Failover {
    /// Applies the next record: its slot, then the link. The server hands it over only when what the node knows is in
    /// its history, its own appends included: a record in the place of one of them would cover up that it was lost.
    pub(super) fn apply(&self, state: &mut State, at: usize) -> Option<()> {
        let node = state.nodes.get_mut(at)?;
        if node.raised > 0 {
            let nonce = std::mem::take(&mut node.raised);
            node.chain.push(nonce)?;
            node.knows |= 1 << nonce;
            if node.own.is_some_and(|(position, _)| position <= node.applied()) {
                node.own = None;
            }
            return Some(());
        }
        let position = node.applied();
        let follows = self.agrees(node, &state.server)
            || self.is(Weakening::OwnAppendOverwritten)
                && state.server.records.holds(position, node.chain.nonce(position));
        let next = state.server.records.nonce(position + 1);
        if node.epoch != state.server.epoch || !follows || next == 0 {
            return None;
        }
        node.raised = next;
        if at == 1 {
            return self.apply(state, at);
        }
        Some(())
    }

    pub(super) fn beat(&self, state: &mut State, at: usize) -> Option<()> {
        let node = state.nodes.get(at)?;
        match node.renewal {
            Renewal::Idle if at == 0 => state.nodes[at].renewal = Renewal::Noted,
            Renewal::Idle => self.ask(state, at),
            Renewal::Noted => self.ask(state, at),
            Renewal::Asked(head, nonce) => {
                let node = &mut state.nodes[at];
                if node.applied() < head {
                    return None;
                }
                if !node.chain.holds(head, nonce) && !self.is(Weakening::HeadByPosition) {
                    // What is applied there is another record: lost meanwhile, and its place taken.
                    distrust(node, state.server.epoch);
                    return Some(());
                }
                node.lease = node.lease.max(self.delta - node.age);
                (node.age, node.renewal) = (0, Renewal::Idle);
            }
            Renewal::Mismatch(epoch) => self.resynchronise(state, at, epoch),
        }
        Some(())
    }

    fn ask(&self, state: &mut State, at: usize) {
        let agrees = self.agrees(&state.nodes[at], &state.server);
        let lost = |write: u8| state.nodes[at].knows & (1 << write) != 0 && !self.covered(state, write);
        let fooled = agrees && (1..=state.written).any(lost);
        let server = state.server;
        let node = &mut state.nodes[at];
        if agrees {
            // Nobody reads at node B, so its lease is of no interest.
            let head = server.records.len();
            let asked = Renewal::Asked(head, server.records.nonce(head));
            node.renewal = if at == 0 { asked } else { Renewal::Idle };
            state.fooled |= fooled;
        } else {
            distrust(node, server.epoch);
        }
    }

    /// Whether the newest links this node knows, applied or its own, are in the server's history.
    pub(super) fn agrees(&self, node: &Node, server: &Server) -> bool {
        let applied = node.applied();
        let by_position = |position: u8| position <= server.records.len();
        if self.is(Weakening::HeadOfAnotherEpoch) && node.epoch != server.epoch {
            return server.epoch > 0;
        }
        let known = |position: u8, nonce: u8| {
            if self.is(Weakening::BeatWithoutNonce) {
                by_position(position)
            } else {
                server.records.holds(position, nonce)
            }
        };
        let own = self.is(Weakening::OwnAppendForgotten)
            || node.own.is_none_or(|(position, nonce)| known(position, nonce));
        node.epoch == server.epoch && own && known(applied, node.chain.nonce(applied))
    }

    /// The history is not this node's. An epoch it has never seen is adopted; any other is replaced, by
    /// compare-and-set.
    fn resynchronise(&self, state: &mut State, at: usize, expected: u8) {
        let server = state.server;
        let node = &mut state.nodes[at];
        (node.age, node.renewal) = (0, Renewal::Idle);
        if server.epoch != expected {
            // Somebody else was faster; ask anew.
            return;
        }
        let unseen = expected > 0 && node.seen & (1 << expected) == 0;
        let other = expected > 0 && expected != node.epoch;
        if unseen || other && self.is(Weakening::SeenEpochAdopted) {
            adopt(node, &server);
            return;
        }
        state.epochs += 1;
        if state.failovers < self.failovers {
            state.old = state.server;
        }
        state.server = Server { epoch: state.epochs, records: Chain::default() };
    }
}

/// One answer gives epoch and head; what came before is below the floor.
fn adopt(node: &mut Node, server: &Server) {
    for position in 1..=server.records.len() {
        node.knows |= 1 << server.records.nonce(position);
    }
    node.seen |= 1 << server.epoch;
    node.epoch = server.epoch;
    node.chain = server.records;
    node.raised = 0;
    node.own = None;
}

/// The lease to zero first.
fn distrust(node: &mut Node, epoch: u8) {
    node.lease = 0;
    node.age = 0;
    node.renewal = Renewal::Mismatch(epoch);
}
