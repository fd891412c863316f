//! Whether a known mistake was caught, and how; for people and programs.

use super::child::Ended;
use super::elsewhere;
use super::others::Said;
use crate::attempt;
use comfy_table::{Table, presets};
use serde::Serialize;
use std::time::Duration;

/// What came of one known mistake.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) bug: String,
    pub(super) caught: bool,
    /// The scripted story that caught it, if one did.
    story: Option<String>,
    /// The first seed that caught it.
    seed: Option<u64>,
    seconds: f64,
    how: How,
    /// The promise that was broken, or why nothing is known.
    what: Option<String>,
}

/// How a mistake showed itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// The oracle saw a broken promise.
    Violation,
    /// The code noticed itself.
    Panic,
    /// A run did not end.
    Hang,
    /// The simulator cannot see it, and something else can.
    Elsewhere,
    /// Not at all.
    Missed,
    /// The child died without a word, or said nothing in time.
    Lost,
}

impl Verdict {
    pub(super) fn new(bug: &str, ended: Ended, took: Duration) -> Self {
        let (how, story, seed, what) = match ended {
            Ended::Passed => match elsewhere::of(bug) {
                Some(who) => (How::Elsewhere, None, None, Some(who)),
                None => (How::Missed, None, None, None),
            },
            Ended::Late => (How::Lost, None, None, Some("no end in time".to_owned())),
            Ended::Lost(why) => (How::Lost, None, None, Some(why)),
            Ended::Broke { story, seed, promise } => {
                let how = match promise.as_str() {
                    attempt::NO_PANIC => How::Panic,
                    attempt::COMES_BACK => How::Hang,
                    _ => How::Violation,
                };
                (how, story, Some(seed), Some(promise))
            }
        };
        let caught = matches!(how, How::Violation | How::Panic | How::Hang);
        Verdict { bug: bug.to_owned(), caught, story, seed, seconds: rounded(took), how, what }
    }
}

impl Verdict {
    /// Nothing that could be caught by a simulation.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.how == How::Elsewhere
    }

    /// Takes in what those said who can see it.
    pub(super) fn hear(&mut self, said: &Said) {
        let by = said.by();
        (self.caught, self.seconds) = (by.is_some(), rounded(said.took()));
        match by {
            Some(by) => self.what = Some(by),
            None => self.how = How::Missed,
        }
    }
}

fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

/// One array.
pub(super) fn json(verdicts: &[Verdict]) -> String {
    serde_json::to_string(verdicts).unwrap_or_default()
}

/// One row for each, and what they say together.
pub(super) fn table(verdicts: &[Verdict], asked: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["known mistake", "caught", "story", "seed", "seconds", "broken promise"]);
    for verdict in verdicts {
        let caught = match verdict.how {
            How::Violation => "yes",
            How::Panic => "by a panic",
            How::Hang => "by a hang",
            How::Elsewhere if verdict.caught => "yes, elsewhere",
            How::Elsewhere => "not asked",
            How::Missed => "NO",
            How::Lost => "UNKNOWN",
        };
        table.add_row([
            verdict.bug.clone(),
            caught.to_owned(),
            verdict.story.clone().unwrap_or_default(),
            verdict.seed.map(|seed| seed.to_string()).unwrap_or_default(),
            format!("{:.1}", verdict.seconds),
            verdict.what.clone().unwrap_or_default(),
        ]);
    }
    let caught = verdicts.iter().filter(|verdict| verdict.caught).count();
    let asked: Vec<String> = asked.iter().map(|asked| format!("`{}`", asked.join(" "))).collect();
    format!(
        "{table}\n{caught} of {} known mistakes were caught, by {}, which the code without them passes.\nOne of \
         them with its story: LARDER_SEEDED_BUG=name target/seeded-bugs/release/larder-sim [--scenario STORY] --seed SEED",
        verdicts.len(),
        asked.join(" and "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_promised_fields_and_says_how_it_was_caught() {
        let broke = Ended::Broke { story: None, seed: 3, promise: "the bound".to_owned() };
        let verdicts = [
            Verdict::new("a", broke, Duration::from_millis(1500)),
            Verdict::new("b", Ended::Passed, Duration::ZERO),
            Verdict::new("c", Ended::Lost("gone".to_owned()), Duration::ZERO),
        ];
        assert_eq!(
            json(&verdicts),
            r#"[{"bug":"a","caught":true,"story":null,"seed":3,"seconds":1.5,"how":"violation","what":"the bound"},"#
                .to_owned()
                + r#"{"bug":"b","caught":false,"story":null,"seed":null,"seconds":0.0,"how":"missed","what":null},"#
                + r#"{"bug":"c","caught":false,"story":null,"seed":null,"seconds":0.0,"how":"lost","what":"gone"}]"#
        );
        let text = table(&verdicts, &[vec!["--seed".to_owned(), "1".to_owned()]]);
        assert!(text.contains("1 of 3 known mistakes were caught, by `--seed 1`"), "{text}");
    }

    #[test]
    fn a_panic_is_told_apart_from_a_violation() {
        let broke = Ended::Broke { story: None, seed: 3, promise: attempt::NO_PANIC.to_owned() };
        assert_eq!(Verdict::new("a", broke, Duration::ZERO).how, How::Panic);
    }
}
