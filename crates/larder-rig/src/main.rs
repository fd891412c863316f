//! The rig's program: `matrix` sets faults going under real nodes and judges every read; `node` is one of those nodes, and
//! is started by it.

mod matrix;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

/// Real servers, real processes, and what fails between them.
#[derive(Debug, Parser)]
#[command(name = "larder-rig")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Breaks a server, a network or a node in each way it knows, while nodes read and write, and says what it did to the
    /// readers.
    Matrix(matrix::Args),
    /// One node of the matrix: obeys lines on standard input.
    #[command(hide = true)]
    Node(matrix::node::Args),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Matrix(args) => matrix::run(&args).map(|shown| {
            // Whoever closed our output does not want more of it.
            let _ = writeln!(std::io::stdout(), "{}", shown.text);
            shown.well
        }),
        Command::Node(args) => matrix::node::run(&args).map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "larder-rig: {error}");
            ExitCode::FAILURE
        }
    }
}
