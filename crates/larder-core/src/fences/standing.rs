//! Fences that stand: targets whose record this node has not applied yet.
//!
//! A fence covers what was born before it. An entry that another node stamped with a later record, and loaded before the
//! write all the same, is not; so whenever this node learns of history, it fences these targets again above it, before
//! anybody can say how old such an entry is. Written by whoever announces; never asked by the rule.

use super::{Birth, Fences};
use crate::position::{Epoch, Link};
use crate::sync::MutexGuard;
use crate::target::Target;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Announcements told apart; more, and everything is fenced until the newest of them is applied.
const AWAITED_MAX: usize = 1024;

/// How this node stands to a record that the journal said it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It has been applied, or will be; should another stand in its place, applying that one fails.
    ToCome,
    /// Another record stands in its place.
    Lost,
    /// Its place is before all that are remembered, or too many are looked out for: nobody here can tell.
    Forgotten,
}

#[derive(Default)]
pub(super) struct Standing {
    /// No journal has a record of these yet.
    queued: Arc<[Target]>,
    /// The journal has a record of these, at this link.
    awaited: Vec<(Link, Arc<[Target]>)>,
    /// The journal said that it took these.
    expected: Vec<Link>,
    /// One of them that was passed without having been applied: its history was taken up anew from behind it.
    skipped: Option<Link>,
}

impl Standing {
    /// The records that were in the journal.
    fn links(&self) -> impl Iterator<Item = Link> {
        self.awaited.iter().map(|(link, _)| *link).chain(self.expected.iter().copied())
    }

    fn forget(&mut self, is_over: impl Fn(&Link) -> bool) {
        self.awaited.retain(|(link, _)| !is_over(link));
        self.expected.retain(|link| !is_over(link));
    }

    /// Forgets what is of other histories and `is_over`; which histories those are.
    fn forget_others(&mut self, epoch: Epoch, is_over: impl Fn(&Link) -> bool) -> Vec<Epoch> {
        let is_over = |link: &Link| link.epoch != epoch && is_over(link);
        let others: BTreeSet<Epoch> = self.links().filter(is_over).map(|link| link.epoch).collect();
        self.forget(is_over);
        others.into_iter().collect()
    }
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

    /// Has this node look out for a record that the journal said it took, until it is applied: another one in its place is
    /// none to go on with.
    pub fn expect(&self, link: Link) -> Expected {
        let chain = self.write();
        // The mistake: it is enough to look for it once everything has been applied.
        if crate::seeded_bug!("append_not_expected") {
            return Expected::ToCome;
        }
        let Some(chain) = chain.as_ref() else { return Expected::ToCome };
        if chain.has_forgotten(&link) {
            return Expected::Forgotten;
        }
        let is_passed = link.epoch == chain.head().epoch && link.position <= chain.head().position;
        if is_passed {
            return if chain.has_lost(&link) { Expected::Lost } else { Expected::ToCome };
        }
        let expected = &mut self.standing().expected;
        if expected.len() >= AWAITED_MAX {
            return Expected::Forgotten;
        }
        expected.push(link);
        Expected::ToCome
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
        standing.links().collect()
    }

    /// A record that the journal said it took in this history, and that nobody here can say whether it kept: it has dropped
    /// what it had at that place. Until another history is adopted.
    pub fn skipped(&self) -> Option<Link> {
        let _chain = self.read();
        self.standing().skipped
    }

    /// Of these records, which were in the journal before it was asked for its head, those of another epoch than that
    /// head's are of histories that are over: they are awaited no more. Which histories.
    pub fn forget_foreign(&self, awaited: &[Link], head: Link) -> Vec<Epoch> {
        if awaited.iter().all(|link| link.epoch == head.epoch) {
            return Vec::new();
        }
        let _chain = self.write();
        self.standing().forget_others(head.epoch, |link| awaited.contains(link))
    }

    /// Whether this record stands where one was said to be that this node awaits. Under the chain's lock.
    pub(super) fn displaces(&self, record: Link) -> bool {
        let standing = self.standing();
        let place = |link: &Link| link.epoch == record.epoch && link.position == record.position;
        standing.links().any(|link| place(&link) && link.nonce != record.nonce)
    }

    /// A history was adopted from this link. Whatever carries a stamp of another epoch is below the floor from now on, and
    /// whatever carries one of this epoch was loaded after it began. Which other histories have records that were awaited.
    /// Under the chain's lock.
    pub(super) fn stand_in(&self, adopted: Link) -> Vec<Epoch> {
        let others = {
            let mut standing = self.standing();
            let others = standing.forget_others(adopted.epoch, |_| true);
            let is_here = |link: &Link| link.epoch == adopted.epoch;
            let passed = standing.expected.iter().find(|link| link.position <= adopted.position).copied();
            standing.skipped = standing.skipped.filter(is_here).or(passed);
            others
        };
        self.raise_standing(adopted);
        others
    }

    /// Everything up to this link has been applied: raises what stands above it. Under the chain's lock.
    pub(super) fn raise_standing(&self, applied: Link) {
        let mut standing = self.standing();
        standing.forget(|link| link.epoch == applied.epoch && link.position <= applied.position);
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
