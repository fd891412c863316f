//! The unit and integration tests as hunters: built once with every known mistake in them, run once for each.
//!
//! The cfg reaches only the workspace's own crates, through a compiler wrapper: cargo keys what it builds by the
//! wrapper's path, so the dependencies are those of any other build of the tests. Called by `Hunt` alone; writes
//! nowhere but under the target directory.

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
    fault::Fault,
    process::{Ended, Program},
    steps::few,
    tools::{self, Until},
};

/// The crates whose tests hunt.
const PACKAGES: [&str; 4] = ["-p", "larder-core", "-p", "larder"];
/// The longest that the tests may run for one bug. All of them together take a fraction of it.
const BUG_LIMIT: Duration = Duration::from_secs(3 * 60);
/// No warning and no debugger's tables: these builds are read by nobody.
const WRAPPER: &str = "#!/bin/sh\nexec \"$@\" --cfg larder_seeded_bugs -C debuginfo=0\n";

/// The test suites, built with the mistakes in them.
pub(super) struct Suites<'a> {
    hunt: &'a Hunt<'a>,
    wrapper: PathBuf,
}

impl<'a> Suites<'a> {
    /// Builds them, and sees that they are green while no mistake is made: a suite that is red anyway catches
    /// nothing. `None` when interrupted.
    ///
    /// # Errors
    /// When they do not build, or are red.
    pub(super) fn ready(hunt: &'a Hunt<'a>, progress: &impl Fn(&str)) -> Result<Option<Self>, Fault> {
        let suites = Self { wrapper: wrapper(&hunt.directory())?, hunt };
        progress("building the tests");
        let (built, _, log) =
            suites.cargo("build", "", &tools::test_build_args(hunt.nextest, &PACKAGES), hunt.left())?;
        match built {
            Ended::Interrupted => return Ok(None),
            _ if built.well() => {}
            _ => {
                return Err(Fault::new(format!(
                    "the tests do not build: {}: {}",
                    built.words(),
                    log.display()
                )));
            }
        }
        progress("no bug: the tests must be green");
        let (ended, output, log) =
            suites.cargo("none", "", &suites.run_args(Until::End), hunt.left().min(2 * BUG_LIMIT))?;
        let why = match judge(ended, &output) {
            Verdict::Escaped if counts::in_output(&output).run() > 0 => return Ok(Some(suites)),
            _ if ended == Ended::Interrupted => return Ok(None),
            Verdict::Caught { by } => format!("red: {by}"),
            Verdict::Error(why) => why,
            Verdict::Escaped | Verdict::NotAsked => "no test ran".into(),
        };
        let path = log.display();
        let message =
            format!("the tests are not green without any bug, so a red test proves nothing ({why}): {path}");
        Err(Fault::new(message))
    }

    /// Runs the tests with this mistake made, to the first that fails.
    pub(super) fn hunt(&self, bug: &str) -> Result<(Verdict, Duration), Fault> {
        let began = Instant::now();
        let limit = self.hunt.left().min(BUG_LIMIT);
        let (ended, output, _) = self.cargo(bug, bug, &self.run_args(Until::FirstFailure), limit)?;
        Ok((judge(ended, &output), began.elapsed()))
    }

    fn run_args(&self, until: Until) -> Vec<String> {
        tools::test_args(self.hunt.nextest, &PACKAGES, "seeded", until)
    }

    /// How cargo ended, what it printed, and where that is kept.
    fn cargo(
        &self,
        log: &str,
        bug: &str,
        args: &[String],
        limit: Duration,
    ) -> Result<(Ended, String, PathBuf), Fault> {
        let path = self.hunt.directory().join(format!("{log}.log"));
        let program = Program::new(&self.hunt.place.root, "cargo", args)
            .limit(limit)
            .env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper)
            .env("LARDER_SEEDED_BUG", bug)
            .env("CARGO_TERM_COLOR", "never")
            // A failure here is wanted: it is neither recorded in the sources nor worth shrinking for long.
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env("PROPTEST_MAX_SHRINK_ITERS", "256")
            .env("TMPDIR", &self.hunt.scratch);
        let mut file = File::create(&path).map_err(Fault::io("create", &path))?;
        writeln!(file, "$ {}", program.line()).map_err(Fault::io("write", &path))?;
        let ended = program.run(file, self.hunt.interrupt)?;
        let output = fs::read(&path).map_err(Fault::io("read", &path))?;
        Ok((ended, String::from_utf8_lossy(&output).into_owned(), path))
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

/// What a run of the tests says about the bug made in them. A test that only ran out of time does not catch: on a
/// busy machine one does so without any bug.
fn judge(ended: Ended, output: &str) -> Verdict {
    let late = counts::timed_out(output);
    let mut red = counts::failed_tests(output);
    red.retain(|name| !late.contains(name));
    match ended {
        _ if ended.well() && counts::in_output(output).run() == 0 => Verdict::Error("no test ran".into()),
        _ if ended.well() => Verdict::Escaped,
        Ended::Exit(_) if !red.is_empty() => Verdict::Caught { by: few(&red) },
        Ended::Exit(_) if !late.is_empty() => Verdict::Error(format!("ran out of time: {}", few(&late))),
        _ => Verdict::Error(format!("the tests did not run to their end: {}", ended.words())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Verdict, judge};
    use crate::process::Ended;

    const RED: &str = "        FAIL [   0.004s] (1/3) larder rule::old\n     Summary [ 0.1s] 3/9 tests run: 2 passed, 1 failed, 0 skipped";

    #[test]
    fn only_a_failed_test_catches_a_bug() {
        let green = "     Summary [ 0.1s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(judge(Ended::Exit(Some(100)), RED), Verdict::Caught { by: "larder rule::old".into() });
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
    fn a_test_that_ran_out_of_time_catches_nothing_by_itself() {
        let late = "     TIMEOUT [  60.004s] (3/3) larder::reads slow\n     Summary [ 60.1s] 3/9 tests run: 2 passed, 1 timed out, 0 skipped";
        let verdict = judge(Ended::Exit(Some(100)), late);
        assert_eq!(verdict, Verdict::Error("ran out of time: larder::reads slow".into()));
        let both = format!("{late}\n{RED}");
        assert_eq!(judge(Ended::Exit(Some(100)), &both).name(), "caught");
    }
}
