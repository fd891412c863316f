//! What the command does without a subcommand: a campaign, the trace of one run, or a measurement of speed.

use crate::args::{RunArgs, Stories};
use crate::attempt;
use crate::campaign::{self, Budget, Plan};
use crate::console::{self, Progress};
use crate::options::Options;
use crate::report::{self, Failure, Summary};
use crate::run::{self, Watch};
use crate::sched::SECOND;
use crate::shrink;
use crate::signals::{INTERRUPTED, Interrupt};
use crate::story;
use crate::tally::{RUNS_FOR_EVERYTHING, Tally};
use crate::work::{self, Work};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Failures that are looked into.
const FAILURES_TOLD: usize = 3;

/// Runs when nobody says how many.
const RUNS: u64 = 100;
const RUNS_OF_STORIES: u64 = 5;

/// Simulated time of the measurement.
const HOUR_S: u64 = 3600;

/// Random base seeds stay short enough to be typed.
const BASES: u64 = 1_000_000_000;

/// Many runs, what came of them, and the story of the first that failed.
pub(crate) fn campaign(args: &RunArgs, interrupt: &Interrupt) -> ExitCode {
    let plan = plan(args);
    if !args.json {
        console::message(&format!("base seed {}, {} at a time", plan.base, plan.jobs));
    }
    let tally = {
        let length = match plan.budget {
            Budget::Runs(runs) => runs * plan.each(),
            Budget::Time(time) => time.as_secs(),
        };
        let unit = if matches!(plan.budget, Budget::Runs(_)) { "runs" } else { "seconds" };
        let mut progress = Progress::start(unit, length);
        campaign::run(&plan, interrupt, |tally| {
            let at = if unit == "runs" { tally.runs } else { tally.took.as_secs() };
            progress.show(at, || report::progress(tally));
        })
    };
    let is_large =
        plan.stories.is_none() && plan.overrides.is_full_mix() && tally.runs >= RUNS_FOR_EVERYTHING;
    let never = is_large.then(|| tally.never_happened());
    let failures = look_into(&tally, &plan, interrupt);
    let summary = Summary::of(&tally, plan.base, never.as_deref(), failures);
    if args.json {
        console::result(&serde_json::to_string(&summary).unwrap_or_default());
    } else {
        if !summary.failures.is_empty() {
            console::result(&report::failures(&summary.failures));
        }
        match &plan.stories {
            Some(Stories(stories)) => console::result(&report::stories(stories, &tally)),
            None => {
                console::result(&report::table(&tally));
                let said = report::sentences(&tally, plan.base, never.as_deref());
                said.iter().for_each(|sentence| console::result(sentence));
            }
        }
    }
    match (summary.ok, tally.is_interrupted) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    }
}

fn plan(args: &RunArgs) -> Plan {
    let usual = if args.scenario.is_some() { RUNS_OF_STORIES } else { RUNS };
    let runs = args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { usual });
    Plan {
        base: args.seed.unwrap_or_else(|| fastrand::u64(..BASES)),
        budget: args.seconds.map_or(Budget::Runs(runs), |seconds| Budget::Time(Duration::from_secs(seconds))),
        jobs: args.jobs(),
        overrides: args.overrides.clone(),
        stories: args.scenario.clone(),
        first: args.first,
    }
}

/// The first failures, shrunk.
fn look_into(tally: &Tally, plan: &Plan, interrupt: &Interrupt) -> Vec<Failure> {
    let mut failures = Vec::new();
    for outcome in tally.failed.iter().take(FAILURES_TOLD) {
        let failure = Failure::of(outcome);
        let name = work::named(outcome.story, failure.seed);
        if outcome.story.is_some() {
            failures.push(failure.told_in_full(outcome));
            continue;
        }
        // What never comes back would never come back here either.
        if plan.first || interrupt.is_asked() || failure.promise == attempt::COMES_BACK {
            failures.push(failure);
            continue;
        }
        console::message(&format!("{name} failed: looking for a shorter history"));
        match shrink::shrink(outcome, plan.jobs, interrupt) {
            Some(shrunk) => failures.push(failure.shrunk(&shrunk)),
            None => {
                console::message(&format!("{name} does not fail again: the simulation is not deterministic"));
                failures.push(failure);
            }
        }
    }
    failures
}

/// Everything that happens in one run.
pub(crate) fn trace(args: &RunArgs) -> ExitCode {
    let plan = plan(args);
    if plan.each() > 1 {
        console::message("larder-sim: --trace shows one run: expected the name of one scenario, got all");
        return ExitCode::from(2);
    }
    let Some(outcome) = shrink::traced(plan.work(0)) else {
        console::message("larder-sim: the run was lost");
        return ExitCode::FAILURE;
    };
    for line in &outcome.trace {
        console::result(line);
    }
    if outcome.passed() {
        console::result(&format!("{} kept every promise", work::named(outcome.story, plan.base)));
        return ExitCode::SUCCESS;
    }
    console::result("\nof these, what concerns the broken promise:");
    for line in story::tell(&outcome) {
        console::result(&line);
    }
    ExitCode::FAILURE
}

/// One long run, on a thread of its own so that it can be watched and ended.
pub(crate) fn speed(args: &RunArgs, interrupt: &Interrupt) -> ExitCode {
    let seed = args.seed.unwrap_or(1);
    let options = args.overrides.over(Options::cluster(seed, HOUR_S));
    let watch = Arc::new(Watch::default());
    let (send, outcome) = mpsc::channel();
    let watched = watch.clone();
    let length = options.ends_at() / SECOND;
    let run = move |work: &Work| run::watched(&work.options, false, &watched);
    attempt::start_as(Work::drawn(options), run, move |outcome| _ = send.send(outcome));
    let mut progress = Progress::start("simulated seconds", length);
    let outcome = loop {
        match outcome.recv_timeout(Duration::from_millis(200)) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Disconnected) => return ExitCode::FAILURE,
            Err(RecvTimeoutError::Timeout) => {
                progress.show(watch.simulated.load(Ordering::Relaxed) / SECOND, String::new);
                watch.stop.fetch_or(interrupt.is_asked(), Ordering::Relaxed);
            }
        }
    };
    drop(progress);
    if args.json {
        console::result(&serde_json::to_string(&outcome).unwrap_or_default());
    } else {
        console::result(&report::speed(&outcome));
    }
    if outcome.passed() {
        return if interrupt.is_asked() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS };
    }
    console::message(&report::failures(&[Failure::of(&outcome)]));
    ExitCode::FAILURE
}
