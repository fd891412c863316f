//! The steps of `cargo xtask ci`, in the order they run: cheap and telling first, slow last.
//!
//! Each runs what a developer would type, and answers with an [`Outcome`]; `ci` times and shows them.

mod checks;
mod proof;

use crate::{ci::Session, counts, fault::Fault, process::Ended};

/// How a step went, with a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok(String),
    Failed(String),
    Skipped(String),
    /// What it would run is not in the tree. A failure, unless the step is still to come.
    Absent(String),
}

impl Outcome {
    /// Status and detail, for the summary.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Ok(detail) => ("ok", detail),
            Self::Failed(detail) => ("FAILED", detail),
            Self::Skipped(detail) => ("skipped", detail),
            Self::Absent(detail) => ("ABSENT", detail),
        }
    }

    /// Ok with a detail if the program ended well.
    fn of(ended: Ended, detail: &str) -> Self {
        match ended {
            _ if ended.well() => Self::Ok(detail.into()),
            Ended::Interrupted => Self::Skipped("interrupted".into()),
            _ => Self::Failed(ended.words()),
        }
    }
}

/// A step: its name, and what it does.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Session<'_>) -> Result<Outcome, Fault>,
}

/// All of them, in order.
pub(crate) const ALL: &[Step] = &[
    Step { name: "system", run: checks::system },
    Step { name: "fmt", run: checks::format },
    Step { name: "tidy", run: checks::tidy_rules },
    Step { name: "clippy", run: checks::clippy },
    Step { name: "tests", run: checks::tests },
    Step { name: "doc-tests", run: checks::doc_tests },
    Step { name: "docs", run: checks::docs },
    Step { name: "deny", run: checks::dependencies },
    Step { name: "compare", run: checks::compare },
    Step { name: "shuttle", run: proof::shuttle },
    Step { name: "loom", run: proof::loom },
    Step { name: "fuzz", run: proof::fuzz },
    Step { name: "model", run: proof::model },
    Step { name: "sim", run: proof::simulation },
    Step { name: "seeded-bugs", run: proof::seeded_bugs },
    Step { name: "main-job", run: proof::booking },
];

/// Steps whose programs are still being built: they are shown as ABSENT while those are not in the tree. A name that
/// is taken out of here is a step that must run.
const YET_TO_COME: &[&str] = &[];

/// Whether a step may find nothing to run.
pub(crate) fn may_be_absent(step: &str) -> bool {
    YET_TO_COME.contains(&step)
}

/// Adds the tests of the step's log to the session's count.
fn counted(session: &mut Session<'_>, ended: Ended, remark: &str) -> Result<Outcome, Fault> {
    let output = session.output()?;
    let counts = counts::in_output(&output);
    session.counts += counts;
    let detail = format!("{counts}{remark}");
    Ok(match Outcome::of(ended, &detail) {
        Outcome::Failed(why) if counts.failed == 0 => {
            Outcome::Failed(format!("{why}; no test failed: it did not build, or did not end"))
        }
        Outcome::Failed(_) => Outcome::Failed(format!("{detail}: {}", few(&counts::failed_tests(&output)))),
        other => other,
    })
}

/// The first names of a list, and how many more there are.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Outcome, YET_TO_COME, few};
    use crate::process::Ended;

    #[test]
    fn an_interrupted_program_is_skipped_and_a_failing_one_says_how_it_ended() {
        assert_eq!(Outcome::of(Ended::Exit(Some(0)), "fine"), Outcome::Ok("fine".into()));
        assert_eq!(Outcome::of(Ended::Interrupted, ""), Outcome::Skipped("interrupted".into()));
        assert_eq!(Outcome::of(Ended::Exit(Some(3)), ""), Outcome::Failed("exit code 3".into()));
    }

    #[test]
    fn step_names_are_unique_since_each_names_a_log() {
        let mut names: Vec<_> = ALL.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn what_may_be_absent_is_a_step() {
        for name in YET_TO_COME {
            assert!(ALL.iter().any(|step| step.name == *name), "{name}");
        }
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(few(&names(2)), "0, 1");
        assert_eq!(few(&names(5)), "0, 1, 2 and 2 more");
    }
}
