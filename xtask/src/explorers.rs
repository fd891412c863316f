//! Explorers of schedules as the chores drive them: which tests are theirs, and how those are built and run.
//!
//! By convention they are `crates/*/tests/shuttle_*` and the unit tests in files called `schedules.rs`, of crates
//! whose manifest names the explorer's cfg. Used by `seeded` and by the steps of `ci`.

use std::{fs, path::Path};

use crate::{fault::Fault, place::Place, process::Program, tidy::tree};

/// A library that runs a test under schedule after schedule, in a build of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Explorer {
    pub(crate) name: &'static str,
    cfg: &'static str,
}

/// Long schedules, drawn at random.
pub(crate) const SHUTTLE: Explorer = Explorer { name: "shuttle", cfg: "larder_shuttle" };
/// All short schedules, with all values that loads may return in them.
pub(crate) const LOOM: Explorer = Explorer { name: "loom", cfg: "larder_loom" };

impl Explorer {
    /// The arguments of `cargo` for each of its suites; none while there are none.
    pub(crate) fn suites(self, root: &Path) -> Result<Vec<Vec<String>>, Fault> {
        let crates = root.join("crates");
        let mut found = Vec::new();
        for entry in fs::read_dir(&crates).map_err(Fault::io("list", &crates))?.flatten() {
            let (package, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
            if !manifest.contains(self.cfg) {
                continue;
            }
            let mut tests = fs::read_dir(path.join("tests")).into_iter().flatten().flatten();
            let suite = |rest: &[&str]| {
                let head = ["test", "--locked", "--no-fail-fast", "-p", &package];
                head.iter().chain(rest).map(|&arg| arg.to_owned()).collect::<Vec<_>>()
            };
            if tests.any(|test| test.file_name().as_encoded_bytes().starts_with(b"shuttle_")) {
                found.push(suite(&["--test", "shuttle_*"]));
            }
            let sources = tree::files(&path.join("src"), "rs")?;
            if sources.iter().any(|path| path.file_name().is_some_and(|name| name == "schedules.rs")) {
                found.push(suite(&["--no-default-features", "--lib", "schedules"]));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Cargo in the explorer's build. Known mistakes are in it, since some only an explorer finds.
    pub(crate) fn program(self, place: &Place, args: &[String]) -> Program {
        Program::new(&place.root, "cargo", args)
            .env("RUSTFLAGS", format!("--cfg larder_seeded_bugs --cfg {}", self.cfg))
            .env("CARGO_TARGET_DIR", place.target.join(self.name))
            .env("CARGO_TERM_COLOR", "never")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LOOM, SHUTTLE};

    #[test]
    fn finds_the_suites_by_their_places_in_crates_that_know_the_explorer() {
        let root = std::env::temp_dir().join(format!("xtask-explorers-{}", std::process::id()));
        for (path, text) in [
            (
                "crates/a/Cargo.toml",
                "[target.'cfg(larder_shuttle)'.dependencies]\n[target.'cfg(larder_loom)'.x]",
            ),
            ("crates/a/tests/shuttle_orders/main.rs", ""),
            ("crates/b/Cargo.toml", "[target.'cfg(larder_shuttle)'.dev-dependencies]"),
            ("crates/b/src/engine/flights/schedules.rs", ""),
            ("crates/b/tests/flights.rs", ""),
            ("crates/c/Cargo.toml", ""),
            ("crates/c/tests/shuttle_none.rs", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let lines = |suites: Vec<Vec<String>>| suites.iter().map(|args| args.join(" ")).collect::<Vec<_>>();
        let (shuttle, loom) = (SHUTTLE.suites(&root).unwrap(), LOOM.suites(&root).unwrap());
        fs::remove_dir_all(&root).unwrap();
        let orders = "test --locked --no-fail-fast -p a --test shuttle_*";
        let schedules = "test --locked --no-fail-fast -p b --no-default-features --lib schedules";
        assert_eq!(lines(shuttle), [orders, schedules]);
        assert_eq!(lines(loom), [orders]);
    }
}
