//! The command `larder-sim`: simulate, hunt seeded bugs, check the model. Never published.

mod model;

use std::process::ExitCode;

fn main() -> ExitCode {
    model::run()
}
