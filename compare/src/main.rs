//! `compare`: Larder measured beside other caches.
//!
//! Six subcommands, each with a readable table or, with `--json`, exactly one JSON array of rows on standard
//! output: `l1` (the cost of a hit), `load` (coalescing, the cost of a load, the cost of an invalidation),
//! `race` (does an invalidation survive a load that is still running), `redis` (the cost of a hit in the second
//! tier), `postgres` (what the outbox costs, and how soon nodes follow) and `race-nodes` (what becomes of an invalidation between two nodes). Progress and remarks go to standard error.
//! Nothing here is a library; nothing in Larder may depend on it.

mod l1;
mod load;
mod nodes;
mod output;
mod postgres;
mod race;
mod redis;
mod sample;
mod stats;

use clap::{Args, Parser, Subcommand};

/// What every adapter reports: a message for the person at the terminal, with its cause inside.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Larder beside other caches", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The cost of a hit in memory, one and two threads, 10 k and 1 M entries.
    L1 {
        #[command(flatten)]
        options: Options,
        /// Measure only engines whose name begins with this; without quick_cache no goals are checked.
        #[arg(long, value_name = "PREFIX", default_value = "")]
        engine: String,
        /// Count the time the threads were on a processor instead of wall time: for a look on a busy machine.
        #[arg(long)]
        cpu_time: bool,
        /// Begin each lookup only when the one before has answered, so that none overlap.
        #[arg(long)]
        chained: bool,
        /// Measure only this kind of key: u64, text or segments.
        #[arg(long, value_name = "KIND", default_value = "")]
        key: String,
        /// Measure only caches of this many entries.
        #[arg(long, value_name = "COUNT")]
        entries: Option<u32>,
    },
    /// One load for a thousand readers, the cost of a load, the cost of an invalidation.
    Load(Options),
    /// How often an invalidation is undone by a load that was running.
    Race(Options),
    /// What a hit in the second tier costs, and an invalidation, on a private Redis server.
    Redis {
        #[command(flatten)]
        options: Options,
        /// Measure only what begins with one of these: get, batch, stampede, invalidate, usual, propagation, records.
        #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// What the outbox adds to a transaction, how soon five nodes follow, and at what price, on a private Postgres.
    Postgres {
        #[command(flatten)]
        options: Options,
        /// Measure only what begins with one of these: insert, clients, fresh, stream, idle, hit.
        #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Two nodes on one Redis: invalidations while a node loads, is cut off, or Redis dies; reads without Redis.
    RaceNodes(Options),
}

/// What the subcommands share.
#[derive(Args, Clone, Copy)]
struct Options {
    /// Print exactly one JSON array of rows on standard output.
    #[arg(long)]
    json: bool,
    /// A short run, for a first look; its figures are noisier.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<(), Failure> {
    match Cli::parse().command {
        Command::L1 { options, engine, cpu_time, chained, key, entries } => {
            let time = if cpu_time { l1::Time::Processor } else { l1::Time::Wall };
            let pace = if chained { l1::Pace::Chained } else { l1::Pace::BackToBack };
            l1::run(options, &l1::Only { engine, key, entries }, l1::How { time, pace })
        }
        Command::Load(options) => load::run(options),
        Command::Race(options) => race::run(options),
        Command::Redis { options, only } => redis::run(options, only),
        Command::Postgres { options, only } => postgres::run(options, &only),
        Command::RaceNodes(options) => nodes::run(options),
    }
}
