//! Looks for the simplest run that breaks the same promise.
//!
//! A run is chaotic: take one thing away and every draw after it is another. So each simpler world is tried with some
//! other seeds too, and the seed found is part of the answer. Bounded in runs and in time.

use crate::attempt;
use crate::options::{Capture, Options};
use crate::run::Outcome;

use crate::signals::Interrupt;
use crate::work::Work;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs tried for one failure, at most.
const RUNS_MAX: u64 = 200;

/// Real time for one failure, about.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Seeds tried for each simpler world, beside the one that failed.
const OTHER_SEEDS: u64 = 3;

/// A simpler run, and what was done to find it.
#[derive(Debug)]
pub(crate) struct Shrunk {
    /// With its trace.
    pub(crate) outcome: Outcome,
    pub(crate) runs: u64,
}

struct Search<'a> {
    promise: &'static str,
    best: Outcome,
    runs: u64,
    began: Instant,
    tried: BTreeSet<String>,
    jobs: usize,
    interrupt: &'a Interrupt,
}

/// The simplest run found that breaks the same promise as this one. `None` if not even this one does so again, which
/// means that the simulation is not deterministic.
pub(crate) fn shrink(failed: &Outcome, jobs: u64, interrupt: &Interrupt) -> Option<Shrunk> {
    let promise = failed.violations.first()?.promise;
    let mut search = Search {
        promise,
        best: failed.clone(),
        runs: 0,
        began: Instant::now(),
        tried: BTreeSet::new(),
        jobs: usize::try_from(jobs).unwrap_or(1).max(1),
        interrupt,
    };
    while search.step() {}
    let runs = search.runs;
    let outcome = traced(Work::drawn(search.best.options))?;
    (outcome.violations.first()?.promise == promise).then_some(Shrunk { outcome, runs })
}

/// One run with everything written down.
pub(crate) fn traced(work: Work) -> Option<Outcome> {
    let (send, outcome) = mpsc::channel();
    attempt::start(work, true, move |outcome| _ = send.send(outcome));
    outcome.recv().ok()
}

impl Search<'_> {
    /// Finds one simpler run; false if there is none, or no time to look.
    fn step(&mut self) -> bool {
        for simpler in simpler(&self.best) {
            if self.is_over() {
                return false;
            }
            if !self.tried.insert(format!("{simpler:?}")) {
                continue;
            }
            if let Some(found) = self.attempt(&simpler) {
                self.best = found;
                return true;
            }
        }
        false
    }

    fn is_over(&self) -> bool {
        self.runs >= RUNS_MAX || self.began.elapsed() >= TIME_MAX || self.interrupt.is_asked()
    }

    /// Runs a simpler world with its own seed and with others, as many at once as allowed. The first that fails counts.
    fn attempt(&mut self, simpler: &Options) -> Option<Outcome> {
        let others = (1..=OTHER_SEEDS).map(|n| simpler.seed.wrapping_mul(31).wrapping_add(n) % 1_000_000);
        let seeds: Vec<u64> = std::iter::once(simpler.seed).chain(others).collect();
        for seeds in seeds.chunks(self.jobs) {
            let (send, outcomes) = mpsc::channel();
            for (at, seed) in seeds.iter().enumerate() {
                let work = Work::drawn(Options { seed: *seed, ..simpler.clone() });
                let send = send.clone();
                attempt::start(work, false, move |outcome| _ = send.send((at, outcome)));
            }
            drop(send);
            let mut ended: Vec<(usize, Outcome)> = outcomes.into_iter().collect();
            self.runs += ended.len() as u64;
            ended.sort_by_key(|(at, _)| *at);
            let broken =
                |outcome: &Outcome| outcome.violations.first().is_some_and(|v| v.promise == self.promise);
            if let Some((_, found)) = ended.into_iter().find(|(_, outcome)| broken(outcome)) {
                return Some(found);
            }
            if self.is_over() {
                return None;
            }
        }
        None
    }
}

/// Worlds in which less happens, the simplest first.
fn simpler(failed: &Outcome) -> Vec<Options> {
    let from = &failed.options;
    let mut found = Vec::new();
    let mut with = |change: &dyn Fn(&mut Options)| {
        let mut options = from.clone();
        change(&mut options);
        if format!("{options:?}") != format!("{from:?}") {
            found.push(options);
        }
    };
    let at_ms = failed.violations.first().map_or(0, |violation| (violation.at * 1e3) as u64 + 1);
    if at_ms > 1 && at_ms < from.faulty_ms {
        // What comes after the failure is of no interest.
        with(&|options| (options.faulty_ms, options.quiet_ms) = (at_ms, 0));
        with(&|options| options.faulty_ms = at_ms);
    }
    fewer_faults(from, &mut with);
    for nodes in [1, 2, from.nodes.saturating_sub(1)] {
        with(&|options| options.nodes = nodes.clamp(1, from.nodes));
    }
    for rows in [1, 2, 4, from.rows / 2] {
        with(&|options| options.rows = rows.clamp(1, from.rows));
    }
    with(&|options| options.tenants = 1);
    with(&|options| options.faulty_ms /= 2);
    with(&|options| options.quiet_ms = from.quiet_ms.min(from.quiet_ms_least()));
    for ops in [from.ops_per_s / 8, from.ops_per_s / 2] {
        with(&|options| options.ops_per_s = ops.max(1));
    }
    with(&|options| options.store = false);
    with(&|options| options.guarded_every = 0);
    with(&|options| {
        options.capture = if from.capture == Capture::Both { Capture::Direct } else { from.capture }
    });
    with(&|options| options.intensity = 1.0);
    with(&|options| options.memory_kib = from.memory_kib.max(4096));
    with(&|options| options.targets_max = from.targets_max.max(4096));
    with(&|options| options.retention = from.retention.max(10_000));
    with(&|options| options.ttl_ms = from.ttl_ms.max(60_000));
    with(&|options| options.loads_max = from.loads_max.max(16));
    found
}

/// None, the halves, the quarters, and then all but each.
fn fewer_faults(from: &Options, with: &mut impl FnMut(&dyn Fn(&mut Options))) {
    let faults = &from.faults;
    if faults.is_empty() {
        return;
    }
    with(&|options| options.faults.clear());
    for parts in [2, 4] {
        for part in faults.chunks(faults.len().div_ceil(parts)) {
            with(&|options| options.faults = part.to_vec());
            with(&|options| options.faults.retain(|fault| !part.contains(fault)));
        }
    }
    for gone in faults {
        with(&|options| options.faults.retain(|fault| fault != gone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::oracle::Violation;
    use crate::overrides;

    fn options() -> Options {
        let faults = vec![Fault::Overtake, Fault::StoreLose, Fault::DbError];
        Options { faults, faulty_ms: 8000, ..Options::drawn(3) }
    }

    #[test]
    fn every_simpler_world_differs_and_has_no_more_in_it() {
        let from = options();
        let failed =
            Outcome::broken(from.clone(), Violation { at: 2.0, ..Violation::outside("x", String::new()) });
        let simpler = simpler(&failed);
        assert!(simpler.len() > 10, "{}", simpler.len());
        for options in simpler {
            assert_ne!(overrides::flags(&options), overrides::flags(&from));
            assert!(options.faults.len() <= from.faults.len() && options.faulty_ms <= from.faulty_ms);
            assert!(options.nodes >= 1 && options.nodes <= from.nodes && options.rows <= from.rows);
        }
    }
}
