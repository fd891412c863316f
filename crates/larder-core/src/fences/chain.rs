//! The node's place in the journal's history, and which stamps belong to that history.
//!
//! A ring of recent links, each with the local number it was given when applied. A stamp is worth something
//! only when its position *and* nonce are in the ring: a history restored from an old copy hands positions out
//! again, but not nonces.

use crate::position::{Epoch, Link, Stamp};
use std::collections::VecDeque;

/// Links remembered; stamps older than these are misses.
const RING_MAX: usize = 1 << 17;

pub(super) struct Chain {
    epoch: Epoch,
    /// The position of the first mark.
    first: u64,
    marks: VecDeque<Mark>,
}

struct Mark {
    nonce: u64,
    local: u64,
}

impl Chain {
    pub(super) fn new(link: Link, local: u64) -> Self {
        Chain {
            epoch: link.epoch,
            first: link.position,
            marks: VecDeque::from([Mark { nonce: link.nonce, local }]),
        }
    }

    /// The newest link applied.
    pub(super) fn head(&self) -> Link {
        // The ring is never empty: it begins with the link it was made of, and trimming leaves the last one.
        let nonce = self.marks.back().map_or(0, |mark| mark.nonce);
        Link { epoch: self.epoch, position: self.first + (self.marks.len() as u64 - 1), nonce }
    }

    pub(super) fn push(&mut self, nonce: u64, local: u64, floor: u64) {
        self.marks.push_back(Mark { nonce, local });
        while self.marks.len() > 1
            && (self.marks.len() > RING_MAX || self.marks.front().is_some_and(|mark| mark.local < floor))
        {
            self.marks.pop_front();
            self.first += 1;
        }
    }

    /// Whether this history had come so far: the link was applied, or is before the first one remembered. What lies
    /// before that is told apart by its epoch alone, which changes whenever history is lost or rewound.
    pub(super) fn has_reached(&self, link: Link) -> bool {
        link.epoch == self.epoch && (link.position < self.first || self.locate(&link).is_some())
    }

    /// Whether this link's place is before the first one remembered, so that nobody can tell what stood there.
    pub(super) fn has_forgotten(&self, link: &Link) -> bool {
        link.epoch == self.epoch && link.position < self.first
    }

    /// Whether this history, which this link belongs to, has no place for it: another record stands there, or none yet.
    pub(super) fn has_lost(&self, link: &Link) -> bool {
        link.epoch == self.epoch && link.position >= self.first && self.locate(link).is_none()
    }

    /// The lowest local number at which this stamp's link was the newest applied; `None` when the link is not
    /// in this history, or is not remembered.
    pub(super) fn locate(&self, stamp: &Stamp) -> Option<u64> {
        let foreign = stamp.epoch != self.epoch;
        if foreign && !crate::seeded_bug!("epoch_not_compared") {
            return None;
        }
        if stamp.position < self.first && crate::seeded_bug!("old_stamp_is_oldest") {
            return self.marks.front().map(|mark| mark.local);
        }
        let at = usize::try_from(stamp.position.checked_sub(self.first)?).ok()?;
        self.marks.get(at).filter(|mark| mark.nonce == stamp.nonce || foreign).map(|mark| mark.local)
    }
}
