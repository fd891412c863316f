//! `cargo xtask seeded-bugs`: makes each known mistake, one at a time; a test must turn red, or the simulator find it.
//!
//! A bug is code under `seeded_bug!("name")` in `crates/`; the list is read from the sources, so it cannot drift from
//! them. All of them are compiled into one build, and the environment says which one is made. Bugs that are only in
//! the simulator's own fakes are the simulator's alone. Called by `main` and by the step of `ci`; never changes a
//! source file.

pub(crate) mod names;
mod results;
mod simulated;
mod suites;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use results::{REQUIRED, Results, Row, Verdict};
use suites::Suites;

use crate::{fault::Fault, place::Place, process::Interrupt, report, simulator, tidy::tree, tools::Tools};

/// The longest that the simulator may hunt, two builds of it included.
const SIMULATOR_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Where and how to hunt.
pub(crate) struct Hunt<'a> {
    pub(crate) place: &'a Place,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) nextest: bool,
    pub(crate) scratch: PathBuf,
    /// For the whole hunt.
    pub(crate) deadline: Instant,
}

/// How much is asked of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort<'a> {
    /// Both hunt everything: for each bug, who notices it?
    All,
    /// The simulator hunts everything, the tests the required bugs and what the simulator did not catch.
    Enough,
    /// These bugs alone: the tests first, the simulator only for what they did not catch, since it hunts all at once.
    Only(&'a [String]),
}

impl Effort<'_> {
    fn wants(self, bug: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|name| name == bug),
            Self::All | Self::Enough => true,
        }
    }

    /// Whether the tests are asked, once the simulator has said what it has to say.
    fn asks_tests(self, bug: &str, row: &Row) -> bool {
        row.in_reach_of_tests && (self != Self::Enough || !row.caught() || REQUIRED.contains(&bug))
    }
}

/// Runs the chore; false if a bug went unnoticed.
pub(crate) fn run(place: &Place, interrupt: &Interrupt, json: bool, only: &[String]) -> Result<bool, Fault> {
    let known = discover(&place.root)?;
    if let Some(unknown) = only.iter().find(|name| !known.contains_key(*name)) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(Fault::new(format!(
            "no bug is called {unknown:?}: expected one of {}",
            names.join(", ")
        )));
    }
    let scratch = place.target.join("seeded").join("tmp");
    let hunt = Hunt {
        place,
        interrupt,
        nextest: Tools::look(&place.root).nextest,
        scratch: scratch.clone(),
        deadline: Instant::now() + Duration::from_secs(2 * 3600),
    };
    let effort = if only.is_empty() { Effort::All } else { Effort::Only(only) };
    let results = hunt.all(effort, |what| report::progress(&format!("seeded-bugs: {what}")));
    let _ = fs::remove_dir_all(&scratch);
    let results = results?;
    report::clear();
    report::line(&if json { results.json() } else { format!("{}\n{}", results.text(), results.closing()) });
    Ok(results.passed())
}

/// The bugs in `crates/`, each with whether it is in code that the test suites run.
fn discover(root: &Path) -> Result<BTreeMap<String, bool>, Fault> {
    let mut bugs: BTreeMap<String, bool> = BTreeMap::new();
    let simulator = root.join("crates/larder-sim");
    for path in tree::files(&root.join("crates"), "rs")? {
        let text = fs::read_to_string(&path).map_err(Fault::io("read", &path))?;
        for name in names::calls(&text).into_iter().filter_map(|call| call.name) {
            *bugs.entry(name).or_default() |= !path.starts_with(&simulator);
        }
    }
    Ok(bugs)
}

impl Hunt<'_> {
    /// Hunts every bug that `effort` wants.
    ///
    /// # Errors
    /// When the tests do not build, or are red without any bug.
    pub(crate) fn all(&self, effort: Effort<'_>, progress: impl Fn(&str)) -> Result<Results, Fault> {
        for directory in [&self.directory(), &self.scratch] {
            fs::create_dir_all(directory).map_err(Fault::io("create", directory))?;
        }
        let known = discover(&self.place.root)?;
        let mut results = Results::default();
        results
            .missing
            .extend(REQUIRED.into_iter().filter(|bug| effort.wants(bug) && !known.contains_key(*bug)));
        let wanted = known.into_iter().filter(|(bug, _)| effort.wants(bug));
        results.rows = wanted.map(|(bug, in_reach)| (bug, Row::new(in_reach))).collect();
        let tests_first = matches!(effort, Effort::Only(_));
        if !tests_first {
            self.simulate(&mut results, effort, &progress)?;
        }
        self.test(&mut results, effort, &progress)?;
        if tests_first && !results.rows.values().all(Row::caught) {
            self.simulate(&mut results, effort, &progress)?;
        }
        Ok(results)
    }

    fn test(&self, results: &mut Results, effort: Effort<'_>, progress: &impl Fn(&str)) -> Result<(), Fault> {
        let mut asked = results.rows.iter_mut().filter(|(bug, row)| effort.asks_tests(bug, row)).peekable();
        if asked.peek().is_none() {
            return Ok(());
        }
        let Some(suites) = Suites::ready(self, progress)? else { return Ok(()) };
        for (bug, row) in asked {
            progress(&format!("the tests hunt {bug}"));
            row.tests = suites.hunt(bug)?;
        }
        Ok(())
    }

    fn simulate(
        &self,
        results: &mut Results,
        effort: Effort<'_>,
        progress: &impl Fn(&str),
    ) -> Result<(), Fault> {
        progress("the simulator hunts");
        let log = self.directory().join("simulator.log");
        let _ = fs::remove_file(&log);
        let run = |args: &[&str]| {
            let program = simulator::program(self.place, args)
                .limit(self.left().min(SIMULATOR_LIMIT))
                .env("TMPDIR", &self.scratch);
            simulator::output(&program, &log, self.interrupt)
        };
        let fail = |why: String| Some(format!("{why}: {}", log.display()));
        let (ended, help) = run(&["--help"])?;
        if ended.well() && !simulator::lists(&help, "--seeded-bugs") {
            results.without_simulator = true;
            return Ok(());
        }
        let (ended, output) = if ended.well() { run(&["--seeded-bugs", "--json"])? } else { (ended, help) };
        match simulated::read(&output) {
            Ok(said) => {
                let all_caught = said.iter().all(|said| matches!(said.verdict, Verdict::Caught { .. }));
                results.simulated(said, |bug| effort.wants(bug));
                // A bug it did not catch is reason enough for an exit code, and the tests may catch that one.
                if !ended.well() && all_caught {
                    results.simulator_failed = fail(format!("{}, with every bug caught", ended.words()));
                }
            }
            Err(_) if !ended.well() => results.simulator_failed = fail(ended.words()),
            Err(why) => results.simulator_failed = fail(why),
        }
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        self.place.target.join("seeded")
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Effort, REQUIRED, Row, Verdict};

    #[test]
    fn the_tests_are_asked_about_what_the_simulator_did_not_catch() {
        let (mut row, required) = (Row::new(true), REQUIRED[0]);
        assert!(Effort::Enough.asks_tests("a", &row));
        row.simulator = (Verdict::Caught { by: "seed 1".into() }, Duration::ZERO);
        assert!(!Effort::Enough.asks_tests("a", &row));
        assert!(Effort::Enough.asks_tests(required, &row));
        assert!(Effort::All.asks_tests("a", &row));
        row.simulator.0 = Verdict::Escaped;
        assert!(Effort::Enough.asks_tests("a", &row));
    }

    #[test]
    fn the_tests_are_not_asked_about_the_simulators_own_bugs() {
        for effort in [Effort::All, Effort::Enough, Effort::Only(&["a".into()])] {
            assert!(!effort.asks_tests("a", &Row::new(false)), "{effort:?}");
        }
    }
}
