//! A run on a thread of its own, whatever becomes of it.
//!
//! A run leaves things in its thread (what overtakes it, whether it is in a loader), so each gets a new one. A panic in
//! the engine is a broken promise like any other, and not the end of the program.

use crate::oracle::Violation;
use crate::run::Outcome;
use crate::work::Work;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread::Builder;

/// The promise that a panic breaks.
pub(crate) const NO_PANIC: &str = "no panic";

/// The promise that a run breaks which does not come back.
pub(crate) const COMES_BACK: &str = "a run ends";

const NAME: &str = "run";
const STACK: usize = 16 << 20;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic in a run is not printed but kept for its outcome.
pub(crate) fn keep_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(NAME) {
            PANIC.with_borrow_mut(|panic| _ = panic.get_or_insert_with(|| told(info)));
        } else {
            usual(info);
        }
    }));
}

fn told(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload().downcast_ref::<&str>().copied();
    let text = text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("a panic without words");
    match info.location() {
        Some(at) => format!("{message}, at {}:{}", at.file(), at.line()),
        None => message.to_owned(),
    }
}

/// Starts this on a thread of its own; `done` is told there what came of it. False when there is no thread to be had.
pub(crate) fn start(work: Work, traced: bool, done: impl FnOnce(Outcome) + Send + 'static) -> bool {
    start_as(work, move |work| work.run(traced), done)
}

/// The same, with more to say about how it is run.
pub(crate) fn start_as(
    work: Work,
    run: impl FnOnce(&Work) -> Outcome + Send + 'static,
    done: impl FnOnce(Outcome) + Send + 'static,
) -> bool {
    let run = move || {
        done(catch_unwind(AssertUnwindSafe(|| run(&work))).unwrap_or_else(|_| {
            let what = PANIC.take().unwrap_or_default();
            work.broken(Violation::outside(NO_PANIC, what))
        }));
    };
    Builder::new().name(NAME.to_owned()).stack_size(STACK).spawn(run).is_ok()
}
