//! The command line: what was typed, and the bounds of each value.
//!
//! Only `main` uses it. It does no work and opens nothing.

use crate::overrides::Overrides;
use crate::scenario::{self, Scenario};
use clap::{Args, Parser, Subcommand, value_parser};

/// Attacks on Larder's promise.
///
/// Without a subcommand: simulates clusters in which everything goes wrong, one for each seed, and lets an oracle judge
/// every read. Exit code 0: every promise was kept and the runs were worth something; 1: not; 2: the command line is
/// wrong; 130: stopped by a signal.
#[derive(Clone, Debug, Parser)]
#[command(name = "larder-sim", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Explores the model of the protocol exhaustively, within small bounds.
    Model(ModelArgs),
}

/// Flags of the model.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// Larger bounds: some configurations take many minutes and gigabytes.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Only this configuration and its weakenings, or only this weakening; with the story of each counterexample.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Print one JSON object on standard output instead of a table; progress goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of the simulation.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// How many seeds to run: one when `--seed` is given, 100 otherwise (5 for scenarios), 200 for `--seeded-bugs`.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with = "seconds")]
    pub(crate) seeds: Option<u64>,
    /// The first seed; the others follow it. Random when not given, and always printed. 1 for `--seeded-bugs`.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Begin new runs for so long, instead of a number of them.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: Option<u64>,
    /// Play this scripted scenario instead of the mix of faults; `all` plays each.
    #[arg(long, value_name = "NAME", value_parser = stories)]
    pub(crate) scenario: Option<Stories>,
    /// Runs at the same time; as many as there are cores when not given.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=256))]
    pub(crate) jobs: Option<u64>,
    /// Print one JSON value on standard output instead of tables; progress goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print everything that happens in the run of one seed.
    #[arg(long, conflicts_with_all = ["json", "seeds", "seconds"])]
    pub(crate) trace: bool,
    /// End with the first seed that fails, and do not look for a shorter history.
    #[arg(long)]
    pub(crate) first: bool,
    /// Measure speed: five nodes, 1,000 operations a simulated second, for one simulated hour on one core.
    #[arg(long, conflicts_with_all = ["seeds", "seconds", "scenario", "jobs", "trace", "seeded_bugs"])]
    pub(crate) speed: bool,
    /// Make each known mistake in turn; the same seeds must catch all of them, and pass without any.
    #[arg(long, conflicts_with_all = ["seconds", "scenario", "trace", "first"])]
    pub(crate) seeded_bugs: bool,
    /// Only these known mistakes, separated by commas.
    #[arg(long, value_name = "NAME", requires = "seeded_bugs", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Do not ask the explorers of thread orders about known mistakes that a simulation cannot see.
    #[arg(long, requires = "seeded_bugs")]
    pub(crate) here: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

impl RunArgs {
    /// Runs at the same time.
    pub(crate) fn jobs(&self) -> u64 {
        self.jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64))
    }
}

/// Scripted scenarios, as one flag names them.
#[derive(Clone, Debug)]
pub(crate) struct Stories(pub(crate) Vec<&'static Scenario>);

fn stories(name: &str) -> Result<Stories, String> {
    if name == "all" {
        return Ok(Stories(scenario::all()));
    }
    scenario::named(name).map(|story| Stories(vec![story])).ok_or_else(|| {
        let names: Vec<&str> = scenario::all().iter().map(|story| story.name).collect();
        format!("no scenario is called {name:?}: expected all, or one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(args: &[&str]) -> String {
        Cli::try_parse_from([&["larder-sim"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_field_value_and_what_was_expected() {
        for (args, parts) in [
            (["--seeds", "0"], ["'0'", "--seeds", ""]),
            (["--jobs", "0"], ["'0'", "--jobs", "1..=256"]),
            (["--nodes", "9"], ["'9'", "--nodes", "1..=8"]),
            (["--faults", "store_errors"], ["store_errors", "--faults", "store_error, store_hang"]),
            (["--capture", "triggers"], ["'triggers'", "--capture", "outbox, direct, both"]),
            (["--scenario", "a_tale"], ["a_tale", "--scenario", "expected all, or one of"]),
            (["--write-share", "1.5"], ["'1.5'", "--write-share", "0..=1"]),
        ] {
            let text = refusal(&args);
            assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for args in [
            ["--seeds", "3", "--seconds", "4"].as_slice(),
            &["--trace", "--json"],
            &["--only", "some_bug"],
            &["--json", "model"],
        ] {
            let refused = Cli::try_parse_from([&["larder-sim"], args].concat());
            assert!(refused.is_err(), "{args:?}");
        }
        let cli = Cli::try_parse_from(["larder-sim", "model", "--json"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Model(model)) if model.json));
    }
}
