//! The clock of the process: cheap enough for every hit, and right the moment a paused process resumes.
//!
//! Readings come from the processor's time-stamp counter where the kernel itself trusts it and the machine cannot
//! be suspended, else from `CLOCK_BOOTTIME`. No thread keeps a coarse time: after SIGSTOP a reader may run before
//! such a thread. Each lease renewal compares the counter with the kernel's clock and gives it up for good when the
//! two part ways.

use larder_core::port::{Clock, Nanos};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the counter may stray from the kernel's clock between two renewals: 2 ms, or a thousandth.
const STRAY_NS_MAX: u64 = 2_000_000;
const STRAY_FRACTION_MAX: u64 = 1000;

/// The system's clock; see the module.
#[derive(Debug)]
pub struct SystemClock {
    counter: Option<Counter>,
    given_up: AtomicBool,
}

#[derive(Debug)]
struct Counter {
    clock: quanta::Clock,
    base_raw: u64,
    /// What the kernel's clock shows when the counter shows `base_raw`; set anew at each comparison, so that the two
    /// do not drift apart over days.
    base_ns: AtomicU64,
    /// How far `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`: time spent in suspend, of which there is no more here.
    ahead_ns: Nanos,
    /// The counter at the last comparison: it never runs below this unless it was reset.
    seen_raw: AtomicU64,
    compared: Mutex<(Nanos, u64)>,
}

impl SystemClock {
    /// The best clock this machine has. The first call in a process may take up to 0.2 s: the counter is measured.
    pub fn new() -> Self {
        let counter = counter_is_trusted().then(|| {
            let clock = quanta::Clock::new();
            let (base_raw, base_ns) = (clock.raw(), boottime());
            let ahead_ns = base_ns.saturating_sub(read(ClockId::Monotonic));
            Counter {
                clock,
                base_raw,
                base_ns: AtomicU64::new(base_ns),
                ahead_ns,
                seen_raw: AtomicU64::new(base_raw),
                compared: Mutex::new((base_ns, base_raw)),
            }
        });
        SystemClock { counter, given_up: AtomicBool::new(false) }
    }

    /// What readings come from: `tsc` or `boottime`.
    pub fn source(&self) -> &'static str {
        if self.counter.is_some() && !self.given_up.load(Ordering::Relaxed) { "tsc" } else { "boottime" }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Nanos {
        if let Some(counter) = &self.counter
            && !self.given_up.load(Ordering::Relaxed)
        {
            let raw = counter.clock.raw();
            if raw >= counter.seen_raw.load(Ordering::Relaxed) {
                return counter.base_ns.load(Ordering::Relaxed)
                    + counter.clock.delta_as_nanos(counter.base_raw, raw);
            }
        }
        boottime()
    }

    /// The kernel's own coarse clock: a load from memory it shares, updated at each of its ticks (4 ms at most).
    #[inline]
    fn coarse(&self) -> Nanos {
        match &self.counter {
            Some(counter) if !self.given_up.load(Ordering::Relaxed) => {
                read(ClockId::MonotonicCoarse) + counter.ahead_ns
            }
            _ => boottime(),
        }
    }

    fn trusted(&self) -> Nanos {
        boottime()
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn verify(&self) -> bool {
        let Some(counter) = &self.counter else { return true };
        if self.given_up.load(Ordering::Relaxed) {
            return true;
        }
        let mut compared = counter.compared.lock().unwrap_or_else(PoisonError::into_inner);
        // The kernel's clock on both sides: a pause between the readings is not the counter's fault.
        let before = boottime();
        let raw = counter.clock.raw();
        let after = boottime();
        let (then_ns, then_raw) = *compared;
        let counted = counter.clock.delta_as_nanos(then_raw, raw);
        let (least, most) = (before.saturating_sub(then_ns), after.saturating_sub(then_ns));
        let stray = least.saturating_sub(counted).max(counted.saturating_sub(most));
        let sound = raw >= then_raw && stray <= STRAY_NS_MAX.max(most / STRAY_FRACTION_MAX);
        if sound {
            *compared = (before, raw);
            let since_base = counter.clock.delta_as_nanos(counter.base_raw, raw);
            counter.base_ns.store(before.saturating_sub(since_base), Ordering::Relaxed);
            counter.seen_raw.store(raw, Ordering::Relaxed);
        } else {
            self.given_up.store(true, Ordering::Relaxed);
            tracing::warn!(
                stray_ns = stray,
                "the time-stamp counter strays from the kernel's clock; using CLOCK_BOOTTIME"
            );
        }
        sound
    }
}

fn boottime() -> Nanos {
    read(ClockId::Boottime)
}

#[inline]
fn read(id: ClockId) -> Nanos {
    let time = clock_gettime(id);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64).max(1)
}

/// The kernel uses the counter as its own clock, the counter never stops, and the machine has no sleep state from
/// which it would come back reset or behind.
fn counter_is_trusted() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel_uses_it =
        read("/sys/devices/system/clocksource/clocksource0/current_clocksource").trim() == "tsc";
    let cpu = read("/proc/cpuinfo");
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    let sleeps = read("/sys/power/state").split_whitespace().any(|state| state == "mem" || state == "disk");
    kernel_uses_it && has("constant_tsc") && has("nonstop_tsc") && (!sleeps || has("nonstop_tsc_s3"))
}

/// The clock a cache runs on. An enum, not a trait object, so that a hit's reading is inlined.
#[derive(Clone)]
pub(crate) enum Time {
    System(Arc<SystemClock>),
    Given(Arc<dyn Clock>),
}

impl Time {
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        match self {
            Time::System(clock) => clock.now(),
            Time::Given(clock) => clock.now(),
        }
    }

    #[inline]
    pub(crate) fn coarse(&self) -> Nanos {
        match self {
            Time::System(clock) => clock.coarse(),
            Time::Given(clock) => clock.coarse(),
        }
    }

    pub(crate) fn trusted(&self) -> Nanos {
        match self {
            Time::System(clock) => clock.trusted(),
            Time::Given(clock) => clock.trusted(),
        }
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        match self {
            Time::System(clock) => clock.wall_ms(),
            Time::Given(clock) => clock.wall_ms(),
        }
    }

    pub(crate) fn verify(&self) -> bool {
        match self {
            Time::System(clock) => clock.verify(),
            Time::Given(clock) => clock.verify(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_the_kernel_across_comparisons() {
        let clock = SystemClock::new();
        let mut last = clock.now();
        for i in 0..100_000 {
            if i % 10_000 == 0 {
                assert!(clock.verify());
            }
            let before = boottime();
            let now = clock.now();
            let after = boottime();
            // A comparison may set the clock right by what it strayed since the one before: microseconds.
            assert!(now + STRAY_NS_MAX > last);
            let off = before.saturating_sub(now).max(now.saturating_sub(after));
            assert!(off < STRAY_NS_MAX, "reading {i} is {off} ns off the kernel's clock");
            last = now;
        }
        assert!(clock.verify());
    }
}
