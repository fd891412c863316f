//! Expiry: when an entry is to be refreshed, when it is stale, and when it is of no use at all.
//!
//! Pure arithmetic over times the caller gives. Whether an entry was *invalidated* is the rule's business, not
//! this module's: an invalidated entry is never served, however young.

use crate::port::Nanos;
use std::time::Duration;

/// How long entries of a region live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expiry {
    /// Soft: how long an entry is served as fresh.
    pub ttl: Duration,
    /// How long after `ttl` it is still served, stale, while one refresh runs. Zero: not at all. The two together
    /// are the hard TTL.
    pub stale_while_revalidate: Duration,
    /// From which fraction of `ttl` (above 0, below 1) an access starts a refresh. `None`: not before it is stale.
    pub refresh_ahead: Option<f64>,
    /// Serving what has expired when the origin fails. `None`: an error instead.
    pub fail_safe: Option<FailSafe>,
    /// How long "there is none" is remembered. `None`: it is not.
    pub negative_ttl: Option<Duration>,
    /// Takes up to this fraction (0 to 0.5) off each entry's TTL at random, so that what was loaded together does
    /// not expire together.
    pub jitter: f64,
}

/// Serving what has expired when the origin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailSafe {
    /// The oldest value served, counted from when it was loaded.
    pub max_age: Duration,
    /// After a failed load, how long the fallback is served before the origin is tried again.
    pub throttle: Duration,
}

/// What the loader said about one entry's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Instead of the region's TTL.
    pub ttl: Option<Duration>,
    /// At most this TTL, whatever the above say; nested loads shorten it.
    pub ttl_max: Option<Duration>,
}

/// The moments of one entry's life, on the clock of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the load that made it ended.
    pub created: Nanos,
    /// From here an access starts a refresh.
    pub refresh: Nanos,
    /// From here it is stale.
    pub soft: Nanos,
    /// From here it is no longer served, save as a fallback.
    pub hard: Nanos,
    /// From here it is of no use.
    pub end: Nanos,
}

/// In which part of its life an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Serve it.
    Fresh,
    /// Serve it, and start a refresh.
    RefreshDue,
    /// Serve it as stale, and start a refresh.
    Stale,
    /// Serve it only if the origin fails.
    Fallback,
    /// Of no use.
    Over,
}

impl Life {
    /// Whether it may be served without asking the origin first.
    pub fn is_served(self) -> bool {
        matches!(self, Life::Fresh | Life::RefreshDue | Life::Stale)
    }
}

impl Expiry {
    /// Entries live this long, and nothing else.
    pub const fn ttl(ttl: Duration) -> Self {
        Expiry {
            ttl,
            stale_while_revalidate: Duration::ZERO,
            refresh_ahead: None,
            fail_safe: None,
            negative_ttl: None,
            jitter: 0.0,
        }
    }

    /// The life of a value loaded at `now`; `random` is uniform in `0.0..1.0`.
    pub fn times(&self, now: Nanos, said: Override, random: f64) -> Times {
        self.lasting(now, self.effective_ttl(said, random))
    }

    /// The life of "there is none", learnt at `now`. `None` when the region does not remember that.
    pub fn negative_times(&self, now: Nanos, said: Override) -> Option<Times> {
        let ttl = said.ttl.or(self.negative_ttl)?;
        let soft = now.saturating_add(nanos(ttl.min(said.ttl_max.unwrap_or(Duration::MAX))));
        Some(Times { created: now, refresh: soft, soft, hard: soft, end: soft })
    }

    fn effective_ttl(&self, said: Override, random: f64) -> Duration {
        // A TTL the loader chose is meant exactly; only the region's own is spread.
        let ttl = said.ttl.unwrap_or_else(|| {
            let taken = nanos(self.ttl) as f64 * (self.jitter * random).clamp(0.0, 1.0);
            self.ttl.saturating_sub(Duration::from_nanos(taken as u64))
        });
        ttl.min(said.ttl_max.unwrap_or(Duration::MAX))
    }

    fn lasting(&self, created: Nanos, ttl: Duration) -> Times {
        let soft = created.saturating_add(nanos(ttl));
        // A TTL of zero means "do not keep": it gets no stale window either.
        let window = if ttl.is_zero() { Duration::ZERO } else { self.stale_while_revalidate };
        let hard = soft.saturating_add(nanos(window));
        let refresh = match self.refresh_ahead {
            Some(fraction) => created.saturating_add((nanos(ttl) as f64 * fraction) as u64).min(soft),
            None => soft,
        };
        let end = self.fail_safe.map_or(hard, |safe| hard.max(created.saturating_add(nanos(safe.max_age))));
        Times { created, refresh, soft, hard, end }
    }
}

impl Times {
    /// In which part of its life the entry is at `now`.
    #[inline]
    pub fn life(&self, now: Nanos) -> Life {
        if now < self.refresh {
            Life::Fresh
        } else if now < self.soft {
            Life::RefreshDue
        } else if now < self.hard {
            Life::Stale
        } else if now < self.end {
            Life::Fallback
        } else {
            Life::Over
        }
    }

    /// The same entry, expired at `now` but kept as a fallback for as long as it would have been.
    #[must_use]
    pub fn expired(self, now: Nanos) -> Times {
        Times { refresh: self.refresh.min(now), soft: self.soft.min(now), hard: self.hard.min(now), ..self }
    }

    /// The same moments on another clock, which shows `there` when this one shows `here`.
    #[must_use]
    pub fn on_clock(self, here: Nanos, there: Nanos) -> Times {
        let shift = |t: Nanos| {
            if t >= here { there.saturating_add(t - here) } else { there.saturating_sub(here - t) }
        };
        Times {
            created: shift(self.created),
            refresh: shift(self.refresh),
            soft: shift(self.soft),
            hard: shift(self.hard),
            end: shift(self.end),
        }
    }

    /// How long the entry is fresh from `now`.
    pub fn remaining(&self, now: Nanos) -> Duration {
        Duration::from_nanos(self.soft.saturating_sub(now))
    }
}

/// A duration in nanoseconds; anything above 500 years is that.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Nanos = 1_000_000_000;

    fn policy() -> Expiry {
        Expiry {
            stale_while_revalidate: Duration::from_secs(5),
            refresh_ahead: Some(0.8),
            fail_safe: Some(FailSafe { max_age: Duration::from_secs(60), throttle: Duration::from_secs(1) }),
            negative_ttl: Some(Duration::from_secs(2)),
            ..Expiry::ttl(Duration::from_secs(10))
        }
    }

    #[test]
    fn a_life_goes_through_its_parts_in_order_with_strict_bounds() {
        let times = policy().times(100 * S, Override::default(), 0.0);
        let expect = [
            (100 * S, Life::Fresh),
            (108 * S - 1, Life::Fresh),
            (108 * S, Life::RefreshDue),
            (110 * S - 1, Life::RefreshDue),
            (110 * S, Life::Stale),
            (115 * S - 1, Life::Stale),
            (115 * S, Life::Fallback),
            (160 * S - 1, Life::Fallback),
            (160 * S, Life::Over),
        ];
        for (now, life) in expect {
            assert_eq!(times.life(now), life, "at {now}");
        }
    }

    #[test]
    fn zero_and_near_infinite_durations_behave() {
        let zero = Expiry::ttl(Duration::ZERO).times(S, Override::default(), 0.0);
        assert_eq!(zero.life(S), Life::Over);
        let forever = Expiry::ttl(Duration::MAX).times(S, Override::default(), 0.0);
        assert_eq!(forever.life(u64::MAX - 1), Life::Fresh);
    }

    #[test]
    fn jitter_only_shortens_and_a_loaders_ttl_is_exact() {
        let spread = Expiry { jitter: 0.5, ..Expiry::ttl(Duration::from_secs(10)) };
        assert_eq!(spread.times(0, Override::default(), 0.999_999).soft / S, 5);
        assert_eq!(spread.times(0, Override::default(), 0.0).soft, 10 * S);
        let said = Override { ttl: Some(Duration::from_secs(3)), ttl_max: None };
        assert_eq!(spread.times(0, said, 0.9).soft, 3 * S);
        let nested = Override { ttl: Some(Duration::from_secs(3)), ttl_max: Some(Duration::from_secs(1)) };
        assert_eq!(spread.times(0, nested, 0.9).soft, S);
    }

    #[test]
    fn an_expired_entry_is_kept_as_a_fallback_only() {
        let times = policy().times(100 * S, Override::default(), 0.0).expired(101 * S);
        assert_eq!(times.life(101 * S), Life::Fallback);
        assert_eq!(times.life(160 * S), Life::Over);
    }

    #[test]
    fn moving_to_another_clock_keeps_age_and_remaining_life() {
        let times = policy().times(100 * S, Override::default(), 0.0);
        let moved = times.on_clock(104 * S, 7_000 * S);
        assert_eq!(moved.remaining(7_000 * S), times.remaining(104 * S));
        assert_eq!(7_000 * S - moved.created, 4 * S);
    }
}
