//! Attendance: which nodes follow a journal, and how far each has come; so that a wait for all of them need not last as
//! long as the longest lease.
//!
//! A node says that it is there *before* it asks for the records that its lease will rest on. So whoever appends a record,
//! and then asks who is there, finds every node whose lease could rest on an answer without that record. Pure: the
//! authority's clock and the caller's chain are arguments.

use crate::port::Nanos;
use crate::position::Link;
use crate::seeded_bug;
use std::time::Duration;

/// A node, told from all others and from its own earlier lives: drawn at random when its cache is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u128);

impl NodeId {
    /// From bits nobody else has.
    pub const fn new(bits: u128) -> Self {
        NodeId(bits)
    }

    /// Those bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// Who follows a journal, in one answer of its authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// Every node that said it was there and has not been forgotten since, with what it said it had applied.
    pub nodes: Vec<(NodeId, Link)>,
    /// For how long, by the authority's clock, every node that said it was there has been kept for as long as it asked:
    /// since the authority last started, failed over or was restored. Those who spoke before that may be missing.
    pub whole_for: Duration,
}

impl Attendance {
    /// Whether every node but `me` has applied the record at `link`, or holds no lease. `leases_last` is the longest that
    /// any lease holds; `knows` tells whether a link is in the history in which the caller has applied `link`.
    ///
    /// `false` proves nothing; it is to be asked again, until the leases have lapsed.
    pub fn all_have(&self, me: NodeId, link: Link, leases_last: Nanos, knows: impl Fn(Link) -> bool) -> bool {
        // Who is missing from it had a lease by then, if at all, and holds none now.
        let is_whole = self.whole_for.as_nanos() > u128::from(leases_last);
        if !is_whole && !seeded_bug!("attendance_taken_for_whole") {
            return false;
        }
        let has = |applied: Link| {
            let is_there = applied.epoch == link.epoch && applied.position >= link.position;
            // A position alone may be of a branch that was lost.
            is_there && (knows(applied) || seeded_bug!("attendance_by_position"))
        };
        self.nodes.iter().all(|(node, applied)| *node == me || has(*applied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    const LEASES: Nanos = 1_000;

    fn link(position: u64, nonce: u64) -> Link {
        Link { epoch: Epoch::new(1), position, nonce }
    }

    fn attendance(nodes: &[(u128, Link)], whole_for: Nanos) -> Attendance {
        let nodes = nodes.iter().map(|(node, applied)| (NodeId::new(*node), *applied)).collect();
        Attendance { nodes, whole_for: Duration::from_nanos(whole_for) }
    }

    fn all_have(attendance: &Attendance) -> bool {
        let known = [link(4, 40), link(5, 50), link(6, 60)];
        attendance.all_have(NodeId::new(1), link(5, 50), LEASES, |link| known.contains(&link))
    }

    #[test]
    fn it_is_over_when_every_other_node_has_the_record() {
        assert!(all_have(&attendance(&[], LEASES + 1)));
        assert!(all_have(&attendance(&[(1, link(4, 40)), (2, link(5, 50)), (3, link(6, 60))], LEASES + 1)));
        assert!(!all_have(&attendance(&[(2, link(6, 60)), (3, link(4, 40))], LEASES + 1)));
    }

    #[test]
    fn a_table_that_may_have_lost_somebody_proves_nothing() {
        assert!(!all_have(&attendance(&[], LEASES)), "strictly longer than any lease");
        assert!(!all_have(&attendance(&[], 0)));
    }

    #[test]
    fn a_place_on_another_branch_proves_nothing() {
        assert!(!all_have(&attendance(&[(2, link(6, 61))], LEASES + 1)));
        let elsewhere = Link { epoch: Epoch::new(2), ..link(6, 60) };
        assert!(!all_have(&attendance(&[(2, elsewhere)], LEASES + 1)));
    }
}
