//! What many runs came to, added up; and whether they were worth anything.

use crate::fault::Fault;
use crate::oracle::Witnessed;
use crate::run::Outcome;
use std::collections::BTreeMap;
use std::time::Duration;

/// From so many runs of the full mix on, everything must have happened at least once.
pub(crate) const RUNS_FOR_EVERYTHING: u64 = 100;

/// Many runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    /// Those that broke a promise, by seed.
    pub(crate) failed: Vec<Outcome>,
    pub(crate) simulated: Duration,
    /// Time of cores spent on runs.
    pub(crate) busy: Duration,
    /// Real time from the beginning to the end.
    pub(crate) took: Duration,
    pub(crate) witnessed: Witnessed,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Somebody asked for an early end.
    pub(crate) is_interrupted: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.simulated += outcome.simulated;
        self.busy += outcome.took;
        self.witnessed.add(&outcome.witnessed);
        for (fault, times) in &outcome.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        if !outcome.passed() {
            let at = self.failed.partition_point(|other| other.options.seed <= outcome.options.seed);
            self.failed.insert(at, outcome);
        }
    }

    pub(crate) fn times(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn passed(&self) -> u64 {
        self.runs - self.failed.len() as u64
    }

    /// Simulated seconds for each second of a core.
    pub(crate) fn speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.busy.as_secs_f64().max(1e-9)
    }

    /// What never happened. Runs in which nothing was cached, or nothing went wrong, prove nothing.
    pub(crate) fn never_happened(&self) -> Vec<String> {
        let seen = &self.witnessed;
        let mut never: Vec<String> = [
            ("a hit in memory", seen.memory_hits),
            ("a hit in the store", seen.store_hits),
            ("a load shared with others", seen.followed),
            ("a load", seen.loads),
            ("an absent row", seen.absent),
            ("a value served while it was revalidated", seen.revalidating),
            ("a fallback of the fail-safe", seen.fallbacks),
            ("an older value within the bound", seen.stale_within_bound),
            ("a write", seen.writes),
            ("a read that failed", seen.failed_reads),
            ("a write that failed", seen.failed_writes),
            ("a node that joined at the end", seen.warm_starts),
        ]
        .into_iter()
        .filter(|(_, times)| *times == 0)
        .map(|(what, _)| what.to_owned())
        .collect();
        let missing = Fault::ALL.into_iter().filter(|fault| self.times(*fault) == 0);
        never.extend(missing.map(|fault| format!("the fault {}", fault.name())));
        never
    }
}

impl Witnessed {
    fn add(&mut self, other: &Witnessed) {
        let Witnessed {
            reads,
            failed_reads,
            writes,
            failed_writes,
            memory_hits,
            store_hits,
            loads,
            followed,
            absent,
            revalidating,
            fallbacks,
            stale_within_bound,
            excused,
            staleness_ms,
            warm_starts,
        } = other;
        self.warm_starts += warm_starts;
        self.reads += reads;
        self.failed_reads += failed_reads;
        self.writes += writes;
        self.failed_writes += failed_writes;
        self.memory_hits += memory_hits;
        self.store_hits += store_hits;
        self.loads += loads;
        self.followed += followed;
        self.absent += absent;
        self.revalidating += revalidating;
        self.fallbacks += fallbacks;
        self.stale_within_bound += stale_within_bound;
        self.excused += excused;
        for (ms, times) in staleness_ms {
            *self.staleness_ms.entry(*ms).or_default() += times;
        }
    }
}
