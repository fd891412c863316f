//! What a read returns: the value, where it came from, how old it is, and whether and why it is stale.

use crate::error::Error;
use crate::memory::{self, Entry, Typed};
use larder_core::port::Nanos;
use std::fmt;
use std::num::NonZeroU64;
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
    /// A load another reader had begun, in this process or on another node.
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
    pub(crate) how: How,
    pub(crate) now: Nanos,
}

/// Source and freshness in one word. A hit hands its outcome up through several moves; as bytes of their own these
/// were written one by one and read back together, for which a processor waits until the writes, and every load before
/// them, have ended: no two hits overlapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct How(NonZeroU64);

impl How {
    /// A fresh hit in memory.
    pub(crate) const HIT: How = How::new(Source::Memory, Freshness::Fresh);

    pub(crate) const fn new(source: Source, freshness: Freshness) -> Self {
        let source = match source {
            Source::Memory => 0,
            Source::Loader => 1,
            Source::Flight => 2,
            Source::Store(at) => 0x100 | at as u64,
        };
        How(NonZeroU64::MIN.saturating_add(source << 16 | (freshness as u64) << 8))
    }

    fn source(self) -> Source {
        match self.0.get() >> 16 {
            0 => Source::Memory,
            1 => Source::Loader,
            2 => Source::Flight,
            at => Source::Store(at as u8),
        }
    }

    fn freshness(self) -> Freshness {
        match self.0.get() >> 8 & 0xff {
            0 => Freshness::Fresh,
            1 => Freshness::Revalidating,
            2 => Freshness::OriginFailed,
            _ => Freshness::OriginSlow,
        }
    }
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
        Some(Outcome { entry, how: How::new(source, freshness), now })
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &T {
        self.entry.value()
    }

    /// Where it came from.
    pub fn source(&self) -> Source {
        self.how.source()
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
        self.how.freshness()
    }

    /// Whether it is past its TTL.
    pub fn is_stale(&self) -> bool {
        self.freshness() != Freshness::Fresh
    }

    /// Whether it was served because the origin failed or is slow.
    pub fn is_degraded(&self) -> bool {
        matches!(self.freshness(), Freshness::OriginFailed | Freshness::OriginSlow)
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
            .field("source", &self.how.source())
            .field("freshness", &self.how.freshness())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_freshness_come_back_as_they_were_put_in() {
        let stores = (0..=u8::MAX).map(Source::Store);
        for source in [Source::Memory, Source::Loader, Source::Flight].into_iter().chain(stores) {
            for freshness in
                [Freshness::Fresh, Freshness::Revalidating, Freshness::OriginFailed, Freshness::OriginSlow]
            {
                let how = How::new(source, freshness);
                assert_eq!((how.source(), how.freshness()), (source, freshness));
            }
        }
    }
}
