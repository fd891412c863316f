//! Timers: who sleeps until when, cheap to set and cheaper to forget.
//!
//! Most timers are deadlines of something that ends long before. Only those of the next few milliseconds are kept in
//! order; the others lie in the bucket of their time, and who has stopped sleeping by then is never sorted in at all.

use super::Time;
use super::task::TaskId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

/// A bucket holds the timers of two to this many nanoseconds: four milliseconds.
const WIDTH: u32 = 22;
/// Buckets ahead of the present: seventeen seconds.
const BUCKETS: u64 = 4096;

/// When, and for whom: a place among the sleepers under its generation.
type Timer = (Time, u64);

pub(super) struct Timers {
    sleepers: Vec<Sleeper>,
    free: Vec<u32>,
    /// All of the buckets that have been opened.
    near: BinaryHeap<Reverse<Timer>>,
    buckets: Vec<Vec<Timer>>,
    in_buckets: usize,
    /// Further ahead than there are buckets.
    far: BinaryHeap<Reverse<Timer>>,
    /// The last bucket that has been opened.
    opened: u64,
}

struct Sleeper {
    generation: u32,
    wakes: Option<Wakes>,
    is_due: bool,
}

/// Whom a timer wakes.
pub(super) enum Wakes {
    /// The task that polled it.
    Task(TaskId),
    /// Somebody inside of a task.
    Other(Waker),
}

/// A place among the sleepers, and which of its tenants is meant.
#[derive(Clone, Copy)]
pub(super) struct Place {
    slot: u32,
    generation: u32,
}

impl Place {
    fn packed(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    fn unpacked(packed: u64) -> Self {
        Place { slot: packed as u32, generation: (packed >> 32) as u32 }
    }
}

impl Timers {
    pub(super) const fn new() -> Self {
        Timers {
            sleepers: Vec::new(),
            free: Vec::new(),
            near: BinaryHeap::new(),
            buckets: Vec::new(),
            in_buckets: 0,
            far: BinaryHeap::new(),
            opened: 0,
        }
    }

    /// Sets a timer for this moment.
    pub(super) fn set(&mut self, at: Time, wakes: Wakes) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sleepers.push(Sleeper { generation: 0, wakes: None, is_due: false });
            (self.sleepers.len() - 1) as u32
        });
        let sleeper = &mut self.sleepers[slot as usize];
        sleeper.generation = sleeper.generation.wrapping_add(1);
        sleeper.wakes = Some(wakes);
        sleeper.is_due = false;
        let place = Place { slot, generation: sleeper.generation };
        let (timer, bucket) = ((at, place.packed()), at >> WIDTH);
        if bucket <= self.opened {
            self.near.push(Reverse(timer));
        } else if bucket < self.opened + BUCKETS {
            if self.buckets.is_empty() {
                self.buckets.resize_with(BUCKETS as usize, Vec::new);
            }
            self.buckets[(bucket % BUCKETS) as usize].push(timer);
            self.in_buckets += 1;
        } else {
            self.far.push(Reverse(timer));
        }
        place
    }

    /// Nobody waits for it any more; whom it would have woken.
    pub(super) fn forget(&mut self, place: Place) -> Option<Wakes> {
        let sleeper = self.sleepers.get_mut(place.slot as usize)?;
        if sleeper.generation != place.generation {
            return None;
        }
        sleeper.generation = sleeper.generation.wrapping_add(1);
        self.free.push(place.slot);
        sleeper.wakes.take()
    }

    /// Whether it has run out; until then it wakes `wakes`, and no longer whom it hands back.
    pub(super) fn look(&mut self, place: Place, wakes: Wakes) -> Result<(), Option<Wakes>> {
        match self.sleepers.get_mut(place.slot as usize) {
            Some(sleeper) if !sleeper.is_due => Err(sleeper.wakes.replace(wakes)),
            _ => Ok(()),
        }
    }

    /// Whether a timer may have run out by now.
    pub(super) fn are_due(&mut self, now: Time) -> bool {
        while self.opened < now >> WIDTH {
            self.open_next();
        }
        self.near.peek().is_some_and(|Reverse((at, _))| *at <= now)
    }

    /// Takes out whoever has slept until now, one at a time and in order.
    pub(super) fn wake(&mut self, now: Time) -> Option<Wakes> {
        while self.are_due(now) {
            let Some(Reverse((_, packed))) = self.near.pop() else { break };
            let place = Place::unpacked(packed);
            let sleeper = &mut self.sleepers[place.slot as usize];
            if sleeper.generation == place.generation {
                sleeper.is_due = true;
                if let Some(wakes) = sleeper.wakes.take() {
                    return Some(wakes);
                }
            }
        }
        None
    }

    /// When the next timer runs out.
    pub(super) fn next(&mut self) -> Option<Time> {
        loop {
            if let Some(Reverse((at, _))) = self.near.peek() {
                return Some(*at);
            }
            if self.in_buckets == 0 {
                let Reverse((at, _)) = self.far.peek()?;
                self.opened = self.opened.max((at >> WIDTH) - 1);
            }
            self.open_next();
        }
    }

    fn open_next(&mut self) {
        self.opened += 1;
        let is_open = |at: Time| at >> WIDTH <= self.opened;
        while self.far.peek().is_some_and(|Reverse((at, _))| is_open(*at)) {
            self.near.extend(self.far.pop());
        }
        if self.in_buckets == 0 {
            return;
        }
        let bucket = &mut self.buckets[(self.opened % BUCKETS) as usize];
        self.in_buckets -= bucket.len();
        for timer in bucket.drain(..) {
            let place = Place::unpacked(timer.1);
            if self.sleepers[place.slot as usize].generation == place.generation {
                self.near.push(Reverse(timer));
            }
        }
    }

    /// Forgets all timers; whom they would have woken.
    pub(super) fn clear(&mut self) -> Vec<Wakes> {
        self.near.clear();
        self.far.clear();
        self.buckets = Vec::new();
        self.in_buckets = 0;
        self.sleepers.iter_mut().filter_map(|sleeper| sleeper.wakes.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// Against a list that is sorted: whatever is set and forgotten, near and far, wakes in the order of its time.
    #[test]
    fn timers_run_out_in_order_and_only_once() {
        let mut rng = Rng::with_seed(7);
        let mut timers = Timers::new();
        let mut expected: Vec<(Time, u64)> = Vec::new();
        let mut places = Vec::new();
        let (mut now, mut woken) = (0, 0);
        for _ in 0..20_000 {
            if rng.bool() {
                let most = *rng.choice(&[1000, 1 << 20, 1 << 24, 1 << 30, 1 << 36]).unwrap();
                let at = now + rng.u64(..most);
                let place = timers.set(at, Wakes::Task(TaskId::default()));
                expected.push((at, place.packed()));
                places.push(place);
            } else if rng.bool() && !places.is_empty() {
                let place: Place = places.swap_remove(rng.usize(..places.len()));
                if timers.forget(place).is_some() {
                    expected.retain(|(_, packed)| *packed != place.packed());
                }
            } else {
                let next = expected.iter().min().map(|(at, _)| *at);
                // Who was forgotten may still be looked for, but nobody comes late.
                assert!(next.is_none_or(|at| timers.next().is_some_and(|next| next <= at)));
                now = match next {
                    Some(at) if rng.bool() => now.max(at),
                    _ => now + rng.u64(..1 << 23),
                };
                let due = expected.iter().filter(|(at, _)| *at <= now).count();
                expected.retain(|(at, _)| *at > now);
                let before = woken;
                while timers.wake(now).is_some() {
                    woken += 1;
                }
                assert_eq!(woken - before, due);
            }
        }
        assert!(woken > 1000);
    }
}
