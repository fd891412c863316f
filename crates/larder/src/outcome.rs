//! What a read returns: the value, where it came from, how old it is, and whether and why it is stale.

use crate::error::Error;
use crate::memory::{self, Entry, Typed};
use larder_core::port::Nanos;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The memory tier of this process.
    Memory,
    /// A store: 0 is the one next to memory, as in `Stats::stores`.
    Store(u8),
    /// The loader this read ran.
    Loader,
    /// A load another reader had begun.
    Flight,
}

/// Whether a value is fresh, and if not, why it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within its TTL and the region's level.
    Fresh,
    /// Past its TTL, within the stale-while-revalidate window; a refresh is under way (or due, when only looked up).
    Revalidating,
    /// Expired, served by the fail-safe because the origin failed.
    OriginFailed,
    /// Expired, served by the fail-safe because the origin is slow; its load goes on in the background.
    OriginSlow,
}

/// A value with what is known about it. Dereferences to the value, which it shares with the cache: cloning an outcome
/// copies a pointer, never the value.
pub struct Outcome<T> {
    pub(crate) entry: Arc<Typed<T>>,
    pub(crate) source: Source,
    pub(crate) freshness: Freshness,
    pub(crate) now: Nanos,
}

/// An outcome whose type is known to the region only; what the engine hands up.
pub(crate) struct Served {
    pub(crate) entry: Arc<Entry>,
    pub(crate) source: Source,
    pub(crate) freshness: Freshness,
    pub(crate) now: Nanos,
}

impl<T: Send + Sync + 'static> Outcome<T> {
    /// `None` when the entry holds no value.
    pub(crate) fn of(served: Served) -> Option<Self> {
        let Served { entry, source, freshness, now } = served;
        let entry = memory::typed(entry)?;
        Some(Outcome { entry, source, freshness, now })
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &T {
        self.entry.value()
    }

    /// Where it came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// How long ago it was loaded.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(self.now.saturating_sub(self.entry.head.times.created))
    }

    /// How long it stays fresh; zero when it is stale.
    pub fn fresh_for(&self) -> Duration {
        self.entry.head.times.remaining(self.now)
    }

    /// Whether it is fresh, and if not, why it was served.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Whether it is past its TTL.
    pub fn is_stale(&self) -> bool {
        self.freshness != Freshness::Fresh
    }

    /// Whether it was served because the origin failed or is slow.
    pub fn is_degraded(&self) -> bool {
        matches!(self.freshness, Freshness::OriginFailed | Freshness::OriginSlow)
    }
}

impl<T: Send + Sync + 'static> Deref for Outcome<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value()
    }
}

impl<T> Clone for Outcome<T> {
    fn clone(&self) -> Self {
        Outcome { entry: self.entry.clone(), ..*self }
    }
}

impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the value: outcomes end up in logs.
        f.debug_struct("Outcome")
            .field("source", &self.source)
            .field("freshness", &self.freshness)
            .finish_non_exhaustive()
    }
}

/// Turns "the origin has nothing under this key" from an error into `None`.
pub trait AbsentAsNone<T> {
    /// `Ok(None)` for an absent key; every other error stays one.
    fn absent_as_none(self) -> Result<Option<T>, Error>;
}

impl<T> AbsentAsNone<T> for Result<T, Error> {
    fn absent_as_none(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
