//! What hunting the seeded bugs came to, and how it is said.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

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

/// Bugs that cost loads or time, or break no promise of one process: the tests' alone. To ask the explorers of schedules about
/// them takes two minutes, and they have nothing to say.
pub(super) const OF_TESTS: [&str; 5] = [
    "attendance_by_position",
    "claim_keeps_its_stamp",
    "nested_load_waits_for_nodes",
    "queue_drained_in_any_order",
    "queued_again_is_done",
];

/// What a hunter that was asked says of one bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
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
            Self::Caught { .. } => "caught",
            Self::Escaped => "escaped",
            Self::Error(_) => "error",
        }
    }

    pub(super) fn caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }
}

/// One hunter's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) hunter: &'static str,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

impl Answer {
    fn text(&self) -> String {
        let (hunter, seconds) = (self.hunter, rounded(self.took));
        match &self.verdict {
            Verdict::Caught { by } => format!("{hunter}: {by} ({seconds} s)"),
            Verdict::Escaped => format!("{hunter}: nothing ({seconds} s)"),
            Verdict::Error(why) => format!("{hunter}: ERROR {why} ({seconds} s)"),
        }
    }

    fn json(&self) -> Value {
        let (by, error) = match &self.verdict {
            Verdict::Caught { by } => (Some(by), None),
            Verdict::Error(why) => (None, Some(why)),
            Verdict::Escaped => (None, None),
        };
        let (verdict, seconds) = (self.verdict.name(), rounded(self.took));
        json!({ "hunter": self.hunter, "verdict": verdict, "by": by, "error": error, "seconds": seconds })
    }
}

/// What one bug came to.
#[derive(Debug)]
pub(super) struct Row {
    /// Whether it is in code that tests run: not only in the simulator's own.
    pub(super) in_reach_of_tests: bool,
    pub(super) answers: Vec<Answer>,
}

impl Row {
    pub(super) fn new(in_reach_of_tests: bool) -> Self {
        Self { in_reach_of_tests, answers: Vec::new() }
    }

    pub(super) fn hear(&mut self, hunter: &'static str, verdict: Verdict, took: Duration) {
        self.answers.push(Answer { hunter, verdict, took });
    }

    pub(super) fn caught(&self) -> bool {
        self.answers.iter().any(|answer| answer.verdict.caught())
    }
}

/// What all of them came to.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(super) rows: BTreeMap<String, Row>,
    /// Required, and not in the sources.
    pub(super) missing: Vec<&'static str>,
    /// Hunters that are not in the tree yet.
    pub(super) absent: Vec<&'static str>,
    /// What is wrong with a hunter as a whole.
    pub(super) failed: Vec<String>,
}

impl Results {
    /// True if every bug was caught, by whomever.
    pub(crate) fn passed(&self) -> bool {
        self.missing.is_empty() && self.failed.is_empty() && self.rows.values().all(Row::caught)
    }

    /// Whether this hunter was not there to be asked.
    pub(crate) fn lacks(&self, hunter: &str) -> bool {
        self.absent.contains(&hunter)
    }

    /// `29 of 30 caught (simulator 25 of 26, tests 6 of 9); NOT CAUGHT: prefix_by_text`
    pub(crate) fn closing(&self) -> String {
        let caught = self.rows.values().filter(|row| row.caught()).count();
        let mut by: Vec<(&str, usize, usize)> = Vec::new();
        for answer in self.rows.values().flat_map(|row| &row.answers) {
            let hit = usize::from(answer.verdict.caught());
            match by.iter_mut().find(|(hunter, ..)| *hunter == answer.hunter) {
                Some((_, hits, asked)) => (*hits, *asked) = (*hits + hit, *asked + 1),
                None => by.push((answer.hunter, hit, 1)),
            }
        }
        by.sort_unstable();
        let counts = by.iter().map(|(hunter, hits, asked)| format!("{hunter} {hits} of {asked}"));
        let absent = self.absent.iter().map(|hunter| format!("NO {hunter} yet"));
        let hunters: Vec<_> = counts.chain(absent).collect();
        let mut text = format!("{caught} of {} caught ({})", self.rows.len(), hunters.join(", "));
        for (bug, _) in self.rows.iter().filter(|(_, row)| !row.caught()) {
            text += &format!("; NOT CAUGHT: {bug}");
        }
        for bug in &self.missing {
            text += &format!("; not in the code: {bug}");
        }
        for why in &self.failed {
            text += &format!("; {why}");
        }
        text
    }

    /// A line per bug.
    pub(crate) fn text(&self) -> String {
        let width = self.rows.keys().map(String::len).max().unwrap_or_default();
        let lines = self.rows.iter().map(|(bug, row)| {
            let status = if row.caught() { "caught    " } else { "NOT CAUGHT" };
            let answers: Vec<_> = row.answers.iter().map(Answer::text).collect();
            let answers = if answers.is_empty() { "nobody was asked".to_owned() } else { answers.join("; ") };
            format!("{bug:width$}  {status}  {answers}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// One object.
    pub(super) fn json(&self) -> String {
        let bug = |(name, row): (&String, &Row)| -> Value {
            let answers: Vec<_> = row.answers.iter().map(Answer::json).collect();
            json!({ "name": name, "caught": row.caught(), "answers": answers })
        };
        json!({
            "passed": self.passed(),
            "bugs": self.rows.iter().map(bug).collect::<Vec<_>>(),
            "missing": self.missing,
            "absent_hunters": self.absent,
            "failed": self.failed,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Results, Row, Verdict};

    fn caught(by: &str) -> Verdict {
        Verdict::Caught { by: by.into() }
    }

    fn results(answers: &[(&str, &'static str, Verdict)]) -> Results {
        let mut results = Results::default();
        for (bug, hunter, verdict) in answers {
            let row = results.rows.entry((*bug).to_owned()).or_insert_with(|| Row::new(true));
            row.hear(hunter, verdict.clone(), Duration::ZERO);
        }
        results
    }

    #[test]
    fn a_bug_is_caught_by_either_hunter_and_the_report_says_by_which() {
        let mut results =
            results(&[("a", "simulator", Verdict::Escaped), ("b", "simulator", caught("seed 7"))]);
        assert!(!results.passed());
        assert_eq!(results.closing(), "1 of 2 caught (simulator 1 of 2); NOT CAUGHT: a");
        results.rows.get_mut("a").unwrap().hear("tests", caught("x::y"), Duration::ZERO);
        assert!(results.passed());
        assert_eq!(results.closing(), "2 of 2 caught (simulator 1 of 2, tests 1 of 1)");
        assert_eq!(
            results.text(),
            "a  caught      simulator: nothing (0 s); tests: x::y (0 s)\n\
             b  caught      simulator: seed 7 (0 s)"
        );
        let value: serde_json::Value = serde_json::from_str(&results.json()).unwrap();
        assert_eq!(value["bugs"][0]["answers"][1]["by"], "x::y");
        assert_eq!(value["bugs"][0]["answers"][0]["verdict"], "escaped");
    }

    #[test]
    fn a_bug_nobody_was_asked_about_or_that_is_missing_and_a_failing_hunter_fail_the_whole() {
        let mut unasked = results(&[]);
        unasked.rows.insert("a".into(), Row::new(true));
        assert!(!unasked.passed() && unasked.text().contains("nobody was asked"), "{}", unasked.text());
        let green = || results(&[("a", "tests", caught("t"))]);
        assert!(green().passed());
        let missing = Results { missing: vec!["gone"], ..green() };
        assert!(!missing.passed() && missing.closing().ends_with("; not in the code: gone"));
        let failed = Results { failed: vec!["simulator: exit code 3".into()], ..green() };
        assert!(!failed.passed() && failed.closing().ends_with("; simulator: exit code 3"));
    }

    #[test]
    fn a_hunter_that_is_not_there_is_said_aloud() {
        let without = Results { absent: vec!["simulator"], ..results(&[("a", "tests", caught("t"))]) };
        assert!(without.passed() && without.lacks("simulator") && !without.lacks("tests"));
        assert_eq!(without.closing(), "1 of 1 caught (tests 1 of 1, NO simulator yet)");
    }
}
