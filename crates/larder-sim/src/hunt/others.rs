//! Asks others about the mistakes that a simulation on one thread cannot see: the explorers of thread orders, by the
//! command that hunts with them.

use super::names;
use super::{HuntError, child};
use crate::signals::Interrupt;
use serde::Deserialize;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What they said of one mistake.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(rename = "name")]
    pub(super) bug: String,
    answers: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    hunter: String,
    by: Option<String>,
    seconds: f64,
}

impl Said {
    /// Who caught it, and with what.
    pub(super) fn by(&self) -> Option<String> {
        let caught = self.answers.iter().find_map(|answer| Some((&answer.hunter, answer.by.as_ref()?)));
        caught.map(|(hunter, by)| format!("{hunter}: {by}"))
    }

    pub(super) fn took(&self) -> Duration {
        let seconds: f64 = self.answers.iter().map(|answer| answer.seconds).sum();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Results {
    bugs: Vec<Said>,
}

/// Has them hunt these.
pub(super) fn ask(bugs: &[String], interrupt: &Interrupt) -> Result<Vec<Said>, HuntError> {
    let what = "cargo xtask seeded-bugs".to_owned();
    let failed = |source| HuntError::Run { what: what.clone(), source };
    let mut output = tempfile::tempfile().map_err(failed)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut process = Command::new(cargo)
        .args(["xtask", "seeded-bugs", "--json", "--only", &bugs.join(",")])
        .current_dir(names::root())
        .env_remove("LARDER_SEEDED_BUG")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    // It is told to stop by whoever tells us, and then stops its own children.
    while process.try_wait().map_err(failed)?.is_none() {
        std::thread::sleep(child::LOOK);
    }
    if interrupt.is_asked() {
        return Err(HuntError::Interrupted);
    }
    let mut said = String::new();
    output.rewind().and_then(|()| output.read_to_string(&mut said)).map_err(failed)?;
    let results: Results = serde_json::from_str(&said).map_err(|why| HuntError::Others(why.to_string()))?;
    Ok(results.bugs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_caught_it_is_read_from_what_the_command_prints() {
        let said = r#"{"bugs":[{"name":"a","caught":true,"answers":[
            {"hunter":"shuttle","verdict":"escaped","by":null,"error":null,"seconds":8.0},
            {"hunter":"loom","verdict":"caught","by":"lease::one","error":null,"seconds":4.5}]}]}"#;
        let results: Results = serde_json::from_str(said).unwrap();
        assert_eq!(results.bugs[0].by().as_deref(), Some("loom: lease::one"));
        assert_eq!(results.bugs[0].took(), Duration::from_secs_f64(12.5));
    }
}
