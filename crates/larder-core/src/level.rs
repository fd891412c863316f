//! Levels: what a region promises its readers about staleness.

use crate::expiry::nanos;
use crate::fences::Verdict;
use crate::lease::Confirmed;
use crate::port::Nanos;
use std::fmt;
use std::time::Duration;

/// The staleness a region allows. The default is `Bounded(1 s)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// TTL, and invalidations as they arrive; goes on serving when the journal cannot be reached.
    Eventual,
    /// A read that begins this long or longer after a write was acknowledged never returns an older version.
    Bounded(Duration),
}

impl Default for Level {
    fn default() -> Self {
        Level::Bounded(Duration::from_secs(1))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Eventual => f.write_str("eventual"),
            Level::Bounded(bound) => write!(f, "bounded({bound:?})"),
        }
    }
}

/// A [`Level`] in the form a hit uses: nanoseconds, with no bound as the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(Nanos);

impl From<Level> for Bound {
    fn from(level: Level) -> Self {
        match level {
            Level::Eventual => Bound(Nanos::MAX),
            Level::Bounded(bound) => Bound(nanos(bound).min(Nanos::MAX - 1)),
        }
    }
}

impl Bound {
    /// Whether reads need a lease at all.
    #[inline]
    pub fn needs_lease(self) -> bool {
        self.0 != Nanos::MAX
    }

    /// The last word on an entry: what the rule said of it, under the lease loaded before it was looked at, by
    /// a clock read after. The caller must have taken the three in that order.
    #[inline]
    pub fn admit(self, confirmed: Confirmed, verdict: Verdict, now: Nanos) -> Verdict {
        match verdict {
            Verdict::Fresh if self.needs_lease() && !confirmed.holds(now, self.0) => Verdict::Unconfirmed,
            other => other,
        }
    }
}
