//! How a lease is renewed, and how the sequencer's step turns committed rows into records.

use super::Core;
use super::state::{Agent, Renewal, State};
use crate::model::weakening::Weakening;

impl Core {
    pub(super) fn renew(&self, state: &mut State, at: u8) -> Option<()> {
        let node = state.nodes.get(usize::from(at))?;
        let (applied, renewal) = (node.applied, node.renewal);
        let next = match renewal {
            Renewal::Idle => Renewal::Noted,
            Renewal::Noted if !self.sequencer => Renewal::Asked(state.head),
            Renewal::Sequenced => Renewal::Asked(state.head),
            Renewal::Asked(goal) if self.is(Weakening::LeaseFromReply) => Renewal::Replied(goal),
            Renewal::Asked(goal) | Renewal::Replied(goal) => {
                if applied < goal && !self.is(Weakening::HeadNotApplied) {
                    return None;
                }
                Renewal::Idle
            }
            _ => self.sequence(state, Agent::Node(at), renewal)?,
        };
        let node = state.nodes.get_mut(usize::from(at))?;
        match next {
            Renewal::Idle => {
                let left = self.delta + u8::from(self.is(Weakening::LeaseInclusive)) - node.age;
                node.lease = node.lease.max(left);
                node.age = 0;
            }
            Renewal::Replied(_) => node.age = 0,
            _ => {}
        }
        node.renewal = next;
        Some(())
    }

    pub(super) fn renew_elsewhere(&self, state: &mut State) -> Option<()> {
        state.other = match state.other {
            Renewal::Idle | Renewal::Noted => self.sequence(state, Agent::Other, Renewal::Noted)?,
            renewal => self.sequence(state, Agent::Other, renewal)?,
        };
        if matches!(state.other, Renewal::Sequenced | Renewal::Asked(_)) {
            state.other = Renewal::Idle;
        }
        Some(())
    }

    /// The sequencer's step: the lock, then the snapshot, then the records and their commit.
    fn sequence(&self, state: &mut State, agent: Agent, renewal: Renewal) -> Option<Renewal> {
        let busy = state.lock.is_some();
        Some(match renewal {
            Renewal::Noted if self.is(Weakening::SnapshotBeforeLock) => {
                Renewal::Peeked { rows: state.origin.committed, head: state.head }
            }
            Renewal::Noted if busy && self.is(Weakening::BusyLockSkipped) => Renewal::Sequenced,
            Renewal::Noted | Renewal::Peeked { .. } if busy => return None,
            Renewal::Noted => {
                state.lock = Some(agent);
                Renewal::Locked
            }
            Renewal::Peeked { rows, head } => {
                state.lock = Some(agent);
                Renewal::Overtaken { rows, head }
            }
            Renewal::Locked => Renewal::Viewed(state.origin.committed),
            Renewal::Viewed(rows) => {
                state.head = rows;
                state.lock = None;
                Renewal::Sequenced
            }
            // Rows another has moved meanwhile are skipped, and so is the head that came of it.
            Renewal::Overtaken { rows, head } => {
                let answer = if rows > state.head { rows } else { head };
                state.head = state.head.max(rows);
                state.lock = None;
                Renewal::Asked(answer)
            }
            Renewal::Idle | Renewal::Sequenced | Renewal::Asked(_) | Renewal::Replied(_) => return None,
        })
    }
}
