//! How long a run keeps a core busy: what speed is stated in, since on a machine with other work the clock on the wall
//! says more about that work.

use std::time::{Duration, Instant};

/// Runs from its start.
pub(crate) struct Stopwatch {
    busy: Option<Duration>,
    since: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch { busy: busy(), since: Instant::now() }
    }

    /// The time this thread was on a core since then; the time that passed, where the system does not tell.
    pub(crate) fn read(&self) -> Duration {
        match (self.busy, busy()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.since.elapsed(),
        }
    }
}

/// Linux tells it, in nanoseconds, as the first of three numbers.
fn busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let first = text.split_ascii_whitespace().next()?;
    first.parse().ok().map(Duration::from_nanos)
}
