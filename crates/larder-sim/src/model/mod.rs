//! A model of the protocol (`design.md` §1), explored exhaustively within small bounds by `stateright`.
//!
//! `larder-sim model` calls [`run`]; nobody else does. The model is not the engine: it has no line of `larder` or
//! `larder-core` in it and says what the *protocol* does, step by step, where the simulator runs the real code.
//!
//! # What is modelled
//! Five models, each in several configurations ([`catalogue`]):
//! - [`core`]: stamp, rule, hit, apply, renew, start (orders 1 to 6), with dynamic tags, transactions that stay open or
//!   are rolled back, loads inside them, a store that loses and rolls back, flights, drifting clocks, restarts, gaps,
//!   and `write(..)` that returns after acks;
//! - [`guard`]: intents, orphans, starts amid open intents (orders 6 and 7, linearizable);
//! - [`session`]: tokens (order 8, session);
//! - [`replica`]: loads from lagging replicas (order 9);
//! - [`failover`]: nonces, beats, epochs, loss of the journal's tail, of all of it, and of the database's history
//!   (order 10).
//!
//! Every touch of shared memory is a step of its own, and time passes between any two steps, so a pause of any length
//! at any point is part of every configuration. Times are ages, not instants: runs have no end, and the number of
//! states is finite all the same. Promises are `always` properties over readers that are about to serve;
//! `sometimes` properties show that hits, staleness inside the bound, refusals and faults really happen.
//!
//! # What "explored" means
//! Without a violation every reachable state within a configuration's bounds was visited; nothing is cut off. States
//! are told apart by a 64-bit hash, as always in `stateright`: with 10 million states the chance that one was taken
//! for another is about 3 in a million. These reductions lose no violation, and each is argued where it is made: a
//! read begins with its first step (an earlier begin asks for less), so a hit that starts over is a new read; two
//! readers of one node are interchangeable; of a node from whose memory nobody reads, only its stamps matter; what a
//! reader no longer needs is forgotten.
//!
//! # Weakenings
//! [`weakening`] lists the ways to break the protocol, at least one for each of the ten orders. Each is run in the
//! smallest bounds that show it and must end in a violation. A weakening that is not caught fails the run, just as a
//! violation in a configuration that is not weakened.
//!
//! # What is not modelled
//! More than two nodes, two tags, three writes and two failovers; several keys; prefixes and patterns (to the rule they are
//! tags); batches; values of a store that are damaged; memory orders (shuttle tests those); split brain; liveness.
//! Whatever a `Deep` configuration adds is explored only when asked for.

mod catalogue;
mod check;
mod core;
mod failover;
mod guard;
mod replica;
mod report;
mod session;
#[cfg(test)]
mod tests;
mod weakening;

use crate::console::{Progress, message, result};
use catalogue::{Configuration, Size};
use report::{CheckedConfiguration, CheckedWeakening, Report};
use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Instant;
use weakening::About;

/// What to explore, and how to say what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// One JSON object instead of tables.
    pub(crate) json: bool,
    /// Larger bounds: minutes and gigabytes for some configurations.
    pub(crate) deep: bool,
    /// Only this configuration with its weakenings, or only this weakening, with its story.
    pub(crate) only: Option<String>,
}

/// Explores the model. Exit code 0: every promise held, everything that had to happen did, every weakening was caught;
/// 1: not; 2: there is nothing of the name asked for.
pub(crate) fn run(ask: &Ask) -> ExitCode {
    let wanted = |name: &str| ask.only.as_deref().is_none_or(|only| only == name);
    let configurations: Vec<_> = catalogue::ALL.iter().filter(|c| wanted(c.name)).collect();
    let weakenings: Vec<_> =
        weakening::ALL.iter().filter(|weak| wanted(weak.name) || wanted(weak.configuration)).collect();
    if configurations.is_empty() && weakenings.is_empty() {
        message(&unknown(ask.only.as_deref().unwrap_or_default()));
        return ExitCode::from(2);
    }
    let report = explore(&configurations, &weakenings, if ask.deep { Size::Deep } else { Size::Standard });
    result(&if ask.json { report.json() } else { report.text(ask.only.is_some()) });
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn explore(configurations: &[&Configuration], weakenings: &[&'static About], size: Size) -> Report {
    let began = Instant::now();
    let runs = configurations.len() + weakenings.len();
    let progress = RefCell::new(Progress::start("model", runs as u64));
    let mut report = Report::default();
    for (done, configuration) in configurations.iter().enumerate() {
        let hear = |steps| say(&progress, done, configuration.name, steps);
        let checked = configuration.check(None, size, &hear);
        report.configurations.push(CheckedConfiguration::new(configuration, size, checked));
    }
    for (done, weak) in (configurations.len()..).zip(weakenings) {
        let Some(configuration) = catalogue::ALL.iter().find(|c| c.name == weak.configuration) else {
            continue;
        };
        let hear = |steps| say(&progress, done, weak.name, steps);
        // The smallest bounds are enough to catch it, and give the shortest story.
        let checked = configuration.check(Some(weak.weak), Size::Small, &hear);
        report.weakenings.push(CheckedWeakening::new(weak, checked));
    }
    report.time = began.elapsed();
    report
}

fn say(progress: &RefCell<Progress>, done: usize, name: &str, steps: usize) {
    progress.borrow_mut().show(done as u64, || format!("{name}, {steps} steps tried"));
}

fn unknown(only: &str) -> String {
    let configurations: Vec<_> = catalogue::ALL.iter().map(|c| c.name).collect();
    let weakenings: Vec<_> = weakening::ALL.iter().map(|weak| weak.name).collect();
    format!(
        "--only {only}: expected a configuration ({}) or a weakening ({})",
        configurations.join(", "),
        weakenings.join(", ")
    )
}
