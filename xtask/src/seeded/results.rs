//! What hunting the seeded bugs came to, and how it is said.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::simulated::Said;
use crate::ci::rounded;

/// Mistakes that every version must be able to make on request, and that the tests are asked about each time: taking
/// one out of the code is noticed. The sources hold more.
pub(super) const REQUIRED: [&str; 6] = [
    "stamp_after_load",
    "follower_skips_rule",
    "promotion_restamps",
    "lease_after_rule",
    "absent_stamp_is_zero",
    "prefix_by_text",
];

/// What one hunter says of one bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was not asked.
    NotAsked,
    Caught {
        /// A failed test, a seed.
        by: String,
    },
    Escaped,
    /// The question could not be answered: it ran out of time, say.
    Error(String),
}

impl Verdict {
    /// The names the JSON uses.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Caught { .. } => "caught",
            Self::Escaped => "escaped",
            Self::Error(_) => "error",
        }
    }

    fn caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }

    /// After the hunter's name; nothing if it was not asked.
    fn words(&self, took: Duration) -> Option<String> {
        let seconds = rounded(took);
        match self {
            Self::NotAsked => None,
            Self::Caught { by } => Some(format!("caught by {by} ({seconds} s)")),
            Self::Escaped => Some(format!("nothing ({seconds} s)")),
            Self::Error(why) => Some(format!("ERROR {why}")),
        }
    }
}

/// What one bug came to.
#[derive(Debug)]
pub(super) struct Row {
    /// Whether it is in code that the test suites run.
    pub(super) in_reach_of_tests: bool,
    pub(super) tests: (Verdict, Duration),
    pub(super) simulator: (Verdict, Duration),
}

impl Row {
    pub(super) fn new(in_reach_of_tests: bool) -> Self {
        let unasked = || (Verdict::NotAsked, Duration::ZERO);
        Self { in_reach_of_tests, tests: unasked(), simulator: unasked() }
    }

    pub(super) fn caught(&self) -> bool {
        self.tests.0.caught() || self.simulator.0.caught()
    }
}

/// What all of them came to.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(super) rows: BTreeMap<String, Row>,
    /// Required, and not in the sources.
    pub(super) missing: Vec<&'static str>,
    /// The simulator does not hunt yet.
    pub(crate) without_simulator: bool,
    /// What is wrong with the simulator's answer as a whole.
    pub(super) simulator_failed: Option<String>,
}

impl Results {
    /// Takes in what the simulator says of the bugs that are wanted; one that is not in the sources is in its own code.
    pub(super) fn simulated(&mut self, said: Vec<Said>, wanted: impl Fn(&str) -> bool) {
        for Said { bug, verdict, took } in said {
            if wanted(&bug) {
                self.rows.entry(bug).or_insert_with(|| Row::new(false)).simulator = (verdict, took);
            }
        }
    }

    /// True if every bug was caught, by whomever.
    pub(crate) fn passed(&self) -> bool {
        self.missing.is_empty() && self.simulator_failed.is_none() && self.rows.values().all(Row::caught)
    }

    /// `29 of 30 caught, 14 by tests, 29 by the simulator; NOT CAUGHT: prefix_by_text`
    pub(crate) fn closing(&self) -> String {
        let count = |caught: fn(&Row) -> bool| self.rows.values().filter(|row| caught(row)).count();
        let (caught, total) = (count(Row::caught), self.rows.len());
        let (tests, simulator) = (count(|row| row.tests.0.caught()), count(|row| row.simulator.0.caught()));
        let asked = count(|row| row.tests.0 != Verdict::NotAsked);
        let mut text = format!("{caught} of {total} caught: {tests} of {asked} by tests");
        text += &match self.without_simulator {
            true => ", NO SIMULATOR yet".to_owned(),
            false => format!(", {simulator} by the simulator"),
        };
        for (bug, _) in self.rows.iter().filter(|(_, row)| !row.caught()) {
            text += &format!("; NOT CAUGHT: {bug}");
        }
        for bug in &self.missing {
            text += &format!("; not in the code: {bug}");
        }
        if let Some(why) = &self.simulator_failed {
            text += &format!("; simulator: {why}");
        }
        text
    }

    /// A line per bug.
    pub(crate) fn text(&self) -> String {
        let width = self.rows.keys().map(String::len).max().unwrap_or_default();
        let lines = self.rows.iter().map(|(bug, row)| {
            let status = if row.caught() { "caught    " } else { "NOT CAUGHT" };
            let by = |hunter: &str, (verdict, took): &(Verdict, Duration)| {
                verdict.words(*took).map(|words| format!("{hunter}: {words}"))
            };
            let said: Vec<_> =
                [by("tests", &row.tests), by("simulator", &row.simulator)].into_iter().flatten().collect();
            let said = if said.is_empty() { "nobody was asked".to_owned() } else { said.join("; ") };
            format!("{bug:width$}  {status}  {said}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// One object.
    pub(super) fn json(&self) -> String {
        let hunter = |(verdict, took): &(Verdict, Duration)| -> Value {
            let (by, error) = match verdict {
                Verdict::Caught { by } => (Some(by), None),
                Verdict::Error(why) => (None, Some(why)),
                Verdict::NotAsked | Verdict::Escaped => (None, None),
            };
            json!({ "verdict": verdict.name(), "by": by, "error": error, "seconds": rounded(*took) })
        };
        let bug = |(name, row): (&String, &Row)| -> Value {
            let (tests, simulator) = (hunter(&row.tests), hunter(&row.simulator));
            json!({ "name": name, "caught": row.caught(), "tests": tests, "simulator": simulator })
        };
        json!({
            "passed": self.passed(),
            "bugs": self.rows.iter().map(bug).collect::<Vec<_>>(),
            "missing": self.missing,
            "without_simulator": self.without_simulator,
            "simulator_failed": self.simulator_failed,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Results, Row, Said, Verdict};

    fn caught(by: &str) -> Verdict {
        Verdict::Caught { by: by.into() }
    }

    fn said(bug: &str, verdict: Verdict) -> Said {
        Said { bug: bug.into(), verdict, took: Duration::ZERO }
    }

    fn results(tests: &[(&str, Verdict)]) -> Results {
        let mut results = Results::default();
        for (bug, verdict) in tests {
            let mut row = Row::new(true);
            row.tests.0 = verdict.clone();
            results.rows.insert((*bug).to_owned(), row);
        }
        results
    }

    #[test]
    fn a_bug_is_caught_by_either_hunter_and_the_report_says_by_which() {
        let mut results = results(&[("a", caught("x::y")), ("b", Verdict::Escaped)]);
        assert!(!results.passed());
        assert_eq!(results.closing(), "1 of 2 caught: 1 of 2 by tests, 0 by the simulator; NOT CAUGHT: b");
        results.simulated(vec![said("a", Verdict::Escaped), said("b", caught("seed 7"))], |_| true);
        assert!(results.passed());
        assert_eq!(results.closing(), "2 of 2 caught: 1 of 2 by tests, 1 by the simulator");
        assert_eq!(
            results.text(),
            "a  caught      tests: caught by x::y (0 s); simulator: nothing (0 s)\n\
             b  caught      tests: nothing (0 s); simulator: caught by seed 7 (0 s)"
        );
        let value: serde_json::Value = serde_json::from_str(&results.json()).unwrap();
        assert_eq!(value["bugs"][1]["simulator"]["by"], "seed 7");
        assert_eq!(value["bugs"][1]["tests"]["verdict"], "escaped");
    }

    #[test]
    fn a_bug_of_the_simulators_own_is_judged_too_unless_it_was_not_wanted() {
        let mut results = results(&[]);
        results.simulated(vec![said("own", Verdict::Escaped), said("other", Verdict::Escaped)], |bug| {
            bug == "own"
        });
        assert_eq!(results.closing(), "0 of 1 caught: 0 of 0 by tests, 0 by the simulator; NOT CAUGHT: own");
    }

    #[test]
    fn nobody_asked_a_missing_bug_or_a_failing_simulator_fail_the_whole() {
        let unasked = results(&[("a", Verdict::NotAsked)]);
        assert!(!unasked.passed() && unasked.text().contains("nobody was asked"), "{}", unasked.text());
        let missing = Results { missing: vec!["gone"], ..results(&[("a", caught("t"))]) };
        assert!(!missing.passed() && missing.closing().contains("not in the code: gone"));
        let failed =
            Results { simulator_failed: Some("exit code 3".into()), ..results(&[("a", caught("t"))]) };
        assert!(!failed.passed() && failed.closing().ends_with("; simulator: exit code 3"));
        let without = Results { without_simulator: true, ..results(&[("a", caught("t"))]) };
        assert!(without.passed() && without.closing().contains("NO SIMULATOR"));
    }
}
