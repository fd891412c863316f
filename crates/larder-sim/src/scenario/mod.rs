//! Scripted scenarios: the cases that matter, each a story that reads from top to bottom.
//!
//! A story runs on the same world, nodes and oracle as a drawn run, with no fault but its own. Every read is judged by the
//! oracle; beyond that a story says what it expects. Each names the seeded bugs that it is there to catch.

mod clocks;
mod databases;
mod journals;
mod loads;
mod nodes;
mod readers;
mod redis;
mod stage;
mod stores;

pub(crate) use stage::Played;

/// One story.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What happens, in one sentence.
    pub(crate) story: &'static str,
    /// Seeded bugs that break it.
    #[cfg_attr(not(test), allow(dead_code, reason = "for whoever reads the story, and for its tests"))]
    pub(crate) catches: &'static [&'static str],
    /// Plays it with this seed.
    pub(crate) play: fn(u64) -> Played,
}

/// All stories there are.
pub(crate) fn all() -> Vec<&'static Scenario> {
    let chapters = [
        readers::STORIES,
        loads::STORIES,
        nodes::STORIES,
        stores::STORIES,
        journals::STORIES,
        redis::STORIES,
        databases::STORIES,
        clocks::STORIES,
    ];
    chapters.into_iter().flatten().collect()
}

/// The story of this name.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_ends_well() {
        for scenario in all() {
            for seed in 1..=5 {
                let played = (scenario.play)(seed);
                let trace = played.trace.join("\n");
                assert!(
                    played.violations.is_empty(),
                    "{} with seed {seed}: {:?}\n{trace}",
                    scenario.name,
                    played.violations
                );
            }
        }
    }

    #[test]
    fn names_are_unique_and_every_story_says_which_mistakes_it_is_there_for() {
        let mut names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
        assert!(all().iter().all(|scenario| !scenario.story.is_empty() && !scenario.catches.is_empty()));
        assert!(all().iter().all(|scenario| named(scenario.name).is_some()));
    }
}
