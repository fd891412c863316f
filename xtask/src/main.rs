//! The project's own chores: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask seeded-bugs`.
//!
//! Called by people and by `.ci/run`. It drives other programs and reads the repository's text; it never links a
//! crate of Larder, and it writes nowhere but under the target directory.

mod ci;
mod counts;
mod deny;
mod explorers;
mod fault;
mod main_job;
mod metadata;
mod place;
mod process;
mod report;
mod seeded;
mod servers;
mod simulator;
mod steps;
mod tidy;
mod tools;

use std::process::ExitCode;

use crate::{fault::Fault, place::Place, process::Interrupt};

const USAGE: &str = "\
Usage: cargo xtask <chore>

Chores:
  ci [--json] [--only STEP[,STEP]]  every check a change must pass, with a summary; continues after a failure
  tidy [--json]                     the layout's rules: layering, module docs, links, unfinished code
  seeded-bugs [--json] [--only BUG[,BUG]]
                                    make each known mistake, one at a time; tests, an explorer of schedules
                                    or the simulator must find it

--json prints one object on standard output; progress stays on standard error.
Exit code: 0 all is well, 1 something failed, 2 the command line was not understood, 130 interrupted.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Chore {
    Ci { json: bool, only: Vec<String> },
    Tidy { json: bool },
    SeededBugs { json: bool, only: Vec<String> },
    Help,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chore = match parse(&args) {
        Ok(chore) => chore,
        Err(message) => {
            report::note(&format!("xtask: {message}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(chore) {
        Ok(code) => code,
        Err(fault) => {
            report::note(&format!("xtask: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode, Fault> {
    if chore == Chore::Help {
        report::line(USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::find()?;
    let interrupt = Interrupt::listen()?;
    let passed = match chore {
        Chore::Ci { json, only } => ci::run(&place, &interrupt, json, &only)?,
        Chore::Tidy { json } => tidy::run(&place, json)?,
        Chore::SeededBugs { json, only } => seeded::run(&place, &interrupt, json, &only)?,
        Chore::Help => true,
    };
    Ok(match (interrupt.raised(), passed) {
        (true, _) => ExitCode::from(130),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

fn parse(args: &[String]) -> Result<Chore, String> {
    let Some((name, options)) = args.split_first() else {
        return Err("no chore given".into());
    };
    if ["help", "--help", "-h"].contains(&name.as_str()) || options.iter().any(|option| option == "--help") {
        return Ok(Chore::Help);
    }
    let (json, only) = parse_options(options)?;
    match name.as_str() {
        "ci" => Ok(Chore::Ci { json, only }),
        "seeded-bugs" => Ok(Chore::SeededBugs { json, only }),
        "tidy" if only.is_empty() => Ok(Chore::Tidy { json }),
        "tidy" => Err("tidy takes no --only: it checks all rules in a moment".into()),
        other => Err(format!("no chore is called {other:?}: expected ci, tidy or seeded-bugs")),
    }
}

fn parse_options(options: &[String]) -> Result<(bool, Vec<String>), String> {
    let mut json = false;
    let mut only = Vec::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let (flag, inline) = match option.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (option.as_str(), None),
        };
        match (flag, inline) {
            ("--json", None) => json = true,
            ("--only", inline) => {
                let names = inline.or_else(|| rest.next().cloned()).unwrap_or_default();
                only.extend(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
                if only.is_empty() {
                    return Err("--only needs at least one name".into());
                }
            }
            _ => return Err(format!("unknown option {option:?}: expected --json or --only NAME")),
        }
    }
    Ok((json, only))
}

#[cfg(test)]
mod tests {
    use super::{Chore, parse};

    fn parsed(line: &str) -> Result<Chore, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_each_chore_and_its_options() {
        assert_eq!(parsed("ci"), Ok(Chore::Ci { json: false, only: vec![] }));
        assert_eq!(
            parsed("ci --json --only fmt,tidy"),
            Ok(Chore::Ci { json: true, only: vec!["fmt".into(), "tidy".into()] })
        );
        assert_eq!(
            parsed("seeded-bugs --only=stamp_after_load"),
            Ok(Chore::SeededBugs { json: false, only: vec!["stamp_after_load".into()] })
        );
        assert_eq!(parsed("tidy --help"), Ok(Chore::Help));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in ["", "build", "ci --fast", "ci --only", "tidy --only fmt", "ci --json=yes"] {
            assert!(parsed(line).is_err(), "{line:?} was accepted");
        }
    }
}
