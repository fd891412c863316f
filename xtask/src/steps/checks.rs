//! The steps that look at the code, build it and test it.

use super::{Outcome, counted};
use crate::{
    ci::Session,
    deny,
    fault::Fault,
    metadata,
    process::{Ended, Program},
    servers, tidy,
    tools::{self, Until},
};

/// Workspaces of their own.
const APART: [&str; 2] = ["compare", "fuzz"];

/// What the build and the tests need of the system: compilers (the bundled SQLite is C, and what steers the fuzz targets
/// is C++), and servers to talk to.
pub(super) fn system(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let may_install = tools::is_root() && tools::present("apt-get");
    let compilers = || tools::present("cc") && tools::present("c++");
    let mut wanted = Vec::new();
    if !compilers() {
        wanted.extend(["g++", "libc6-dev"]);
    }
    if servers::wants_package() {
        wanted.push("redis-tools");
    }
    if may_install && !wanted.is_empty() {
        let installed = install(session, &wanted)?;
        if !installed.well() {
            let why = format!("apt-get could not install {}: {}", wanted.join(" "), installed.words());
            return Ok(Outcome::Failed(why));
        }
    }
    if !compilers() {
        return Ok(Outcome::Failed(
            "no compiler for C (cc) or C++ (c++): install both, on Debian apt-get install g++".into(),
        ));
    }
    let servers = servers::provide(session)?;
    let words = format!("compilers for C and C++; {}", servers.words());
    // Whoever may install it has no reason to go without.
    Ok(if may_install && servers::wants_package() { Outcome::Failed(words) } else { Outcome::Ok(words) })
}

fn install(session: &Session<'_>, packages: &[&str]) -> Result<Ended, Fault> {
    let apt = |args: &[&str]| {
        let program = Program::new(&session.place.root, "apt-get", args);
        session.run(program.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let updated = apt(&["update", "-q"])?;
    if !updated.well() {
        return Ok(updated);
    }
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}

pub(super) fn format(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let mut ended = session.cargo(&["fmt", "--all", "--check"])?;
    for folder in APART.into_iter().filter(|folder| has(session, folder)) {
        if ended.well() {
            let manifest = format!("{folder}/Cargo.toml");
            ended = session.cargo(&["fmt", "--manifest-path", &manifest, "--check"])?;
        }
    }
    Ok(Outcome::of(ended, ""))
}

fn has(session: &Session<'_>, folder: &str) -> bool {
    session.place.root.join(folder).join("Cargo.toml").is_file()
}

pub(super) fn tidy_rules(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let findings = tidy::check(&session.place.root)?;
    session.log(&findings.text())?;
    Ok(match findings.errors() {
        0 => Outcome::Ok(findings.closing()),
        _ => Outcome::Failed(findings.closing()),
    })
}

pub(super) fn clippy(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    Ok(Outcome::of(session.cargo(&args)?, ""))
}

pub(super) fn tests(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let nextest = session.tools.nextest;
    let args = tools::test_args(nextest, &["--workspace"], "default", Until::End);
    let ended = session.cargo(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    counted(session, ended, if nextest { "" } else { " (cargo test: nextest is not installed)" })
}

pub(super) fn doc_tests(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let ended = session.cargo(&["test", "--doc", "--workspace", "--all-features", "--locked"])?;
    counted(session, ended, "")
}

pub(super) fn docs(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    let args = ["doc", "--no-deps", "--workspace", "--all-features", "--locked"];
    let program = Program::new(&session.place.root, "cargo", args).env("RUSTDOCFLAGS", "-D warnings");
    Ok(Outcome::of(session.run(program)?, ""))
}

/// Licences, refused crates and sources. Advisories need a clone of a git database, which CI cannot reach.
pub(super) fn dependencies(session: &mut Session<'_>) -> Result<Outcome, Fault> {
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
pub(super) fn compare(session: &mut Session<'_>) -> Result<Outcome, Fault> {
    if !has(session, "compare") {
        return Ok(Outcome::Skipped("there is no compare/Cargo.toml".into()));
    }
    let mut args = vec!["check", "--manifest-path", "compare/Cargo.toml", "--all-targets"];
    if session.place.root.join("compare/Cargo.lock").is_file() {
        args.push("--locked");
    }
    Ok(Outcome::of(session.cargo(&args)?, ""))
}
