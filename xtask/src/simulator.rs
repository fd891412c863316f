//! `larder-sim` as the chores drive it: how it is started, and what it can do yet.
//!
//! Used by `seeded` and by the steps of `ci`. It builds and runs the program, and never links the crate.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    fault::Fault,
    place::Place,
    process::{Ended, Interrupt, Program},
};

/// The simulator with these arguments, in release.
pub(crate) fn program(place: &Place, args: &[&str]) -> Program {
    let run = ["run", "--release", "--locked", "-p", "larder-sim", "--"];
    Program::new(&place.root, "cargo", run.iter().chain(args)).env("CARGO_TERM_COLOR", "never")
}

/// Runs a prepared `program`: what it prints goes to `FILE.out`, its complaints and then the same text to `log`.
pub(crate) fn output(program: &Program, log: &Path, interrupt: &Interrupt) -> Result<(Ended, String), Fault> {
    let mut errors = File::options().create(true).append(true).open(log).map_err(Fault::io("open", log))?;
    writeln!(errors, "$ {}", program.line()).map_err(Fault::io("write", log))?;
    let path: PathBuf = log.with_extension("out");
    let out = File::create(&path).map_err(Fault::io("create", &path))?;
    let share = errors.try_clone().map_err(|error| Fault::new(format!("cannot share a log: {error}")))?;
    let ended = program.run_apart(out, share, interrupt)?;
    let bytes = fs::read(&path).map_err(Fault::io("read", &path))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    writeln!(errors, "{}", text.trim_end()).map_err(Fault::io("write", log))?;
    Ok((ended, text))
}

/// Whether the text of `--help` lists this option (`--seeds`) or this command (`model`).
pub(crate) fn lists(help: &str, word: &str) -> bool {
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let options = |line: &str| line.split([' ', ',', '=', '[', ']', '<']).any(|part| part == word);
    if word.starts_with('-') {
        return help.lines().any(|line| options(line.trim()));
    }
    help.lines().any(|line| line.starts_with(' ') && first(line).as_deref() == Some(word))
}

#[cfg(test)]
mod tests {
    use super::lists;

    const HELP: &str = "\
Attacks on Larder's promise

Usage: larder-sim [OPTIONS] [COMMAND]

Commands:
  model  Explores the model of the protocol
  help   Print this message

Options:
      --seeds <N>      How many seeds to run [default: 100]
  -s, --seed=<S>       The first of them
      --seeded-bugs    Hunts each known mistake
";

    #[test]
    fn reads_what_a_program_offers_from_its_help() {
        for word in ["model", "--seeds", "--seed", "--seeded-bugs"] {
            assert!(lists(HELP, word), "{word}");
        }
        for word in ["--seeded", "--json", "protocol", "Commands:", "soak"] {
            assert!(!lists(HELP, word), "{word}");
        }
        assert!(!lists("", "model"));
    }
}
