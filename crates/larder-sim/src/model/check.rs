//! Runs one model to the end and says what was found. Called by the catalogue; knows no protocol.
//!
//! The search is breadth-first on one thread, so a counterexample is as short as any, or a step longer. A run without a violated
//! property has visited every reachable state: no limit on states, depth or time is ever set.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A model that can tell what happened.
pub(super) trait Protocol:
    Model<
        State: Clone + PartialEq + Hash + Debug + Send + Sync,
        Action: Copy + PartialEq + Debug + Send + Sync,
    > + Send
    + Sync
    + 'static
{
    /// One step as a sentence.
    fn tell(&self, before: &Self::State, action: Self::Action, after: &Self::State) -> String;

    /// How things stand, in one line.
    fn standing(&self, state: &Self::State) -> String;
}

/// What became of one property.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Finding {
    /// The property.
    pub(super) property: &'static str,
    /// `always` or `sometimes`.
    pub(super) kind: &'static str,
    /// `always`: it held in every state visited. `sometimes`: an example was found.
    pub(super) holds: bool,
}

/// What one run found.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    /// Different states visited.
    pub(super) states: usize,
    /// States generated, repeats included: one for each step tried.
    pub(super) generated: usize,
    /// The longest of the shortest paths to a state, in steps.
    pub(super) depth: usize,
    pub(super) time: Duration,
    pub(super) findings: Vec<Finding>,
    /// Steps to the first violation, in words, if there is one.
    pub(super) story: Option<Story>,
}

/// A counterexample in words.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) property: &'static str,
    pub(super) steps: Vec<String>,
    pub(super) end: String,
}

impl Checked {
    /// Every `always` held and every `sometimes` was found.
    pub(super) fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }
}

/// Explores `model` until a property is violated or every state was visited. `progress` hears the number of
/// states generated, now and then.
pub(super) fn check<P: Protocol>(model: P, progress: &dyn Fn(usize)) -> Checked {
    let began = Instant::now();
    let mut checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    let mut pause = Duration::from_micros(200);
    for thread in checker.handles() {
        while !thread.is_finished() {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
            progress(checker.state_count());
        }
    }
    let time = began.elapsed();
    let model = checker.model();
    let found = checker.discoveries();
    let mut story = None;
    let mut findings = Vec::new();
    for property in model.properties() {
        let path = found.get(property.name);
        let always = property.expectation != Expectation::Sometimes;
        findings.push(Finding {
            property: property.name,
            kind: if always { "always" } else { "sometimes" },
            holds: always != path.is_some(),
        });
        if let (true, None, Some(path)) = (always, &story, path) {
            let mut path = path.clone().into_vec();
            // The checker reports the last violation of a batch; an earlier state of its path may be one too.
            let first = path.iter().position(|(state, _)| !(property.condition)(model, state));
            path.truncate(first.map_or(path.len(), |first| first + 1));
            story = Some(told(model, property.name, &path));
        }
    }
    let (states, generated) = (checker.unique_state_count(), checker.state_count());
    Checked { states, generated, depth: checker.max_depth().saturating_sub(1), time, findings, story }
}

fn told<P: Protocol>(model: &P, property: &'static str, path: &[(P::State, Option<P::Action>)]) -> Story {
    let pairs = path.iter().zip(path.iter().skip(1));
    let steps = pairs
        .filter_map(|((before, action), (after, _))| action.map(|action| model.tell(before, action, after)))
        .collect();
    let end = path.last().map(|(state, _)| model.standing(state)).unwrap_or_default();
    Story { property, steps, end }
}
