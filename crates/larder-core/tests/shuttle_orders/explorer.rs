//! The two explorers, made to look alike.

#[cfg(larder_loom)]
pub(crate) use loom::{sync::Mutex, sync::atomic::AtomicU64, thread};
#[cfg(larder_shuttle)]
pub(crate) use shuttle::{sync::Mutex, sync::atomic::AtomicU64, thread};

/// Schedules drawn of each history, by each of two ways of drawing.
#[cfg(larder_shuttle)]
const DRAWN: usize = 1_000;

/// Runs a history under schedule after schedule; panics with the one in which it fails.
#[cfg(larder_shuttle)]
pub(crate) fn explore(history: fn()) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};
    let mut config = Config::new();
    // Orders weaker than sequential consistency are what the other explorer is for.
    config.silence_warnings = true;
    // Few changes of thread at just the right place, then many at any place.
    Runner::new(PctScheduler::new(3, DRAWN), config.clone()).run(history);
    Runner::new(RandomScheduler::new(DRAWN), config).run(history);
}

/// Runs a history under every schedule, and with every value that its loads may return in it.
#[cfg(larder_loom)]
pub(crate) fn explore(history: fn()) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = schedules.clone();
    loom::model(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        history();
    });
    println!("{} schedules", schedules.load(Ordering::Relaxed));
}
