//! The port of looking through a store, slowly and in the background, for what is dead and nobody asks for any more.

use super::{BoxFuture, StoreError};
use std::fmt;
use std::time::Duration;

/// A part of what a store holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Keys, and of what was put under each at least the first [`Leaf::HEAD_BYTES`].
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<u128>,
}

impl Leaf {
    /// Enough for the head of nearly every envelope. An entry whose head is longer is not looked at.
    pub const HEAD_BYTES: usize = 2048;
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither keys nor values: what is printed ends up in logs.
        write!(f, "Leaf {{ {} entries, next: {:?} }}", self.entries.len(), self.next)
    }
}

/// A store that can be looked through. Those whose entries nobody shares, or that keep order by themselves, need not be.
pub trait Browse: Send + Sync + 'static {
    /// About `limit` of the entries whose keys begin with `prefix`, from this place on, 0 being the beginning; what is put
    /// or removed meanwhile may be among them or not. `None` when it is another node's turn to look through these.
    fn browse<'a>(
        &'a self,
        prefix: &'a [u8],
        from: u128,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Leaf>, StoreError>>;

    /// How long to rest between one look through all and the next.
    fn rest(&self) -> Duration;
}
