//! Which loads are under way on the nodes of a run: the same one on two nodes at once is a stampede across them.
//!
//! The service's loaders tell it when they begin and end. It decides nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{AvailabilityQuery, BranchId, CompanyId};

/// What a loader asks the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    Availability(AvailabilityQuery),
    Statistics(CompanyId),
    Services(CompanyId),
    Staff(CompanyId, BranchId),
}

/// The loads of all nodes; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Loads>);

#[derive(Debug, Default)]
struct Loads {
    /// The nodes that are at it.
    running: Mutex<HashMap<Asked, Vec<usize>>>,
    stampedes: AtomicU64,
}

/// One load, until it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    all: UnderWay,
    node: usize,
    asked: Asked,
}

impl UnderWay {
    /// A load begins on a node.
    pub(crate) fn begin(&self, node: usize, asked: Asked) -> Load {
        let mut running = self.lock();
        let nodes = running.entry(asked).or_default();
        if nodes.iter().any(|other| *other != node) {
            self.0.stampedes.fetch_add(1, Ordering::Relaxed);
        }
        nodes.push(node);
        Load { all: self.clone(), node, asked }
    }

    /// Loads that began while another node was loading the same.
    pub(crate) fn stampedes(&self) -> u64 {
        self.0.stampedes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Vec<usize>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let mut running = self.all.lock();
        let Some(nodes) = running.get_mut(&self.asked) else { return };
        if let Some(at) = nodes.iter().position(|node| *node == self.node) {
            nodes.swap_remove(at);
        }
        if nodes.is_empty() {
            running.remove(&self.asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, UnderWay};

    #[test]
    fn the_same_load_on_two_nodes_at_once_is_a_stampede() {
        let under_way = UnderWay::default();
        let first = under_way.begin(0, Asked::Services(1));
        let again = under_way.begin(0, Asked::Services(1));
        let other = under_way.begin(1, Asked::Services(2));
        assert_eq!(under_way.stampedes(), 0, "one node, or another question");
        drop(first);
        let second = under_way.begin(1, Asked::Services(1));
        assert_eq!(under_way.stampedes(), 1);
        drop((again, other, second));
        drop(under_way.begin(1, Asked::Services(1)));
        assert_eq!(under_way.stampedes(), 1);
        assert!(under_way.lock().is_empty());
    }
}
