//! The command `larder-sim`: simulate, hunt seeded bugs, check the model. Never published.

mod app;
mod fake;
mod fault;
mod faults;
mod model;
mod node;
mod options;
mod oracle;
mod run;
mod sched;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let n: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let from: u64 = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in from..from + n {
        let outcome = run::run(&options::Options::drawn(seed), std::env::var("T").is_ok());
        for l in &outcome.trace {
            println!("{l}");
        }
        println!(
            "{seed} {:?} {:?} steps {} fp {:x} {:?}",
            outcome.took, outcome.simulated, outcome.steps, outcome.fingerprint, outcome.witnessed
        );
        for v in &outcome.violations {
            println!("   {v:?}");
        }
    }
    ExitCode::SUCCESS
}
