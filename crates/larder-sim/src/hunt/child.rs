//! One child: the same binary, with one known mistake or none, on the ordinary mix.

use super::HuntError;
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often children are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// A running child; it does not outlive this.
pub(super) struct Child {
    process: std::process::Child,
    /// What it prints; a file, so that it never waits for us.
    output: File,
    began: Instant,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    Broke {
        story: Option<String>,
        seed: u64,
        promise: String,
    },
    /// It was still running when its time was up, which shows nothing.
    Late,
    /// It said nothing that can be understood.
    Lost(String),
}

/// What of a child's summary matters here.
#[derive(Deserialize)]
struct Summary {
    failed: u64,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    story: Option<String>,
    seed: u64,
    promise: String,
}

impl Child {
    pub(super) fn start(bug: Option<&str>, asked: &[String], jobs: u64) -> Result<Child, HuntError> {
        let what = bug.map_or_else(|| "the clean code".to_owned(), |bug| format!("with {bug}"));
        let failed = |source| HuntError::Run { what: what.clone(), source };
        let output = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(asked).args(["--json", "--first", "--jobs", &jobs.to_string()]);
        match bug {
            Some(bug) => command.env("LARDER_SEEDED_BUG", bug),
            None => command.env_remove("LARDER_SEEDED_BUG"),
        };
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(output.try_clone().map_err(failed)?);
        Ok(Child { process: command.spawn().map_err(failed)?, output, began: Instant::now() })
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// How it ended, once it has; its time is up after `limit`.
    pub(super) fn ended(&mut self, limit: Duration) -> Result<Option<Ended>, HuntError> {
        let failed = |source| HuntError::Run { what: "a child".to_owned(), source };
        let Some(status) = self.process.try_wait().map_err(failed)? else {
            return Ok((self.age() > limit).then_some(Ended::Late));
        };
        let mut text = String::new();
        self.output.rewind().map_err(failed)?;
        self.output.read_to_string(&mut text).map_err(failed)?;
        Ok(Some(understood(&text).unwrap_or_else(|| Ended::Lost(format!("it ended with {status}")))))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a large campaign saw everything is of no interest here: only broken promises count.
fn understood(text: &str) -> Option<Ended> {
    let summary: Summary = serde_json::from_str(text).ok()?;
    if summary.failed == 0 {
        return Some(Ended::Passed);
    }
    let failure = summary.failures.into_iter().next()?;
    Some(Ended::Broke { story: failure.story, seed: failure.seed, promise: failure.promise })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_summary_is_understood() {
        assert_eq!(understood(r#"{"failed":0,"failures":[]}"#), Some(Ended::Passed));
        let broke = r#"{"failed":1,"failures":[{"seed":3,"promise":"the bound"}]}"#;
        assert_eq!(
            understood(broke),
            Some(Ended::Broke { story: None, seed: 3, promise: "the bound".to_owned() })
        );
        assert_eq!(understood("thread panicked"), None);
    }
}
