//! Which programs this machine has, and how the tests are run with them.

use std::{path::Path, process::Command};

/// Which of the optional cargo subcommands are installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tools {
    pub(crate) nextest: bool,
    pub(crate) deny: bool,
}

impl Tools {
    /// Asks each of them for its version.
    pub(crate) fn look(root: &Path) -> Self {
        Self { nextest: answers(root, "cargo", "nextest"), deny: answers(root, "cargo", "deny") }
    }
}

/// Whether `program first --version` runs and succeeds.
pub(crate) fn answers(root: &Path, program: &str, first: &str) -> bool {
    Command::new(program)
        .args([first, "--version"])
        .current_dir(root)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether `program --version` runs and succeeds.
pub(crate) fn present(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Whether we may install packages.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The arguments of `cargo` that build the tests of `packages` (cargo's own flags, such as `--workspace`).
pub(crate) fn test_build_args(nextest: bool, packages: &[&str]) -> Vec<String> {
    // `cargo test` has a step of its own for the doc tests.
    let (command, targets): (&[&str], &[&str]) = if nextest {
        (&["nextest", "run"], &[])
    } else {
        (&["test"], &["--lib", "--bins", "--tests", "--examples"])
    };
    let parts = [command, packages, &["--all-features", "--locked"], targets, &["--no-run"]];
    parts.concat().into_iter().map(str::to_owned).collect()
}

/// How far a run of the tests goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// All of them run, even after a failure.
    End,
    /// Little more runs after one has failed.
    FirstFailure,
}

/// The arguments that run them, printing only what failed.
pub(crate) fn test_args(nextest: bool, packages: &[&str], profile: &str, until: Until) -> Vec<String> {
    let mut args = test_build_args(nextest, packages);
    args.pop();
    match (until, nextest) {
        (Until::End, _) => args.push("--no-fail-fast".into()),
        (Until::FirstFailure, true) => args.push("--max-fail=1:immediate".into()),
        // `cargo test` ends with the first test binary that fails unless told otherwise.
        (Until::FirstFailure, false) => {}
    }
    if nextest {
        let quiet = ["--show-progress", "none", "--status-level", "fail", "--final-status-level", "fail"];
        let rest = ["--failure-output", "final", "--no-tests", "pass", "--user-config-file", "none"];
        args.extend(["--profile", profile].iter().chain(&quiet).chain(&rest).map(|&arg| arg.to_owned()));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::{Until, test_args, test_build_args};

    #[test]
    fn building_and_running_choose_the_same_tests() {
        for nextest in [true, false] {
            let mut build = test_build_args(nextest, &["-p", "larder"]);
            assert_eq!(build.pop().as_deref(), Some("--no-run"));
            for (until, goes_on) in [(Until::End, true), (Until::FirstFailure, false)] {
                let run = test_args(nextest, &["-p", "larder"], "default", until);
                assert!(run.starts_with(&build), "{build:?} against {run:?}");
                assert_eq!(run.contains(&"--no-fail-fast".to_owned()), goes_on);
            }
        }
    }
}
