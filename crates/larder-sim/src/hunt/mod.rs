//! `--seeded-bugs`: makes each known mistake in turn; the seeds that the clean code passes must catch all of them.
//!
//! A mistake is compiled in by `--cfg larder_seeded_bugs` and chosen for a whole process by `LARDER_SEEDED_BUG`, so this
//! binary builds another of itself with that cfg, and that one runs a child for each mistake. A child is the ordinary
//! command on the ordinary mix of faults: what it is asked can be typed.

mod build;
mod child;
mod elsewhere;
mod names;
mod others;
mod verdict;

use crate::args::RunArgs;
use crate::console::{self, Progress};
use crate::signals::{INTERRUPTED, Interrupt};
use child::{Child, Ended};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use verdict::Verdict;

/// The budget of seeds, and the first of them: always the same, so that a mistake caught once is caught again.
const SEEDS: u64 = 200;
const BASE: u64 = 1;

/// Seeds that every scripted story is played with before.
const SEEDS_OF_STORIES: u64 = 3;

/// The longest that one mistake may take, by real time.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HuntError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("no `seeded_bug!(\"name\")` in {0}: there is nothing to try")]
    NothingKnown(PathBuf),
    #[error("no known mistake is called {name:?}: expected one of {}", expected.join(", "))]
    Unknown { name: String, expected: Vec<String> },
    #[error("cannot run {what}: {source}")]
    Run { what: String, source: io::Error },
    #[error("the binary with seeded bugs does not build; cargo said:\n{0}")]
    Build(String),
    #[error(
        "the clean code does not pass the same seeds ({0}), so nothing would be shown by what the others do"
    )]
    Unclean(String),
    #[error("`cargo xtask seeded-bugs --json` answered with something else: {0}")]
    Others(String),
    #[error("stopped, as asked")]
    Interrupted,
}

/// Runs the hunt, in another binary if need be.
pub(crate) fn hunt(args: &RunArgs, interrupt: &Interrupt) -> ExitCode {
    let done = wanted(args).and_then(|names| {
        if cfg!(larder_seeded_bugs) { all(&names, args, interrupt) } else { build::hand_over(interrupt) }
    });
    match done {
        Ok(code) => code,
        Err(HuntError::Interrupted) => {
            console::message("larder-sim: stopped, as asked");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            console::message(&format!("larder-sim: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A process can only be told to make a mistake that there is.
pub(crate) fn check_chosen() -> Result<(), HuntError> {
    match std::env::var("LARDER_SEEDED_BUG") {
        Ok(name) if cfg!(larder_seeded_bugs) => {
            let known = names::known()?;
            if known.contains(&name) {
                Ok(())
            } else {
                Err(HuntError::Unknown { name, expected: known.into_iter().collect() })
            }
        }
        _ => Ok(()),
    }
}

/// Every mistake, as many at once as allowed.
fn all(names: &[String], args: &RunArgs, interrupt: &Interrupt) -> Result<ExitCode, HuntError> {
    let asked = asked(args);
    let mut verdicts = {
        let mut progress = Progress::start("known mistakes", names.len() as u64);
        progress.show(0, || "first without any".to_owned());
        asked.iter().try_for_each(|asked| clean(asked, args.jobs(), interrupt))?;
        each(names, &asked, args.jobs(), interrupt, &mut progress)?
    };
    if !args.here && !interrupt.is_asked() {
        ask_others(&mut verdicts, interrupt)?;
    }
    console::result(&if args.json { verdict::json(&verdicts) } else { verdict::table(&verdicts, &asked) });
    if interrupt.is_asked() {
        return Err(HuntError::Interrupted);
    }
    let is_good = verdicts.iter().all(|verdict| verdict.caught || args.here && verdict.is_elsewhere());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What cannot be seen here is asked of those who can.
fn ask_others(verdicts: &mut [Verdict], interrupt: &Interrupt) -> Result<(), HuntError> {
    let out_of_sight: Vec<String> =
        verdicts.iter().filter(|verdict| verdict.is_elsewhere()).map(|verdict| verdict.bug.clone()).collect();
    if out_of_sight.is_empty() {
        return Ok(());
    }
    for said in others::ask(&out_of_sight, interrupt)? {
        if let Some(verdict) = verdicts.iter_mut().find(|verdict| verdict.bug == said.bug) {
            verdict.hear(&said);
        }
    }
    Ok(())
}

fn wanted(args: &RunArgs) -> Result<Vec<String>, HuntError> {
    let known = names::known()?;
    for name in &args.only {
        if !known.contains(name) {
            return Err(HuntError::Unknown { name: name.clone(), expected: known.into_iter().collect() });
        }
    }
    Ok(known.into_iter().filter(|name| args.only.is_empty() || args.only.contains(name)).collect())
}

/// What is asked for every mistake, one after the other: the scripted stories, then the mix of faults.
fn asked(args: &RunArgs) -> Vec<Vec<String>> {
    let seeds = |seeds: u64| {
        let base = args.seed.unwrap_or(BASE).to_string();
        vec!["--seed".to_owned(), base, "--seeds".to_owned(), seeds.to_string()]
    };
    let stories = [vec!["--scenario".to_owned(), "all".to_owned()], seeds(SEEDS_OF_STORIES)].concat();
    vec![stories, seeds(args.seeds.unwrap_or(SEEDS))]
}

/// Without any mistake the same seeds pass.
fn clean(asked: &[String], jobs: u64, interrupt: &Interrupt) -> Result<(), HuntError> {
    let mut child = Child::start(None, asked, jobs)?;
    loop {
        if interrupt.is_asked() {
            return Err(HuntError::Interrupted);
        }
        match child.ended(TIME_MAX)? {
            None => std::thread::sleep(child::LOOK),
            Some(Ended::Passed) => return Ok(()),
            Some(Ended::Broke { seed, promise, .. }) => {
                return Err(HuntError::Unclean(format!("seed {seed} breaks `{promise}`")));
            }
            Some(Ended::Late) => return Err(HuntError::Unclean("no end in time".to_owned())),
            Some(Ended::Lost(why)) => return Err(HuntError::Unclean(why)),
        }
    }
}

/// A mistake that is being hunted.
struct Hunted<'a> {
    name: &'a str,
    child: Child,
    /// How many things it was asked before, and how long those took.
    passed: usize,
    before: Duration,
}

fn each(
    names: &[String],
    asked: &[Vec<String>],
    jobs: u64,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Vec<Verdict>, HuntError> {
    let mut waiting: VecDeque<&String> = names.iter().collect();
    let mut under_way: Vec<Hunted<'_>> = Vec::new();
    let mut verdicts = Vec::new();
    loop {
        if interrupt.is_asked() {
            break;
        }
        while (under_way.len() as u64) < jobs
            && let Some(name) = waiting.pop_front()
        {
            let child = Child::start(Some(name), &asked[0], 1)?;
            under_way.push(Hunted { name, child, passed: 0, before: Duration::ZERO });
        }
        if under_way.is_empty() {
            break;
        }
        let mut left = Vec::new();
        for mut hunted in under_way {
            let ended = hunted.child.ended(TIME_MAX)?;
            let took = hunted.before + hunted.child.age();
            // What is known to be out of sight here is asked the stories only.
            let is_in_sight = elsewhere::of(hunted.name).is_none();
            match (ended, asked.get(hunted.passed + 1).filter(|_| is_in_sight)) {
                (None, _) => left.push(hunted),
                (Some(Ended::Passed), Some(next)) => {
                    let child = Child::start(Some(hunted.name), next, 1)?;
                    left.push(Hunted { child, passed: hunted.passed + 1, before: took, ..hunted });
                }
                (Some(ended), _) => verdicts.push(Verdict::new(hunted.name, ended, took)),
            }
        }
        under_way = left;
        let names: Vec<&str> = under_way.iter().map(|hunted| hunted.name).collect();
        let missed = verdicts.iter().filter(|verdict| !verdict.caught).count();
        progress.show(verdicts.len() as u64, || format!("{missed} not caught; now {}", names.join(", ")));
        std::thread::sleep(child::LOOK);
    }
    verdicts.sort_by(|a, b| a.bug.cmp(&b.bug));
    Ok(verdicts)
}
