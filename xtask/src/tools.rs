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

/// The arguments of `cargo` that run the tests of `packages` (cargo's own flags, such as `--workspace`), all of
/// them even after a failure, printing only what failed.
pub(crate) fn test_args(nextest: bool, packages: &[&str], profile: &str) -> Vec<String> {
    let mut args: Vec<&str> = if nextest { vec!["nextest", "run"] } else { vec!["test"] };
    args.extend(packages);
    args.extend(["--all-features", "--locked", "--no-fail-fast"]);
    if nextest {
        args.extend(["--profile", profile, "--user-config-file", "none", "--no-tests", "pass"]);
        args.extend(["--show-progress", "none", "--status-level", "fail", "--final-status-level", "fail"]);
        args.extend(["--failure-output", "final"]);
    } else {
        // The doc tests have a step of their own.
        args.extend(["--lib", "--bins", "--tests", "--examples"]);
    }
    args.into_iter().map(str::to_owned).collect()
}
