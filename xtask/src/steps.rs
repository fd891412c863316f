//! The steps of `cargo xtask ci`, in the order they run: cheap and telling first, slow last.
//!
//! Each runs what a developer would type, and answers with an [`Outcome`]; `ci` times and shows them.

use std::fs::{self, File};

use crate::{
    ci::Session,
    counts, deny,
    fault::Fault,
    main_job, metadata,
    process::{Ended, Program},
    report, seeded, tidy, tools,
};

/// How a step went, with a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok(String),
    Failed(String),
    Skipped(String),
}

impl Outcome {
    /// Status and detail, for the summary.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Ok(detail) => ("ok", detail),
            Self::Failed(detail) => ("FAILED", detail),
            Self::Skipped(detail) => ("skipped", detail),
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
    Step { name: "system", run: system },
    Step { name: "fmt", run: format },
    Step { name: "tidy", run: tidy_rules },
    Step { name: "clippy", run: clippy },
    Step { name: "tests", run: tests },
    Step { name: "doc-tests", run: doc_tests },
    Step { name: "docs", run: docs },
    Step { name: "deny", run: dependencies },
    Step { name: "compare", run: compare },
    Step { name: "seeded-bugs", run: seeded_bugs },
    Step { name: "main-job", run: booking },
];

/// The bundled SQLite is C: without a compiler nothing builds.
fn system(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if tools::present("cc") {
        return Ok(Outcome::Ok("a C compiler is there".into()));
    }
    if !tools::is_root() || !tools::present("apt-get") {
        return Ok(Outcome::Failed("no C compiler (cc): install one, on Debian apt-get install gcc".into()));
    }
    let apt = |args: &[&str]| {
        let program = Program::new(&session.place.root, "apt-get", args);
        session.run(program.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let updated = apt(&["update", "-q"])?;
    if !updated.well() {
        return Ok(Outcome::of(updated, ""));
    }
    let installed = apt(&["install", "-q", "-y", "--no-install-recommends", "gcc", "libc6-dev"])?;
    Ok(Outcome::of(installed, "installed gcc"))
}

fn format(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let own = session.cargo(&["fmt", "--all", "--check"])?;
    if !own.well() || !has_compare(session) {
        return Ok(Outcome::of(own, ""));
    }
    let args = ["fmt", "--manifest-path", "compare/Cargo.toml", "--check"];
    Ok(Outcome::of(session.cargo(&args)?, ""))
}

fn tidy_rules(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let findings = tidy::check(&session.place.root)?;
    session.log(&findings.text())?;
    Ok(match findings.errors() {
        0 => Outcome::Ok(findings.closing()),
        _ => Outcome::Failed(findings.closing()),
    })
}

fn clippy(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    Ok(Outcome::of(session.cargo(&args)?, ""))
}

fn tests(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let nextest = session.tools.nextest;
    let args = tools::test_args(nextest, &["--workspace"], "default");
    let ended = session.cargo(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    session.tests_green = Some(ended.well());
    counted(session, ended, if nextest { "" } else { " (cargo test: nextest is not installed)" })
}

fn doc_tests(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let ended = session.cargo(&["test", "--doc", "--workspace", "--all-features", "--locked"])?;
    counted(session, ended, "")
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

fn docs(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args = ["doc", "--no-deps", "--workspace", "--all-features", "--locked"];
    let program = Program::new(&session.place.root, "cargo", args).env("RUSTDOCFLAGS", "-D warnings");
    Ok(Outcome::of(session.run(program)?, ""))
}

/// Licences, refused crates and sources. Advisories need a clone of a git database, which CI cannot reach.
fn dependencies(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let asked = std::env::var_os("LARDER_CI_INSTALL").is_some_and(|value| value == "1");
    if !session.tools.deny && asked {
        let installed = session.cargo(&["install", "cargo-deny", "--locked"])?;
        session.tools.deny = installed.well();
    }
    if session.tools.deny {
        let ended = session.cargo(&["deny", "check", "licenses", "bans", "sources"])?;
        return Ok(Outcome::of(ended, "cargo-deny: licences, bans, sources; not advisories"));
    }
    let packages = metadata::packages(&session.place.root)?;
    let found = deny::Policy::read(&session.place.root)?.check(&packages);
    session.log(&found.join("\n"))?;
    let remark = "built-in check, cargo-deny is not installed";
    Ok(if found.is_empty() {
        Outcome::Ok(format!("{} packages ({remark})", packages.len()))
    } else {
        Outcome::Failed(format!("{} of {} packages ({remark})", found.len(), packages.len()))
    })
}

/// The benchmarks are a workspace of their own: they must build, and are not run.
fn compare(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if !has_compare(session) {
        return Ok(Outcome::Skipped("there is no compare/Cargo.toml".into()));
    }
    let mut args = vec!["check", "--manifest-path", "compare/Cargo.toml", "--all-targets"];
    if session.place.root.join("compare/Cargo.lock").is_file() {
        args.push("--locked");
    }
    Ok(Outcome::of(session.cargo(&args)?, ""))
}

fn has_compare(session: &Session<'_>) -> bool {
    session.place.root.join("compare/Cargo.toml").is_file()
}

fn seeded_bugs(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let bugs = seeded::discover(&session.place.root)?;
    if session.tests_green == Some(false) {
        return Ok(Outcome::Skipped(
            "the tests are red without any bug, so a red test proves nothing".into(),
        ));
    }
    let baseline = session.tests_green.is_none();
    let hunt = seeded::Hunt {
        place: session.place,
        interrupt: session.interrupt,
        nextest: session.tools.nextest,
        scratch: session.scratch.clone(),
        limit: session.remaining(),
    };
    let mut results = hunt.all(&bugs, baseline, |name| report::progress(&format!("seeded-bugs: {name}")))?;
    results.add_missing();
    session.log(&results.text())?;
    Ok(if results.passed() {
        Outcome::Ok(results.closing())
    } else if session.interrupt.raised() {
        Outcome::Skipped("interrupted".into())
    } else {
        Outcome::Failed(results.closing())
    })
}

/// The main job for a short while, judged by its own oracle.
fn booking(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args = ["run", "--release", "--locked", "-p", "booking", "--", "--seconds", "2", "--json"];
    let program = session.prepared(Program::new(&session.place.root, "cargo", args));
    let path = session.log_path().with_extension("json");
    let output = File::create(&path).map_err(Fault::io("create", &path))?;
    let errors = session.log(&format!("$ {}", program.line()))?;
    let ended = program.run_apart(output, errors, session.interrupt)?;
    let text = fs::read_to_string(&path).map_err(Fault::io("read", &path))?;
    session.log(&text)?;
    if !ended.well() {
        return Ok(Outcome::of(ended, ""));
    }
    Ok(main_job::judge(&text).map_or_else(Outcome::Failed, Outcome::Ok))
}

#[cfg(test)]
mod tests {
    use super::{ALL, Outcome, few};
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
    fn long_lists_are_cut_and_say_so() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(few(&names(2)), "0, 1");
        assert_eq!(few(&names(5)), "0, 1, 2 and 2 more");
    }
}
