//! The command `larder-sim`: simulate, hunt seeded bugs, check the model. Never published.
//!
//! From the ground: `sched` (time and tasks), `fake` and `world` (what a cluster talks to), `node` and `app` (a cluster
//! and its users), `faults` and `oracle` (what goes wrong, and what must hold all the same), `run` (one run), `scenario`
//! (scripted ones); on top of it `campaign`, `shrink`, `hunt` and `report`. Only `console` prints.

mod app;
mod args;
mod attempt;
mod campaign;
mod console;
mod fake;
mod fault;
mod faults;
mod hints;
mod hunt;
mod model;
mod node;
mod options;
mod oracle;
mod overrides;
mod report;
mod run;
mod scenario;
mod sched;
mod shrink;
mod signals;
mod simulate;
mod stopwatch;
mod story;
mod tally;
mod work;
mod world;

use args::{Cli, Command, RunArgs};
use clap::Parser;
use signals::Interrupt;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Model(args)) => {
            model::run(&model::Ask { json: args.json, deep: args.deep, only: args.only })
        }
        None => attack(&cli.run),
    }
}

fn attack(args: &RunArgs) -> ExitCode {
    if let Err(error) = hunt::check_chosen() {
        console::message(&format!("larder-sim: LARDER_SEEDED_BUG: {error}"));
        return ExitCode::from(2);
    }
    attempt::keep_panics();
    let interrupt = Interrupt::listen();
    if args.seeded_bugs {
        return hunt::hunt(args, &interrupt);
    }
    if args.speed {
        return simulate::speed(args, &interrupt);
    }
    if args.trace {
        return simulate::trace(args);
    }
    simulate::campaign(args, &interrupt)
}
