//! How a node applies records, notices that it has lost its place, and takes it up anew.

use super::state::{Applier, Node, State, UNKNOWN};
use super::{Apply, Core};
use crate::model::weakening::Weakening;

impl Core {
    pub(super) fn apply(&self, state: &mut State, at: usize, step: Apply) -> Option<()> {
        let head = state.head;
        let watched = self.hits_at(at as u8);
        let node = state.nodes.get_mut(at)?;
        match step {
            // Nobody compares this node's slots: all that counts is what its loads are stamped with.
            Apply::Next if !watched => (node.applied < head).then(|| node.applied += 1),
            Apply::Next => self.apply_next(node, head),
            Apply::Gap if node.applier == Applier::Idle && node.applied + 2 <= head => self.gap(node),
            Apply::Fail if node.applier == Applier::Idle && node.applied < head => self.fail(node),
            Apply::Gap | Apply::Fail => None,
        }
    }

    fn gap(&self, node: &mut Node) -> Option<()> {
        if self.is(Weakening::GapIgnored) {
            // Two records on as if it were one.
            node.applied += 1;
            node.last[self.named(node.applied + 1)] = node.applied + 1;
            node.applier = Applier::Raised;
        } else {
            self.lose_place(node);
        }
        Some(())
    }

    fn fail(&self, node: &mut Node) -> Option<()> {
        if self.is(Weakening::ApplyErrorIgnored) {
            node.applied += 1;
        } else {
            self.lose_place(node);
        }
        Some(())
    }

    fn lose_place(&self, node: &mut Node) {
        node.lease = 0;
        node.applier = Applier::Lost;
    }

    fn apply_next(&self, node: &mut Node, head: u8) -> Option<()> {
        let next = node.applied + 1;
        let tag = self.named(next);
        let full = node.last.iter().filter(|last| **last > 0).count() >= usize::from(self.slots);
        let room = node.last[tag] > 0 || !full;
        match node.applier {
            Applier::Idle if node.applied >= head => return None,
            Applier::Idle if self.is(Weakening::PublishBeforeSlots) => {
                node.applied = next;
                node.applier = Applier::Published;
            }
            Applier::Idle | Applier::Floored | Applier::Dropped if !room => self.make_room(node, tag),
            Applier::Dropped if self.is(Weakening::SlotsDroppedBeforeFloor) => {
                node.floor = node.floor.max(node.applied);
                node.applier = Applier::Floored;
            }
            Applier::Idle | Applier::Floored | Applier::Dropped => {
                // Not so for a tag nobody holds, when weakened: "it has no slot, so nobody needs to know".
                let held = node.memory.is_some_and(|entry| self.tag(entry.value) == tag);
                if held || !self.is(Weakening::UnheldTargetSkipped) {
                    node.last[tag] = next;
                }
                node.applier = Applier::Raised;
            }
            Applier::Raised => {
                node.applied = next;
                node.applier = Applier::Idle;
            }
            Applier::Published => {
                node.last[self.named(node.applied)] = node.applied;
                node.applier = Applier::Idle;
            }
            Applier::Lost => node.applier = Applier::Answered(head),
            Applier::Answered(answer) => self.rebase(node, answer),
            Applier::Rebased(answer) => {
                if self.is(Weakening::SlotsDroppedBeforeFloor) {
                    node.floor = answer;
                } else {
                    node.last = Default::default();
                }
                node.applier = Applier::Emptied(answer);
            }
            Applier::Emptied(answer) => {
                node.applied = if self.is(Weakening::HeadAndFloorFromTwoAnswers) { head } else { answer };
                node.applier = Applier::Idle;
            }
        }
        Some(())
    }

    /// The floor first: whoever finds a slot gone must find the floor raised.
    fn make_room(&self, node: &mut Node, tag: usize) {
        let dropped =
            node.last.iter().enumerate().filter(|(other, _)| *other != tag).map(|(_, last)| *last).max();
        let dropped = dropped.unwrap_or_default();
        let floored = node.applier == Applier::Floored
            || self.is(Weakening::FloorNotRaised)
            || self.is(Weakening::SlotsDroppedBeforeFloor);
        if floored {
            for (other, last) in node.last.iter_mut().enumerate() {
                if other != tag {
                    *last = 0;
                }
            }
            node.applier = Applier::Dropped;
        } else {
            node.floor = node.floor.max(dropped);
            node.applier = Applier::Floored;
        }
    }

    fn rebase(&self, node: &mut Node, answer: u8) {
        if self.is(Weakening::SlotsDroppedBeforeFloor) {
            node.last = Default::default();
        } else if !self.is(Weakening::FloorZeroAtStart) || node.floor == UNKNOWN {
            node.floor = answer;
        }
        node.applier = Applier::Rebased(answer);
    }
}
