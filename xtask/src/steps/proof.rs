//! The steps that attack Larder's promise: explorers of schedules, fuzzing, the model, the simulator, known mistakes,
//! and the main job under its own oracle.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::{Outcome, counted};
use crate::{
    ci::Session,
    counts,
    explorers::{Explorer, LOOM, SHUTTLE},
    fault::Fault,
    main_job,
    process::{Ended, Program},
    report,
    seeded::{self, Effort},
    simulator,
    tidy::tree,
};

/// How many seeds a run of CI simulates, fresh ones for each state of the code: some two minutes on a core. A soak is
/// `cargo run --release -p larder-sim -- --seeds 100000`.
const SEEDS: u32 = 1000;
/// How long each fuzz target runs.
const FUZZ_SECONDS: &str = "10";
/// No step of this kind may eat the time of the others.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Readers and writers of one node under schedules drawn at random.
pub(super) fn shuttle(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    explore(session, SHUTTLE)
}

/// The shorter of the same histories under all schedules, with all values that loads may return in them.
pub(super) fn loom(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    explore(session, LOOM)
}

fn explore(session: &mut Session<'_>, explorer: Explorer) -> Result<Outcome, Fault> {
    let suites = explorer.suites(&session.place.root)?;
    if suites.is_empty() {
        let name = explorer.name;
        return Ok(Outcome::Absent(format!(
            "no crate that knows {name} has tests/shuttle_* or a schedules.rs"
        )));
    }
    let mut last = Ended::Exit(Some(0));
    for args in suites {
        let before = counts::in_output(&session.output().unwrap_or_default()).run();
        last = session.run_within(explorer.program(session.place, &args), LIMIT)?;
        // The tests are not there in a build without the cfg: green, and nothing explored.
        if last.well() && counts::in_output(&session.output()?).run() == before {
            return Ok(Outcome::Failed(format!("no test ran: cargo {}", args.join(" "))));
        }
        if !last.well() {
            break;
        }
    }
    counted(session, last, "")
}

/// The corpus as a test, then each target for a while, from its corpus on.
pub(super) fn fuzz(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if !session.place.root.join("fuzz/run.sh").is_file() {
        return Ok(Outcome::Absent("there is no fuzz/run.sh".into()));
    }
    let tested = session.cargo(&["test", "--manifest-path", "fuzz/Cargo.toml", "--locked"])?;
    let corpus = counted(session, tested, "")?;
    if corpus.parts().0 != "ok" {
        return Ok(corpus);
    }
    let program = Program::new(&session.place.root, "sh", ["fuzz/run.sh", FUZZ_SECONDS]);
    let ended = session.run_within(program, LIMIT)?;
    let inputs = executed(&session.output()?);
    let words = format!("{} and {inputs} inputs, {FUZZ_SECONDS} s per target", corpus.parts().1);
    Ok(match Outcome::of(ended, &words) {
        Outcome::Ok(_) if inputs == 0 => Outcome::Failed("no target ran: not one input was tried".into()),
        outcome => outcome,
    })
}

/// How many inputs libFuzzer says it tried, all targets together: `stat::number_of_executed_units: 4711`.
fn executed(output: &str) -> u64 {
    let stats = output.lines().filter_map(|line| line.split_once("number_of_executed_units:"));
    stats.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum()
}

/// All states of the model of the protocol.
pub(super) fn model(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if let Some(not_yet) = without(session, "model")? {
        return Ok(not_yet);
    }
    let (ended, output) = simulate(session, &["model", "--json"])?;
    if !ended.well() {
        return Ok(Outcome::of(ended, ""));
    }
    Ok(match serde_json::from_str::<Value>(&output).map(|whole| states(&whole)) {
        Ok(0) => Outcome::Failed("no field `states` above 0: nothing was explored".into()),
        Ok(states) => Outcome::Ok(format!("{states} states explored")),
        Err(error) => Outcome::Failed(format!("standard output is not exactly one JSON value: {error}")),
    })
}

/// The sum of every field `states`, however deep.
fn states(value: &Value) -> u64 {
    match value {
        Value::Array(list) => list.iter().map(states).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| value.as_u64().filter(|_| name == "states").unwrap_or_else(|| states(value)))
            .sum(),
        _ => 0,
    }
}

/// Seeds that nobody tried on this code before, against the whole mix of faults.
pub(super) fn simulation(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if let Some(not_yet) = without(session, "--seeds")? {
        return Ok(not_yet);
    }
    let (base, seeds) = (seed_of(&session.place.root)?, SEEDS.to_string());
    report::progress(&format!("sim: base seed {base}"));
    let (ended, _) = simulate(session, &["--seeds", &seeds, "--seed", &base.to_string()])?;
    let words = format!("{SEEDS} seeds from {base}");
    Ok(match Outcome::of(ended, &words) {
        Outcome::Failed(why) => Outcome::Failed(format!("{words}: {why}")),
        other => other,
    })
}

/// Drawn from the sources: other code is met by seeds that nobody tried before, and the same code by the same ones, so that a
/// commit does not pass here and fail there. FNV-1a; short enough to be typed again.
fn seed_of(root: &Path) -> Result<u64, Fault> {
    let mut seed = 0xcbf2_9ce4_8422_2325_u64;
    for path in tree::files(&root.join("crates"), "rs")? {
        for byte in fs::read(&path).map_err(Fault::io("read", &path))? {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    Ok(seed % 1_000_000_000_000)
}

/// How the step ends already if the simulator does not build, or does not know this option or command.
fn without(session: &Session<'_>, word: &str) -> Result<Option<Outcome>, Fault> {
    let (ended, help) = simulate(session, &["--help"])?;
    Ok(match ended.well() {
        false => Some(Outcome::of(ended, "")),
        true if simulator::lists(&help, word) => None,
        true => Some(Outcome::Absent(format!("larder-sim --help does not list {word}"))),
    })
}

/// How the simulator ended, and what it printed.
fn simulate(session: &Session<'_>, args: &[&str]) -> Result<(Ended, String), Fault> {
    let program = session.prepared(simulator::program(session.place, args));
    let limit = session.remaining().min(LIMIT);
    simulator::output(&program.limit(limit), &session.log_path(), session.interrupt)
}

/// Every known mistake, by whoever is likely to notice it.
pub(super) fn seeded_bugs(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let hunt = seeded::Hunt {
        place: session.place,
        interrupt: session.interrupt,
        nextest: session.tools.nextest,
        scratch: session.scratch.clone(),
        deadline: session.deadline(),
    };
    let results = hunt.all(Effort::Enough, |what| report::progress(&format!("seeded-bugs: {what}")))?;
    session.log(&results.text())?;
    Ok(if session.interrupt.raised() {
        Outcome::Skipped("interrupted".into())
    } else if results.passed() && (!results.lacks(seeded::SIMULATOR) || super::may_be_absent("sim")) {
        Outcome::Ok(results.closing())
    } else {
        Outcome::Failed(results.closing())
    })
}

/// The main job for a short while, judged by its own oracle.
pub(super) fn booking(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args = ["run", "--release", "--locked", "-p", "booking", "--", "--seconds", "2", "--json"];
    let program = session.prepared(Program::new(&session.place.root, "cargo", args));
    let path = session.log_path().with_extension("json");
    let output = File::create(&path).map_err(Fault::io("create", &path))?;
    let errors = session.log(&format!("$ {}", program.line()))?;
    let ended = program.run_apart(output, errors, session.interrupt)?;
    let text = fs::read_to_string(&path).map_err(Fault::io("read", &path))?;
    session.log(&text)?;
    if !ended.well() {
        return Ok(Outcome::of(ended, ""));
    }
    Ok(main_job::judge(&text).map_or_else(Outcome::Failed, Outcome::Ok))
}

#[cfg(test)]
mod tests {
    use super::{executed, states};

    #[test]
    fn the_states_of_all_models_are_summed() {
        let whole =
            serde_json::json!({ "models": [{ "states": 3, "depth": 9 }, { "runs": [{ "states": 4 }] }] });
        assert_eq!(states(&whole), 7);
        assert_eq!(states(&serde_json::json!([])), 0);
    }

    #[test]
    fn inputs_are_summed_over_all_targets() {
        let output = "== keys: 10 s\nstat::number_of_executed_units: 40\nstat::new_units_added: 7\n== rule: 10 s\nstat::number_of_executed_units: 2\n";
        assert_eq!(executed(output), 42);
        assert_eq!(executed("== keys: 10 s\n"), 0);
    }
}
