//! The hold-off for lagging replicas: what a load from one is born with.
//!
//! A replica that is at most `lag` behind shows, at any moment from `t + lag` on, everything that had been committed by
//! `t`. So what is loaded from it is born not with what the node has applied, but with what it *had* applied `lag` ago:
//! every record up to there was appended by then, so the replica shows the write it stands for; every later one counts
//! as not yet seen, and makes the entry a miss. Pure: the clock is an argument.

use crate::fences::Birth;
use crate::lease::outwait;
use crate::port::Nanos;
use std::collections::VecDeque;

/// Samples kept for each span of the lag. More make what is loaded right after an invalidation kept a little sooner.
const SAMPLES: Nanos = 16;

/// What a node had applied, and by when, as far back as the lag of one region's replica.
#[derive(Debug)]
pub struct HoldOff {
    lag: Nanos,
    /// Each birth had been applied by its moment. Both rise.
    samples: VecDeque<(Nanos, Birth)>,
}

impl HoldOff {
    /// For a replica that is at most `lag` nanoseconds behind.
    pub fn new(lag: Nanos) -> Self {
        HoldOff { lag: outwait(lag), samples: VecDeque::new() }
    }

    /// The node has applied `birth`; `now` was read after it was taken.
    pub fn note(&mut self, birth: Birth, now: Nanos) {
        let is_worth_it = self.samples.back().is_none_or(|(at, last)| {
            last.local < birth.local && now >= at.saturating_add(self.lag / SAMPLES)
        });
        if is_worth_it {
            self.samples.push_back((now, birth));
        }
        // Of those that are old enough, the newest is as good as all.
        while self.samples.get(1).is_some_and(|(at, _)| self.is_old_enough(*at, now)) {
            self.samples.pop_front();
        }
    }

    /// What a load that begins at `now` is born with; `None` when the node does not know that far back: such a load may
    /// be returned to its own reader, never kept and never shared with one that came later.
    pub fn birth(&self, now: Nanos) -> Option<Birth> {
        let old_enough = self.samples.iter().rev().find(|(at, _)| self.is_old_enough(*at, now));
        old_enough.map(|(_, birth)| *birth)
    }

    fn is_old_enough(&self, at: Nanos, now: Nanos) -> bool {
        now > at.saturating_add(self.lag)
    }
}
