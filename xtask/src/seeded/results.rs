//! What trying the seeded bugs came to, and how it is said.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use crate::{ci::rounded, steps::few};

/// Mistakes that every version must be able to make on request: taking one out of the code is noticed. The sources
/// may hold more.
const REQUIRED: [&str; 6] = [
    "stamp_after_load",
    "follower_skips_rule",
    "promotion_restamps",
    "lease_after_rule",
    "absent_stamp_is_zero",
    "prefix_by_text",
];
/// Whether a bug turned a test red.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Caught(Vec<String>),
    NotCaught,
    /// The question could not be asked: it did not compile, or the tests did not run.
    Error(String),
    /// Required, and not in the sources.
    Missing,
}

impl Verdict {
    /// The names the JSON uses.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Caught(_) => "caught",
            Self::NotCaught => "not_caught",
            Self::Error(_) => "error",
            Self::Missing => "missing",
        }
    }
}

/// What one bug came to.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) bug: String,
    pub(super) verdict: Verdict,
    pub(super) build: Duration,
    pub(super) tests: Duration,
    pub(super) log: PathBuf,
}

/// What all of them came to.
#[derive(Debug)]
pub(crate) struct Results(pub(super) Vec<Row>);

impl Results {
    /// Adds a row for each required bug that was not tried, since it is not in the sources.
    pub(crate) fn add_missing(&mut self) {
        for bug in REQUIRED {
            if !self.0.iter().any(|row| row.bug == bug) {
                let (build, tests) = (Duration::ZERO, Duration::ZERO);
                self.0.push(Row {
                    bug: bug.to_owned(),
                    verdict: Verdict::Missing,
                    build,
                    tests,
                    log: PathBuf::new(),
                });
            }
        }
    }

    /// True if every bug was caught.
    pub(crate) fn passed(&self) -> bool {
        self.0.iter().all(|row| matches!(row.verdict, Verdict::Caught(_)))
    }

    /// `5 of 6 caught; NOT CAUGHT: prefix_by_text`
    pub(crate) fn closing(&self) -> String {
        let caught = self.0.iter().filter(|row| matches!(row.verdict, Verdict::Caught(_))).count();
        let mut text = format!("{caught} of {} caught", self.0.len());
        for row in &self.0 {
            match &row.verdict {
                Verdict::Caught(_) => {}
                Verdict::NotCaught => text += &format!("; NOT CAUGHT: {}", row.bug),
                Verdict::Error(why) => text += &format!("; error: {} {why}", row.bug),
                Verdict::Missing => text += &format!("; not in the code: {}", row.bug),
            }
        }
        text
    }

    /// A line per bug.
    pub(crate) fn text(&self) -> String {
        let width = self.0.iter().map(|row| row.bug.len()).max().unwrap_or_default();
        let lines = self.0.iter().map(|row| {
            let detail = match &row.verdict {
                Verdict::Caught(red) => format!("caught      {} red: {}", red.len(), few(red)),
                Verdict::NotCaught => format!("NOT CAUGHT  all tests are green: {}", row.log.display()),
                Verdict::Error(why) => format!("error       {why}: {}", row.log.display()),
                Verdict::Missing => "missing     no `larder_seeded_bug` of this name in crates/".to_owned(),
            };
            let (build, tests) = (row.build.as_secs_f64(), row.tests.as_secs_f64());
            format!("{:width$}  build {build:5.1} s, tests {tests:5.1} s  {detail}", row.bug)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// One object.
    pub(super) fn json(&self) -> String {
        let bugs: Vec<_> = self
            .0
            .iter()
            .map(|row| {
                let (red, error) = match &row.verdict {
                    Verdict::Caught(red) => (red.as_slice(), None),
                    Verdict::NotCaught | Verdict::Missing => (&[][..], None),
                    Verdict::Error(why) => (&[][..], Some(why)),
                };
                json!({
                    "name": row.bug,
                    "verdict": row.verdict.name(),
                    "red": red,
                    "error": error,
                    "build_s": rounded(row.build),
                    "tests_s": rounded(row.tests),
                    "log": row.log.display().to_string(),
                })
            })
            .collect();
        json!({ "passed": self.passed(), "bugs": bugs }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Results, Row, Verdict};

    #[test]
    fn a_required_bug_that_is_gone_from_the_code_is_noticed() {
        let mut results = Results(Vec::new());
        results.add_missing();
        assert!(!results.passed());
        assert!(results.closing().contains("not in the code: lease_after_rule"), "{}", results.closing());
        results.add_missing();
        assert_eq!(results.0.len(), super::REQUIRED.len());
    }

    #[test]
    fn one_bug_that_is_not_caught_fails_the_whole() {
        let row = |bug: &str, verdict| Row {
            bug: bug.into(),
            verdict,
            build: Duration::ZERO,
            tests: Duration::ZERO,
            log: "/log".into(),
        };
        let mut results = Results(vec![row("a", Verdict::Caught(vec!["t".into()]))]);
        assert!(results.passed());
        results.0.push(row("b", Verdict::NotCaught));
        assert!(!results.passed());
        assert_eq!(results.closing(), "1 of 2 caught; NOT CAUGHT: b");
        let value: serde_json::Value = serde_json::from_str(&results.json()).unwrap();
        assert_eq!(value["bugs"][1]["verdict"], "not_caught");
    }
}
