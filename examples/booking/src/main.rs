//! Booking: an appointment service on Larder, and the load generator that shows what the cache is worth.
//!
//! From the ground: `time` and `domain` (words), `db` (the book), `cached` (the seam to the cache), `service` (what is
//! offered); on top of it `http` for `serve`, and `history`, `workload`, `chaos`, `report` for `bench`. Only `console` prints.

mod args;
mod bench;
mod cached;
mod chaos;
mod console;
mod db;
mod domain;
mod error;
mod history;
mod http;
mod report;
mod service;
mod signals;
#[cfg(test)]
mod testing;
mod time;
mod under_way;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    let outcome = match cli.command {
        Some(Command::Serve(args)) => runtime.block_on(http::serve(args)).map_err(|error| error.to_string()),
        None => runtime.block_on(bench::bench(cli.bench)).map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    console::message(&format!("booking: {error}"));
    ExitCode::FAILURE
}
