//! The summary of a campaign for programs: one object.

use super::Failure;
use crate::fault::Fault;
use crate::oracle::Witnessed;
use crate::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;

/// The summary, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary<'a> {
    /// Every promise was kept, and the runs were worth something.
    pub(crate) ok: bool,
    pub(crate) base_seed: u64,
    pub(crate) runs: u64,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) interrupted: bool,
    pub(crate) simulated_hours: f64,
    pub(crate) seconds: f64,
    pub(crate) simulated_seconds_per_second_and_core: f64,
    pub(crate) witnessed: &'a Witnessed,
    /// Every kind, those that never struck included.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Asked of large campaigns of the full mix only; `null` elsewhere.
    pub(crate) never_happened: Option<Vec<String>>,
    pub(crate) failed_seeds: Vec<u64>,
    /// The first few, shrunk.
    pub(crate) failures: Vec<Failure>,
}

impl<'a> Summary<'a> {
    pub(crate) fn of(tally: &'a Tally, base: u64, never: Option<&[String]>, failures: Vec<Failure>) -> Self {
        Summary {
            ok: tally.failed.is_empty() && never.is_none_or(<[String]>::is_empty),
            base_seed: base,
            runs: tally.runs,
            passed: tally.passed(),
            failed: tally.failed.len() as u64,
            interrupted: tally.is_interrupted,
            simulated_hours: tally.simulated.as_secs_f64() / 3600.0,
            seconds: tally.took.as_secs_f64(),
            simulated_seconds_per_second_and_core: tally.speed(),
            witnessed: &tally.witnessed,
            faults: Fault::ALL.into_iter().map(|fault| (fault, tally.times(fault))).collect(),
            never_happened: never.map(<[String]>::to_vec),
            failed_seeds: tally.failed.iter().map(|outcome| outcome.options.seed).collect(),
            failures,
        }
    }
}
