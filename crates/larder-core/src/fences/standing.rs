//! Fences that stand: targets whose record this node has not applied yet.
//!
//! A fence covers what was born before it. An entry that another node stamped with a later record, and loaded before the
//! write all the same, is not; so whenever this node learns of history, it fences these targets again above it, before
//! anybody can say how old such an entry is. Written by whoever announces; never asked by the rule.

use super::{Birth, Fences};
use crate::position::Link;
use crate::sync::MutexGuard;
use crate::target::Target;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Announcements told apart; more, and everything is fenced until the newest of them is applied.
const AWAITED_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Standing {
    /// No journal has a record of these yet.
    queued: Arc<[Target]>,
    /// The journal has a record of these, at this link.
    awaited: Vec<(Link, Arc<[Target]>)>,
}

impl Fences {
    /// Fences targets as [`Fences::fence`] does, and again after whatever is applied, until the record at `link` is.
    pub fn fence_until(&self, targets: Arc<[Target]>, link: Link) {
        // Nearly always: readers are not held up for it.
        if self.has_reached(link) {
            return;
        }
        let chain = self.write();
        if chain.as_ref().is_some_and(|chain| chain.has_reached(link)) {
            return;
        }
        self.raise_here(&targets);
        let mut standing = self.standing();
        if standing.awaited.len() >= AWAITED_MAX {
            // Answers come in any order: until the last of them.
            let last =
                standing.awaited.iter().map(|(other, _)| *other).chain([link]).max_by_key(|l| l.position);
            standing.awaited = vec![(last.unwrap_or(link), Arc::new([Target::Everything]))];
        } else {
            standing.awaited.push((link, targets));
        }
    }

    /// Keeps all that is queued fenced from now on, whatever is applied, until called with something else. What was
    /// fenced last before this call, at `fenced`, is fenced again only if something has been applied since.
    pub fn fence_queued(&self, targets: Arc<[Target]>, fenced: Option<Birth>) {
        let _chain = self.write();
        let is_up = fenced.is_some_and(|fenced| self.applied.load(Ordering::Relaxed) == fenced.local);
        if !is_up && !targets.is_empty() {
            self.raise_here(&targets);
        }
        self.standing().queued = targets;
    }

    /// The records that are awaited. Each is in the journal, unless that has lost it again.
    pub fn awaited(&self) -> Vec<Link> {
        let _chain = self.read();
        let standing = self.standing();
        standing.awaited.iter().map(|(link, _)| *link).collect()
    }

    /// Of these records, which were in the journal before it was asked for its head, those of another epoch than that
    /// head's are of a history that is over: they are awaited no more.
    pub fn forget_foreign(&self, awaited: &[Link], head: Link) {
        if awaited.iter().all(|link| link.epoch == head.epoch) {
            return;
        }
        let _chain = self.write();
        let mut standing = self.standing();
        standing.awaited.retain(|(link, _)| link.epoch == head.epoch || !awaited.contains(link));
    }

    /// Whether this record stands where one was said to be that this node awaits. Under the chain's lock.
    pub(super) fn displaces(&self, record: Link) -> bool {
        let standing = self.standing();
        let place = |link: &Link| link.epoch == record.epoch && link.position == record.position;
        standing.awaited.iter().any(|(link, _)| place(link) && link.nonce != record.nonce)
    }

    /// A history was adopted from this link. Whatever carries a stamp of another epoch is below the floor from now on, and
    /// whatever carries one of this epoch was loaded after it began. Under the chain's lock.
    pub(super) fn stand_in(&self, adopted: Link) {
        self.standing().awaited.retain(|(link, _)| link.epoch == adopted.epoch);
        self.raise_standing(adopted);
    }

    /// Everything up to this link has been applied: raises what stands above it. Under the chain's lock.
    pub(super) fn raise_standing(&self, applied: Link) {
        let mut standing = self.standing();
        standing.awaited.retain(|(link, _)| link.epoch != applied.epoch || link.position > applied.position);
        if crate::seeded_bug!("standing_fence_falls") {
            return;
        }
        let awaited = standing.awaited.iter().map(|(_, targets)| targets);
        for targets in std::iter::once(&standing.queued).chain(awaited).filter(|targets| !targets.is_empty())
        {
            self.raise_here(targets);
        }
    }

    /// Under the chain's lock.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
