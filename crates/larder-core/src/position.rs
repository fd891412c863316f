//! Where in a journal's history something stands: positions, epochs, links and stamps.
//!
//! Plain numbers with names; they are compared by the rule and by nothing else.

use std::fmt;

/// The identity of one unbroken history of a journal. If history is lost or rewound, the epoch changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u128);

impl Epoch {
    /// The epoch with this random number, which the journal's authority drew.
    pub const fn new(random: u128) -> Self {
        Epoch(random)
    }

    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart by eye.
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

/// One place in one history: the position and the random number of the record there.
///
/// A position alone is no identity: a history restored from an old copy hands the same ones out again. The
/// nonce tells them apart. Position 0 is the place before the first record; its nonce is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Which history.
    pub epoch: Epoch,
    /// Dense: 1, 2, 3…; 0 before the first.
    pub position: u64,
    /// Drawn at random when the record was appended.
    pub nonce: u64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.position, self.epoch)
    }
}

/// What a stored entry was born with: the link its node had applied before the loader's snapshot was taken.
pub type Stamp = Link;
