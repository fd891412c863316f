//! What the failover model's world consists of.

/// Writes at most.
pub(super) const WRITES: usize = 3;

/// Everything there is. A write has one number, from 1, which is its version, its record and its nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Writes committed so far, those that were lost included.
    pub(super) written: u8,
    /// The write whose version the origin has.
    pub(super) version: u8,
    /// The node whose write is committed and not yet in the journal.
    pub(super) appending: Option<u8>,
    pub(super) server: Server,
    /// The server as it stood before its epoch was last replaced, while a failover may bring it back.
    pub(super) old: Server,
    pub(super) failovers: u8,
    /// The newest epoch ever drawn.
    pub(super) epochs: u8,
    /// For each write: the epoch it was appended in (0: not yet), and ticks since, up to Δ; they stand at 0 while
    /// the server has lost the record without anything telling so.
    pub(super) home: [u8; WRITES],
    pub(super) ages: [u8; WRITES],
    /// Versions the origin has lost, and ticks since the epoch changed because of it, up to Δ.
    pub(super) ghosts: u8,
    pub(super) ghost_age: u8,
    pub(super) nodes: [Node; 2],
    pub(super) store: Option<Entry>,
    pub(super) reader: Reader,
    pub(super) load: Option<Load>,
    /// A beat was answered with "all is well" although its node knew a record the server had lost.
    pub(super) fooled: bool,
}

/// The journal's server: its epoch (0: it is empty) and its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) epoch: u8,
    pub(super) records: Chain,
}

/// Records by their nonces, oldest first; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Chain([u8; WRITES]);

impl Chain {
    pub(super) fn len(&self) -> u8 {
        self.0.iter().filter(|nonce| **nonce > 0).count() as u8
    }

    /// The nonce at a position; 0 at position 0 and where there is nothing.
    pub(super) fn nonce(&self, position: u8) -> u8 {
        let at = usize::from(position).checked_sub(1);
        at.and_then(|at| self.0.get(at)).copied().unwrap_or_default()
    }

    pub(super) fn holds(&self, position: u8, nonce: u8) -> bool {
        position == 0 || nonce > 0 && self.nonce(position) == nonce
    }

    /// The first records of it, this many.
    pub(super) fn first(&self, count: u8) -> Chain {
        let mut chain = *self;
        chain.0.iter_mut().skip(usize::from(count)).for_each(|nonce| *nonce = 0);
        chain
    }

    pub(super) fn contains(&self, nonce: u8) -> bool {
        self.0.contains(&nonce)
    }

    pub(super) fn push(&mut self, nonce: u8) -> Option<()> {
        *self.0.iter_mut().find(|slot| **slot == 0)? = nonce;
        Some(())
    }
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The epoch it follows; 0: none yet.
    pub(super) epoch: u8,
    /// What it has applied.
    pub(super) chain: Chain,
    /// The record whose slot is raised but which is not applied yet; 0: none.
    pub(super) raised: u8,
    /// The link of its own newest append, while that is beyond what it has applied.
    pub(super) own: Option<(u8, u8)>,
    /// Epochs it has ever seen, as a mask.
    pub(super) seen: u8,
    /// Records it has ever known, as a mask.
    pub(super) knows: u8,
    pub(super) lease: u8,
    pub(super) renewal: Renewal,
    /// Ticks since `t0`, up to Δ.
    pub(super) age: u8,
}

impl Node {
    pub(super) fn applied(&self) -> u8 {
        self.chain.len()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Renewal {
    #[default]
    Idle,
    Noted,
    /// The server agreed; its head, position and nonce, is to be in what is applied.
    Asked(u8, u8),
    /// The server's history is not this node's; it had this epoch.
    Mismatch(u8),
}

/// A stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) epoch: u8,
    pub(super) position: u8,
    pub(super) nonce: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) value: u8,
    /// `None`: a foreign program wrote it.
    pub(super) stamp: Option<Stamp>,
}

/// The one who reads at node A.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reader {
    pub(super) at: At,
    pub(super) lease: u8,
    pub(super) due: u8,
    /// Nothing lost may be served to it any more.
    pub(super) exorcised: bool,
    pub(super) entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum At {
    #[default]
    Idle,
    Leased,
    Looked,
    Ready,
}

/// A load at some node, whose value goes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Load {
    pub(super) node: u8,
    pub(super) stamp: Stamp,
    pub(super) value: Option<u8>,
}
