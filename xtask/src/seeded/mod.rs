//! `cargo xtask seeded-bugs`: compiles each known mistake in, one at a time; a test must turn red.
//!
//! A bug is code behind `cfg(larder_seeded_bug = "NAME")` in `crates/`; the list is read from the sources, so it
//! cannot drift from them. Called by `main` and by the step of `ci`; never changes a source file.
//!
//! The cfg reaches only the workspace's own crates, through a compiler wrapper of its own for each bug: cargo keys
//! what it builds by the wrapper's path, so the dependencies are built once and shared by all bugs, which
//! `RUSTFLAGS` would build anew each time.

mod results;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use results::{Results, Row, Verdict};

use crate::{
    counts,
    fault::Fault,
    place::Place,
    process::{Ended, Interrupt, Program},
    report,
    steps::few,
    tidy::tree,
    tools::{self, Tools},
};

/// The crates whose tests hunt the bugs.
const PACKAGES: [&str; 4] = ["-p", "larder-core", "-p", "larder"];
/// The longest that one bug may take, building included.
const BUG_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Where and how to hunt.
pub(crate) struct Hunt<'a> {
    pub(crate) place: &'a Place,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) nextest: bool,
    pub(crate) scratch: PathBuf,
    /// For the whole hunt.
    pub(crate) limit: Duration,
}

/// Runs the chore; false if a bug went unnoticed or could not be tried.
pub(crate) fn run(place: &Place, interrupt: &Interrupt, json: bool, only: &[String]) -> Result<bool, Fault> {
    let known = discover(&place.root)?;
    if known.is_empty() {
        return Err(Fault::new("no `larder_seeded_bug = \"NAME\"` in crates/: there is nothing to try"));
    }
    if let Some(unknown) = only.iter().find(|name| !known.contains_key(*name)) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(Fault::new(format!(
            "no bug is called {unknown:?}: expected one of {}",
            names.join(", ")
        )));
    }
    let wanted = |name: &String| only.is_empty() || only.contains(name);
    let bugs = known.into_iter().filter(|(name, _)| wanted(name)).collect();
    let scratch = place.target.join("seeded").join("tmp");
    let hunt = Hunt {
        place,
        interrupt,
        nextest: Tools::look(&place.root).nextest,
        scratch: scratch.clone(),
        limit: Duration::from_secs(3600),
    };
    let results = hunt.all(&bugs, true, |name| report::progress(&format!("seeded-bugs: {name}")));
    let _ = fs::remove_dir_all(&scratch);
    let mut results = results?;
    if only.is_empty() {
        results.add_missing();
    }
    report::clear();
    report::line(&if json { results.json() } else { format!("{}\n{}", results.text(), results.closing()) });
    Ok(results.passed())
}

/// The bugs in `crates/`, each with the files it is in.
pub(crate) fn discover(root: &Path) -> Result<BTreeMap<String, BTreeSet<PathBuf>>, Fault> {
    let mut bugs: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in tree::files(&root.join("crates"), "rs")? {
        let text = fs::read_to_string(&path).map_err(Fault::io("read", &path))?;
        for name in names_in(&text) {
            bugs.entry(name).or_default().insert(path.clone());
        }
    }
    Ok(bugs)
}

/// Every NAME of `larder_seeded_bug = "NAME"` outside of comments.
fn names_in(text: &str) -> Vec<String> {
    const CFG: &str = "larder_seeded_bug";
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(CFG).skip(1).filter_map(name_after_cfg)).collect()
}

fn name_after_cfg(rest: &str) -> Option<String> {
    let rest = rest.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
    let (name, _) = rest.split_once('"')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

impl Hunt<'_> {
    /// Tries every bug; with `baseline`, first that the tests are green without any, since a suite that is red
    /// anyway catches nothing.
    pub(crate) fn all(
        &self,
        bugs: &BTreeMap<String, BTreeSet<PathBuf>>,
        baseline: bool,
        progress: impl Fn(&str),
    ) -> Result<Results, Fault> {
        let began = Instant::now();
        fs::create_dir_all(self.directory()).map_err(Fault::io("create", &self.directory()))?;
        fs::create_dir_all(&self.scratch).map_err(Fault::io("create", &self.scratch))?;
        if baseline {
            progress("no bug: the tests must be green");
            let row = self.one(None, self.limit)?;
            let why = match row.verdict {
                Verdict::NotCaught => None,
                Verdict::Caught(red) => Some(format!("red: {}", few(&red))),
                Verdict::Error(why) => Some(why),
                Verdict::Missing => None,
            };
            if let Some(why) = why {
                return Err(Fault::new(format!(
                    "the tests are not green without any bug, so a red test proves nothing ({why}): {}",
                    row.log.display()
                )));
            }
        }
        let mut rows = Vec::new();
        for name in bugs.keys() {
            progress(name);
            let left = self.limit.saturating_sub(began.elapsed());
            rows.push(self.one(Some(name), left.min(BUG_LIMIT))?);
        }
        Ok(Results(rows))
    }

    fn directory(&self) -> PathBuf {
        self.place.target.join("seeded")
    }

    fn one(&self, bug: Option<&str>, limit: Duration) -> Result<Row, Fault> {
        let name = bug.unwrap_or("none");
        let log = self.directory().join(format!("{name}.log"));
        File::create(&log).map_err(Fault::io("create", &log))?;
        let wrapper = bug.map(|bug| self.wrapper(bug)).transpose()?;
        let began = Instant::now();
        let args = tools::test_build_args(self.nextest, &PACKAGES);
        let built = self.cargo(&args, wrapper.as_deref(), limit, &log)?;
        let build = began.elapsed();
        let row = |verdict, tests| Row { bug: name.to_owned(), verdict, build, tests, log: log.clone() };
        if !built.well() {
            let why = format!("did not build: {}", built.words());
            return Ok(row(Verdict::Error(why), Duration::ZERO));
        }
        let began = Instant::now();
        let args = tools::test_args(self.nextest, &PACKAGES, "seeded");
        let ended = self.cargo(&args, wrapper.as_deref(), limit.saturating_sub(build), &log)?;
        let output = fs::read(&log).map_err(Fault::io("read", &log))?;
        Ok(row(judge(ended, &String::from_utf8_lossy(&output)), began.elapsed()))
    }

    fn cargo(
        &self,
        args: &[String],
        wrapper: Option<&Path>,
        limit: Duration,
        log: &Path,
    ) -> Result<Ended, Fault> {
        let mut program = Program::new(&self.place.root, "cargo", args)
            .limit(limit)
            .env("CARGO_TARGET_DIR", self.directory())
            .env("CARGO_TERM_COLOR", "never")
            // Each bug is built once: what incremental builds and debuggers need would only take time and room.
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // A failure here is wanted: it is neither recorded in the sources nor worth shrinking for long.
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env("PROPTEST_MAX_SHRINK_ITERS", "256")
            .env("TMPDIR", &self.scratch);
        if let Some(wrapper) = wrapper {
            program = program.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
        }
        let mut file = File::options().append(true).open(log).map_err(Fault::io("open", log))?;
        writeln!(file, "$ {}", program.line()).map_err(Fault::io("write", log))?;
        program.run(file, self.interrupt)
    }

    /// The compiler wrapper of a bug. Left alone when it is there, since a newer one would rebuild everything.
    fn wrapper(&self, bug: &str) -> Result<PathBuf, Fault> {
        let directory = self.directory().join("wrappers");
        fs::create_dir_all(&directory).map_err(Fault::io("create", &directory))?;
        let path = directory.join(bug);
        let text = format!("#!/bin/sh\nexec \"$@\" --cfg 'larder_seeded_bug=\"{bug}\"'\n");
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(path);
        }
        fs::write(&path, text).map_err(Fault::io("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(Fault::io("make executable", &path))?;
        Ok(path)
    }
}

/// What a run of the tests says about the bug in them.
fn judge(ended: Ended, output: &str) -> Verdict {
    let counts = counts::in_output(output);
    match ended {
        _ if ended.well() && counts.run() == 0 => Verdict::Error("no test ran".into()),
        _ if ended.well() => Verdict::NotCaught,
        Ended::Exit(_) if counts.failed > 0 => Verdict::Caught(counts::failed_tests(output)),
        _ => Verdict::Error(format!("the tests did not run to their end: {}", ended.words())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Verdict, judge, names_in};
    use crate::process::Ended;

    #[test]
    fn finds_the_bugs_in_code_and_not_in_comments() {
        let text = r#"
//! Compiled in with `larder_seeded_bug = "not_me"`.
#[cfg(larder_seeded_bug = "stamp_after_load")]
let late = !cfg!(any(larder_seeded_bug="a1", not(larder_seeded_bug = "b")));
const CFG: &str = "larder_seeded_bug";
let pattern = "larder_seeded_bug = \"NAME\"";
"#;
        assert_eq!(names_in(text), ["stamp_after_load", "a1", "b"]);
    }

    #[test]
    fn only_a_failed_test_catches_a_bug() {
        let red = "        FAIL [   0.004s] (1/3) larder rule::old\n     Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped";
        let green = "     Summary [ 0.1s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(judge(Ended::Exit(Some(100)), red), Verdict::Caught(vec!["larder rule::old".into()]));
        assert_eq!(judge(Ended::Exit(Some(0)), green), Verdict::NotCaught);
        for (ended, output) in [
            (Ended::Exit(Some(0)), ""),
            (Ended::Exit(Some(101)), "error: could not compile `larder`"),
            (Ended::Exit(None), ""),
            (Ended::Interrupted, red),
            (Ended::OverTime(Duration::from_secs(1)), red),
        ] {
            assert_eq!(judge(ended, output).name(), "error", "{ended:?} {output:?}");
        }
    }
}
