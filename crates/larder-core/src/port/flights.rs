//! The port of shared flights: which node loads a key, among all that share a store.
//!
//! An optimisation, never a safety device: whatever it answers, and however wrongly, the worst is that a key is loaded
//! more than once, or a little later. What a load brings is judged by the rule, as always.

use super::{BoxFuture, StoreError};
use crate::position::Stamp;
use std::fmt;
use std::time::Duration;

/// One load that may lead a key's flight: a number drawn at random for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder(u128);

impl Holder {
    /// The holder with this random number.
    pub const fn new(random: u128) -> Self {
        Holder(random)
    }

    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

/// Asks to lead the flight of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The key, encoded as the store knows it.
    pub key: Vec<u8>,
    /// Who asks.
    pub holder: Holder,
    /// What the load will be born with, at the least: others judge by it whether it is worth waiting for.
    pub stamp: Stamp,
    /// Whose flight of this key, running or landed, counts for nothing: it was overtaken by an invalidation, or what it
    /// brought did not serve.
    pub past: Option<Holder>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key: what is printed ends up in logs.
        let Claim { holder, stamp, past, .. } = self;
        write!(f, "Claim {{ holder: {holder:?}, stamp: {stamp}, past: {past:?} }}")
    }
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The flight is the claimer's to lead, until the time it was claimed for has passed.
    Leads,
    /// Another leads it.
    Waits {
        /// Who.
        by: Holder,
        /// What that load was born with, at the least.
        stamp: Stamp,
        /// How long yet, unless it claims again.
        left: Duration,
    },
    /// Nobody leads it, and what the last flight brought is in the store since a moment ago.
    Landed {
        /// Whose flight it was.
        by: Holder,
        /// What that load was born with, at the least.
        stamp: Stamp,
    },
    /// Nobody leads it, and the last flight ended a moment ago with nothing that could be shared: each loads for itself.
    Alone,
}

/// How a flight was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// What it brought is in the store, or was overtaken on the way: whoever waited looks, then claims.
    Landed,
    /// There is nothing to share: the load failed, or what it brought is not to be kept.
    Empty,
}

/// Who leads the flights of keys, among all nodes that share a store.
///
/// It may forget who leads, let two lead at once, and fail to wake; it must not make up leaders that do not end.
pub trait SharedFlights: Send + Sync + 'static {
    /// For each claim, in one round trip: the flight is the claimer's for so long if nobody leads it, or the claimer does
    /// already, or the holder that it counts for nothing does. Otherwise says who leads it, or how the last one ended, as
    /// long as that is remembered. Dropped, it may still take effect.
    fn claim_many<'a>(
        &'a self,
        claims: &'a [Claim],
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, StoreError>>;

    /// Ends these flights, as far as these holders still lead them, remembers for so long how, and wakes whoever waits.
    fn leave_many<'a>(
        &'a self,
        flights: &'a [(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Completes once somebody may have left the flight of this key since this was called; also whenever a message may
    /// have been missed. May fail to: who waits asks again after a while.
    fn watch(&self, key: &[u8]) -> BoxFuture<'static, ()>;
}
