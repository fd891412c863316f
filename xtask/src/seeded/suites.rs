//! Tests as hunters: built once with every known mistake in them, run once for each.
//!
//! The cfg reaches only the workspace's own crates, through a compiler wrapper: cargo keys what it builds by the
//! wrapper's path, so the dependencies are those of any other build of the tests. Explorers of schedules have builds
//! of their own anyway. Called by `Hunt` alone; writes nowhere but under the target directory.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Hunt, results::Verdict};
use crate::{
    counts,
    explorers::Explorer,
    fault::Fault,
    process::{Ended, Program},
    steps::few,
    tools::{self, Until},
};

/// The crates whose tests hunt.
const PACKAGES: [&str; 4] = ["-p", "larder-core", "-p", "larder"];
/// The longest that one suite may run for one bug: many times what it takes.
const BUG_LIMIT: Duration = Duration::from_secs(3 * 60);
/// No debugger's tables: nobody looks into these builds.
const WRAPPER: &str = "#!/bin/sh\nexec \"$@\" --cfg larder_seeded_bugs -C debuginfo=0\n";
/// Among an explorer's own tests, the one that makes mistakes itself.
const OWN_HUNT: &str = "each_known_mistake_is_found";

/// Tests that are built, run without a bug, and run with one, by these commands in turn.
pub(super) struct Suite<'a> {
    pub(super) name: &'static str,
    hunt: &'a Hunt<'a>,
    build: Vec<Program>,
    whole: Vec<Program>,
    to_first_failure: Vec<Program>,
}

impl<'a> Suite<'a> {
    /// All tests of the library.
    pub(super) fn tests(hunt: &'a Hunt<'a>) -> Result<Self, Fault> {
        let wrapper = wrapper(&hunt.directory())?;
        let program = |args: Vec<String>| {
            vec![
                Program::new(&hunt.place.root, "cargo", args)
                    .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
                    .env("CARGO_TERM_COLOR", "never"),
            ]
        };
        let run = |until| program(tools::test_args(hunt.nextest, &PACKAGES, "seeded", until));
        Ok(Self {
            name: "tests",
            hunt,
            build: program(tools::test_build_args(hunt.nextest, &PACKAGES)),
            whole: run(Until::End),
            to_first_failure: run(Until::FirstFailure),
        })
    }

    /// The tests of an explorer; none while there are none.
    pub(super) fn explored(hunt: &'a Hunt<'a>, explorer: Explorer) -> Result<Option<Self>, Fault> {
        let suites = explorer.suites(&hunt.place.root)?;
        let programs = |more: &[&str]| -> Vec<Program> {
            let with = |args: &Vec<String>| {
                [args.clone(), more.iter().map(|&arg| arg.to_owned()).collect()].concat()
            };
            suites.iter().map(|args| explorer.program(hunt.place, &with(args))).collect()
        };
        let run = ["--", "--skip", OWN_HUNT];
        Ok((!suites.is_empty()).then(|| Self {
            name: explorer.name,
            hunt,
            build: programs(&["--no-run"]),
            whole: programs(&run),
            to_first_failure: programs(&run),
        }))
    }

    /// Builds it, and sees that it is green while no mistake is made: a suite that is red anyway catches nothing.
    ///
    /// # Errors
    /// When it does not build, is red, or was interrupted.
    pub(super) fn make_ready(&self, progress: &impl Fn(&str)) -> Result<(), Fault> {
        let name = self.name;
        let (build_log, log) = (self.log("build"), self.log("none"));
        progress(&format!("building {name}"));
        let (ended, _) = self.run(&self.build, "", &build_log, self.hunt.left())?;
        if !ended.well() {
            return Err(Fault::new(format!(
                "{name} do not build: {}: {}",
                ended.words(),
                build_log.display()
            )));
        }
        progress(&format!("{name}, no bug: they must be green"));
        let (ended, output) = self.run(&self.whole, "", &log, self.hunt.left().min(2 * BUG_LIMIT))?;
        let why = match judge(ended, &output) {
            Verdict::Escaped => return Ok(()),
            Verdict::Caught { by } => format!("red: {by}"),
            Verdict::Error(why) => why,
        };
        Err(Fault::new(format!(
            "{name} are not green without any bug, so a red test proves nothing ({why}): {}",
            log.display()
        )))
    }

    /// Runs it with this mistake made.
    pub(super) fn hunt(&self, bug: &str) -> Result<(Verdict, Duration), Fault> {
        let began = Instant::now();
        let limit = self.hunt.left().min(BUG_LIMIT);
        let (ended, output) = self.run(&self.to_first_failure, bug, &self.log(bug), limit)?;
        Ok((judge(ended, &output), began.elapsed()))
    }

    fn log(&self, what: &str) -> PathBuf {
        self.hunt.directory().join(format!("{}-{what}.log", self.name))
    }

    /// Runs the programs in turn, to the first that does not end well: how that one ended, and what all printed.
    fn run(
        &self,
        programs: &[Program],
        bug: &str,
        log: &Path,
        limit: Duration,
    ) -> Result<(Ended, String), Fault> {
        let file = File::create(log).map_err(Fault::io("create", log))?;
        let mut last = Ended::Exit(Some(0));
        for program in programs {
            let program = program
                .clone()
                .limit(limit)
                .env("LARDER_SEEDED_BUG", bug)
                // A failure here is wanted: it is neither recorded in the sources nor worth shrinking for long.
                .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
                .env("PROPTEST_MAX_SHRINK_ITERS", "256")
                .env("TMPDIR", &self.hunt.scratch);
            let mut share =
                file.try_clone().map_err(|error| Fault::new(format!("cannot share a log: {error}")))?;
            writeln!(share, "$ {}", program.line()).map_err(Fault::io("write", log))?;
            last = program.run(share, self.hunt.interrupt)?;
            if !last.well() {
                break;
            }
        }
        let output = fs::read(log).map_err(Fault::io("read", log))?;
        Ok((last, String::from_utf8_lossy(&output).into_owned()))
    }
}

/// The compiler wrapper. Left alone when it is there, since a newer one would rebuild everything.
fn wrapper(directory: &Path) -> Result<PathBuf, Fault> {
    let path = directory.join("rustc");
    if fs::read_to_string(&path).is_ok_and(|found| found == WRAPPER) {
        return Ok(path);
    }
    fs::write(&path, WRAPPER).map_err(Fault::io("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(Fault::io("make executable", &path))?;
    Ok(path)
}

/// What a run of the tests says about the bug made in them. A test that was only stopped does not catch: on a busy
/// machine one runs out of time without any bug.
fn judge(ended: Ended, output: &str) -> Verdict {
    let stopped = counts::stopped(output);
    let mut red = counts::failed_tests(output);
    red.retain(|name| !stopped.contains(name));
    match ended {
        _ if ended.well() && counts::in_output(output).run() == 0 => Verdict::Error("no test ran".into()),
        _ if ended.well() => Verdict::Escaped,
        Ended::Exit(_) if !red.is_empty() => Verdict::Caught { by: few(&red) },
        Ended::Exit(_) if !stopped.is_empty() => Verdict::Error(format!("stopped: {}", few(&stopped))),
        _ => Verdict::Error(format!("the tests did not run to their end: {}", ended.words())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Verdict, judge};
    use crate::process::Ended;

    const RED: &str = "        FAIL [   0.004s] (1/3) larder rule::old\n     Summary [ 0.1s] 3/9 tests run: 2 passed, 1 failed, 0 skipped";

    fn caught(by: &str) -> Verdict {
        Verdict::Caught { by: by.into() }
    }

    #[test]
    fn only_a_failed_test_catches_a_bug() {
        let green = "     Summary [ 0.1s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(judge(Ended::Exit(Some(100)), RED), caught("larder rule::old"));
        assert_eq!(judge(Ended::Exit(Some(0)), green), Verdict::Escaped);
        for (ended, output) in [
            (Ended::Exit(Some(0)), ""),
            (Ended::Exit(Some(101)), "error: could not compile `larder`"),
            (Ended::Exit(None), ""),
            (Ended::Interrupted, RED),
            (Ended::OverTime(Duration::from_secs(1)), RED),
        ] {
            assert_eq!(judge(ended, output).name(), "error", "{ended:?} {output:?}");
        }
    }

    #[test]
    fn a_test_that_was_stopped_catches_nothing_by_itself() {
        for stop in ["TIMEOUT [  60.004s]", "SIGTERM [   0.004s]"] {
            let text = format!(
                "     {stop} (3/3) larder::reads slow\n     Summary [ 60.1s] 3/9 tests run: 2 passed, 1 failed, 0 skipped"
            );
            let verdict = judge(Ended::Exit(Some(100)), &text);
            assert_eq!(verdict, Verdict::Error("stopped: larder::reads slow".into()));
            assert_eq!(judge(Ended::Exit(Some(100)), &format!("{text}\n{RED}")), caught("larder rule::old"));
        }
    }
}
