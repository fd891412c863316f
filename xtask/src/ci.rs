//! `cargo xtask ci`: runs every step, whatever failed before it, and closes with a summary.
//!
//! Quiet while all is well: what programs print goes to `target/ci/STEP.log`, of which only a failing step shows
//! the end. Called by `main`; the steps themselves are in `steps`.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    counts::Counts,
    fault::Fault,
    place::Place,
    process::{Ended, Interrupt, Program},
    report,
    steps::{self, Outcome, Step},
    tools::Tools,
};

/// The whole run ends within this, cold, on two cores. `LARDER_CI_MINUTES` changes it for slower machines.
const MINUTES: u64 = 44;
/// How much of a failing step's log is shown; the rest is in the file named beside it.
const TAIL_LINES: usize = 80;

/// CI never writes a lock file: what was tested is what is committed.
const STALE_LOCK: &str = "Cargo.lock does not fit the manifests: run `cargo metadata` (with --manifest-path X/Cargo.toml for X \
     compare or fuzz) and commit it";

/// What the steps of one run share.
pub(crate) struct Session<'a> {
    pub(crate) place: &'a Place,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) tools: Tools,
    /// Tests counted so far.
    pub(crate) counts: Counts,
    /// Where programs put their temporary files: removed at the end.
    pub(crate) scratch: PathBuf,
    step: &'static str,
    deadline: Instant,
}

impl Session<'_> {
    /// The log of the current step.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.place.target.join("ci").join(format!("{}.log", self.step))
    }

    /// The log of the current step, opened at its end, with a line of ours added.
    pub(crate) fn log(&self, header: &str) -> Result<File, Fault> {
        let path = self.log_path();
        let mut file =
            File::options().create(true).append(true).open(&path).map_err(Fault::io("open", &path))?;
        writeln!(file, "{header}").map_err(Fault::io("write", &path))?;
        Ok(file)
    }

    /// Runs `cargo` with these arguments, its output in the step's log.
    pub(crate) fn cargo(&self, args: &[&str]) -> Result<Ended, Fault> {
        self.run(Program::new(&self.place.root, "cargo", args))
    }

    /// Whether the step failed for nothing but a `Cargo.lock` that no longer fits its manifests.
    pub(crate) fn lock_is_stale(&self) -> bool {
        self.output().is_ok_and(|output| output.contains("because --locked was passed"))
    }

    /// Runs a program in the session's environment, its output in the step's log.
    pub(crate) fn run(&self, program: Program) -> Result<Ended, Fault> {
        self.run_within(program, Duration::MAX)
    }

    /// As [`Session::run`], with a limit of its own.
    pub(crate) fn run_within(&self, program: Program, limit: Duration) -> Result<Ended, Fault> {
        let program = self.prepared(program).limit(limit.min(self.remaining()));
        let log = self.log(&format!("$ {}", program.line()))?;
        program.run(log, self.interrupt)
    }

    /// A program with the session's time limit, temporary directory and plain output.
    pub(crate) fn prepared(&self, program: Program) -> Program {
        program
            .limit(self.remaining())
            .env("TMPDIR", &self.scratch)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
    }

    /// When the run's time is up.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is left of the run's time.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What the current step's log holds.
    pub(crate) fn output(&self) -> Result<String, Fault> {
        let path = self.log_path();
        let bytes = fs::read(&path).map_err(Fault::io("read", &path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A finished step.
struct Done {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    log: PathBuf,
}

/// Runs the steps (all, or those named) and says how they went; false if any failed.
pub(crate) fn run(place: &Place, interrupt: &Interrupt, json: bool, only: &[String]) -> Result<bool, Fault> {
    let chosen = choose(only)?;
    let began = Instant::now();
    let logs = place.target.join("ci");
    let scratch = logs.join("tmp");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).map_err(Fault::io("create", &scratch))?;
    let mut session = Session {
        place,
        interrupt,
        tools: Tools::look(&place.root),
        counts: Counts::default(),
        scratch: scratch.clone(),
        step: "",
        deadline: began + Duration::from_secs(60 * minutes()?),
    };
    let mut done = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        report::progress(&format!("[{}/{}] {}", index + 1, chosen.len(), step.name));
        done.push(run_step(&mut session, step, json));
    }
    report::clear();
    let _ = fs::remove_dir_all(&scratch);
    let failed = done.iter().any(|step| matches!(step.outcome, Outcome::Failed(_)));
    if json {
        report::line(&as_json(&done, session.counts, !failed && !interrupt.raised(), began.elapsed()));
    } else {
        report::line(&summary(&done, session.counts));
    }
    Ok(!failed)
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>, Fault> {
    if let Some(unknown) = only.iter().find(|name| !steps::ALL.iter().any(|step| step.name == *name)) {
        let names: Vec<&str> = steps::ALL.iter().map(|step| step.name).collect();
        return Err(Fault::new(format!(
            "no step is called {unknown:?}: expected one of {}",
            names.join(", ")
        )));
    }
    let wanted = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(steps::ALL.iter().filter(wanted).collect())
}

fn minutes() -> Result<u64, Fault> {
    match std::env::var("LARDER_CI_MINUTES") {
        Err(_) => Ok(MINUTES),
        Ok(text) => text.parse().map_err(|_| {
            Fault::new(format!("LARDER_CI_MINUTES is {text:?}: expected a whole number of minutes"))
        }),
    }
}

fn run_step(session: &mut Session<'_>, step: &Step, json: bool) -> Done {
    session.step = step.name;
    let log = session.log_path();
    let _ = fs::remove_file(&log);
    let began = Instant::now();
    let outcome = if session.interrupt.raised() {
        Outcome::Skipped("interrupted".into())
    } else if session.remaining().is_zero() {
        Outcome::Failed("not started: the run's time was used up (LARDER_CI_MINUTES)".into())
    } else {
        match (step.run)(session) {
            Ok(Outcome::Failed(_)) if session.lock_is_stale() => Outcome::Failed(STALE_LOCK.into()),
            Ok(Outcome::Absent(what)) if !steps::may_be_absent(step.name) => {
                Outcome::Failed(format!("{what}: expected it to be there (YET_TO_COME in xtask/src/steps)"))
            }
            Ok(outcome) => outcome,
            Err(fault) => Outcome::Failed(fault.to_string()),
        }
    };
    if let Outcome::Failed(reason) = &outcome {
        let text = format!("--- {} FAILED: {reason}\n{}", step.name, tail(&log));
        if json { report::note(&text) } else { show(&text) }
    }
    Done { name: step.name, outcome, took: began.elapsed(), log }
}

fn show(text: &str) {
    report::clear();
    report::line(text);
}

/// The end of a log, with the way to the rest of it.
fn tail(log: &std::path::Path) -> String {
    let Ok(bytes) = fs::read(log) else { return String::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(TAIL_LINES);
    let shown = lines.get(hidden..).unwrap_or_default().join("\n");
    format!("{shown}\n--- {hidden} earlier lines; all of it: {}\n", log.display())
}

/// A line per step, then the count of tests alone on the last line.
fn summary(done: &[Done], counts: Counts) -> String {
    let width = done.iter().map(|step| step.name.len()).max().unwrap_or_default();
    let mut lines: Vec<String> = done
        .iter()
        .map(|step| {
            let (status, detail) = step.outcome.parts();
            let line =
                format!("{:width$}  {status:7}  {:6.1} s  {detail}", step.name, step.took.as_secs_f64());
            line.trim_end().to_owned()
        })
        .collect();
    lines.push(counts.to_string());
    lines.join("\n")
}

fn as_json(done: &[Done], counts: Counts, passed: bool, took: Duration) -> String {
    let steps: Vec<_> = done
        .iter()
        .map(|step| {
            let (status, detail) = step.outcome.parts();
            json!({
                "name": step.name,
                "status": status,
                "detail": detail,
                "seconds": rounded(step.took),
                "log": step.log.is_file().then(|| step.log.display().to_string()),
            })
        })
        .collect();
    json!({
        "passed": passed,
        "seconds": rounded(took),
        "steps": steps,
        "tests": { "run": counts.run(), "passed": counts.passed, "failed": counts.failed, "skipped": counts.skipped },
    })
    .to_string()
}

/// Seconds to a tenth.
pub(crate) fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Done, as_json, choose, summary};
    use crate::{counts::Counts, steps::Outcome};

    fn done() -> Vec<Done> {
        let step =
            |name, outcome| Done { name, outcome, took: Duration::from_millis(1240), log: "/nowhere".into() };
        vec![
            step("fmt", Outcome::Ok(String::new())),
            step("tests", Outcome::Failed("exit code 100".into())),
            step("compare", Outcome::Skipped("no compare/".into())),
        ]
    }

    #[test]
    fn the_summary_has_a_line_per_step_and_ends_in_the_count_alone() {
        let counts = Counts { passed: 4, failed: 1, skipped: 0 };
        let text = summary(&done(), counts);
        assert_eq!(
            text,
            "\
fmt      ok          1.2 s
tests    FAILED      1.2 s  exit code 100
compare  skipped     1.2 s  no compare/
4 passed, 1 failed"
        );
    }

    #[test]
    fn the_json_is_one_object_with_the_same_facts() {
        let counts = Counts { passed: 4, failed: 1, skipped: 0 };
        let text = as_json(&done(), counts, false, Duration::from_secs(3));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["passed"], false);
        assert_eq!(value["steps"][1]["status"], "FAILED");
        assert_eq!(value["tests"]["run"], 5);
    }

    #[test]
    fn only_known_steps_can_be_chosen() {
        let names: Vec<_> = choose(&["tidy".into()]).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(names, ["tidy"]);
        let fault = choose(&["tidyy".into()]).unwrap_err().to_string();
        assert!(fault.contains("tidyy") && fault.contains("seeded-bugs"), "{fault}");
    }
}
