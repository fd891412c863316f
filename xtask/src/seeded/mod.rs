//! `cargo xtask seeded-bugs`: makes each known mistake, one at a time; one of the hunters must notice it.
//!
//! Hunters are the tests, the explorers of schedules and the simulator. A bug is code under `seeded_bug!("name")` in
//! `crates/`; the list is read from the sources, so it cannot drift from them. All of them are compiled into one
//! build, and the environment says which one is made. Bugs that are only in the simulator's own fakes are the
//! simulator's alone. Called by `main` and by the step of `ci`; never changes a source file.

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

use results::{OF_TESTS, REQUIRED, Results, Row};
use simulated::Said;
use suites::Suite;

use crate::{
    explorers::{LOOM, SHUTTLE},
    fault::Fault,
    place::Place,
    process::Interrupt,
    report, simulator,
    tidy::tree,
    tools::Tools,
};

/// The longest that the simulator may hunt, two builds of it included.
const SIMULATOR_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What the simulator is called among the hunters.
pub(crate) const SIMULATOR: &str = "simulator";

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
    /// Everybody hunts everything: for each bug, who notices it?
    All,
    /// The simulator hunts everything, the others what was not caught before, and the tests the required bugs.
    Enough,
    /// These bugs alone, each until somebody catches it; and the simulator last, since it hunts all at once.
    Only(&'a [String]),
}

impl Effort<'_> {
    fn wants(self, bug: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|name| name == bug),
            Self::All | Self::Enough => true,
        }
    }

    /// Whether a suite is asked about a bug, once those before it have said what they have to say.
    fn asks(self, suite: &str, bug: &str, row: &Row) -> bool {
        if self == Self::Enough && suite != "tests" && OF_TESTS.contains(&bug) {
            return false;
        }
        let always = match self {
            Self::All => true,
            Self::Enough => suite == "tests" && REQUIRED.contains(&bug),
            Self::Only(_) => false,
        };
        row.in_reach_of_tests && (always || !row.caught())
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
    pub(crate) fn all(&self, effort: Effort<'_>, progress: impl Fn(&str)) -> Result<Results, Fault> {
        for directory in [&self.directory(), &self.scratch] {
            fs::create_dir_all(directory).map_err(Fault::io("create", directory))?;
        }
        let known = discover(&self.place.root)?;
        let mut results = Results::default();
        let gone = |bug: &&str| effort.wants(bug) && !known.contains_key(*bug);
        results.missing.extend(REQUIRED.into_iter().chain(OF_TESTS).filter(gone));
        let wanted = known.into_iter().filter(|(bug, _)| effort.wants(bug));
        results.rows = wanted.map(|(bug, in_reach)| (bug, Row::new(in_reach))).collect();
        let mut suites = Vec::new();
        for explorer in [SHUTTLE, LOOM] {
            match Suite::explored(self, explorer)? {
                Some(suite) => suites.push(suite),
                None => results.absent.push(explorer.name),
            }
        }
        suites.push(Suite::tests(self)?);
        if !matches!(effort, Effort::Only(_)) {
            self.simulate(&mut results, effort, &progress)?;
        }
        // Without its word everybody would be asked everything, for a quarter of an hour, and it has failed already.
        if effort == Effort::Enough && !results.failed.is_empty() {
            return Ok(results);
        }
        for suite in &suites {
            self.ask(suite, &mut results, effort, &progress)?;
        }
        if matches!(effort, Effort::Only(_)) && !results.rows.values().all(Row::caught) {
            self.simulate(&mut results, effort, &progress)?;
        }
        Ok(results)
    }

    fn ask(
        &self,
        suite: &Suite<'_>,
        results: &mut Results,
        effort: Effort<'_>,
        progress: &impl Fn(&str),
    ) -> Result<(), Fault> {
        let mut asked =
            results.rows.iter_mut().filter(|(bug, row)| effort.asks(suite.name, bug, row)).peekable();
        if asked.peek().is_none() || self.interrupt.raised() {
            return Ok(());
        }
        if let Err(fault) = suite.make_ready(progress) {
            results.failed.push(fault.to_string());
            return Ok(());
        }
        for (bug, row) in asked {
            progress(&format!("{} hunt {bug}", suite.name));
            let (verdict, took) = suite.hunt(bug)?;
            row.hear(suite.name, verdict, took);
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
        let failed = |why: &str| format!("{SIMULATOR}: {why}: {}", log.display());
        let (ended, help) = run(&["--help"])?;
        if ended.well() && !simulator::lists(&help, "--seeded-bugs") {
            results.absent.push(SIMULATOR);
            results.rows.retain(|_, row| row.in_reach_of_tests);
            return Ok(());
        }
        let (ended, output) =
            if ended.well() { run(&["--seeded-bugs", "--here", "--json"])? } else { (ended, help) };
        match simulated::read(&output) {
            Ok(said) => {
                let all_caught = said.iter().all(|said| said.verdict.caught());
                for Said { bug, verdict, took } in said.into_iter().filter(|said| effort.wants(&said.bug)) {
                    let row = results.rows.entry(bug).or_insert_with(|| Row::new(false));
                    row.hear(SIMULATOR, verdict, took);
                }
                // A bug it did not catch is reason enough for an exit code, and others may catch that one.
                if !ended.well() && all_caught {
                    results.failed.push(failed(&format!("{}, with every bug caught", ended.words())));
                }
            }
            Err(_) if !ended.well() => results.failed.push(failed(&ended.words())),
            Err(why) => results.failed.push(failed(&why)),
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

    use super::{Effort, REQUIRED, Row, results::Verdict};

    #[test]
    fn what_was_caught_is_asked_again_only_of_the_tests_and_if_required() {
        let (mut row, required) = (Row::new(true), REQUIRED[0]);
        row.hear("simulator", Verdict::Escaped, Duration::ZERO);
        for suite in ["shuttle", "tests"] {
            assert!(Effort::Enough.asks(suite, "a", &row), "{suite}");
        }
        row.hear("shuttle", Verdict::Caught { by: "x".into() }, Duration::ZERO);
        assert!(!Effort::Enough.asks("loom", required, &row));
        assert!(!Effort::Enough.asks("tests", "a", &row));
        assert!(Effort::Enough.asks("tests", required, &row));
        assert!(Effort::All.asks("loom", "a", &row));
    }

    #[test]
    fn tests_are_not_asked_about_the_simulators_own_bugs() {
        for effort in [Effort::All, Effort::Enough, Effort::Only(&["a".into()])] {
            assert!(!effort.asks("tests", "a", &Row::new(false)), "{effort:?}");
        }
    }
}
