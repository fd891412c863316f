//! One thing to run: a world drawn from a seed, or a scripted story with a seed.

use crate::options::Options;
use crate::oracle::Violation;
use crate::overrides;
use crate::run::{self, Outcome};
use crate::scenario::Scenario;

/// What is to be run.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) options: Options,
    pub(crate) story: Option<&'static Scenario>,
}

impl Work {
    /// A world of these options.
    pub(crate) fn drawn(options: Options) -> Self {
        Work { options, story: None }
    }

    /// A story; its options are its own, of these only the seed counts.
    pub(crate) fn told(story: &'static Scenario, seed: u64) -> Self {
        Work { options: Options::drawn(seed), story: Some(story) }
    }

    pub(crate) fn run(&self, traced: bool) -> Outcome {
        let Some(story) = self.story else { return run::run(&self.options, traced) };
        let played = (story.play)(self.options.seed);
        Outcome {
            story: Some(story.name),
            violations: played.violations,
            trace: played.trace,
            ..Outcome::empty(self.options.clone())
        }
    }

    /// What came of it when it came to no end of its own.
    pub(crate) fn broken(self, violation: Violation) -> Outcome {
        Outcome { story: self.story.map(|story| story.name), ..Outcome::broken(self.options, violation) }
    }
}

/// What to call a run.
pub(crate) fn named(story: Option<&str>, seed: u64) -> String {
    story.map_or_else(|| format!("seed {seed}"), |story| format!("story {story}, seed {seed}"))
}

/// The flags that run the same again.
pub(crate) fn flags(outcome: &Outcome) -> String {
    match outcome.story {
        Some(story) => format!("--scenario {story} --seed {}", outcome.options.seed),
        None => overrides::flags(&outcome.options),
    }
}
