//! A failed run: what was broken, the shortest history found, and the one command that replays it.

use crate::oracle::Violation;
use crate::run::Outcome;
use crate::shrink::Shrunk;
use crate::story;
use crate::work;
use serde::Serialize;

/// A failed run, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// The scripted story that failed, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) story: Option<&'static str>,
    pub(crate) seed: u64,
    /// The first that was broken.
    pub(crate) promise: &'static str,
    pub(crate) violations: Vec<Violation>,
    pub(crate) options: crate::options::Options,
    /// Replays this run.
    pub(crate) replay: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shrunk: Option<Shorter>,
}

/// The shortest history found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shorter {
    pub(crate) options: crate::options::Options,
    pub(crate) violation: Option<Violation>,
    /// Runs it took to find it.
    pub(crate) runs: u64,
    pub(crate) story: Vec<String>,
    /// Replays it with everything written down.
    pub(crate) replay: String,
}

impl Failure {
    /// A failed run, not shrunk.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Failure {
            story: outcome.story,
            seed: outcome.options.seed,
            promise: outcome.violations.first().map_or("none", |violation| violation.promise),
            violations: outcome.violations.clone(),
            options: outcome.options.clone(),
            replay: command(&work::flags(outcome)),
            shrunk: None,
        }
    }

    pub(crate) fn shrunk(self, shrunk: &Shrunk) -> Self {
        self.with(&shrunk.outcome, shrunk.runs)
    }

    /// A scripted story is as short as it gets.
    pub(crate) fn told_in_full(self, outcome: &Outcome) -> Self {
        self.with(outcome, 1)
    }

    fn with(mut self, outcome: &Outcome, runs: u64) -> Self {
        self.shrunk = Some(Shorter {
            options: outcome.options.clone(),
            violation: outcome.violations.first().cloned(),
            runs,
            story: story::tell(outcome),
            replay: command(&format!("{} --trace", work::flags(outcome))),
        });
        self
    }

    /// For people.
    pub(crate) fn told(&self) -> String {
        let mut text = format!("{} broke a promise\n", work::named(self.story, self.seed));
        for violation in self.violations.iter().take(3) {
            text.push_str(&story::closing(violation));
            text.push('\n');
        }
        if self.story.is_none() {
            text.push_str(&format!("  drawn: {}\n", drawn(&self.options)));
        }
        match &self.shrunk {
            None => text.push_str(&format!("  replay: {} --trace\n", self.replay)),
            Some(shorter) => {
                if self.story.is_none() {
                    text.push_str(&format!("  the shortest history found in {} runs:\n", shorter.runs));
                }
                for line in &shorter.story {
                    text.push_str(line);
                    text.push('\n');
                }
                text.push_str(&format!("  replay: {}\n", shorter.replay));
            }
        }
        text
    }
}

/// Several, apart from each other.
pub(crate) fn failures(failures: &[Failure]) -> String {
    failures.iter().map(Failure::told).collect::<Vec<_>>().join("\n")
}

/// The options in one line.
fn drawn(options: &crate::options::Options) -> String {
    serde_json::to_string(options).unwrap_or_else(|_| format!("{options:?}"))
}

/// The command that runs with these flags, the known mistake that this process makes included.
fn command(flags: &str) -> String {
    match std::env::var("LARDER_SEEDED_BUG") {
        Ok(bug) if cfg!(larder_seeded_bugs) => {
            format!("LARDER_SEEDED_BUG={bug} target/seeded-bugs/release/larder-sim {flags}")
        }
        _ => format!("cargo run --release -p larder-sim -- {flags}"),
    }
}
