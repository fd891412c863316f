//! The command line: what was typed, and the bounds of each value.
//!
//! Only `main` uses it. It does no work and opens nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

use crate::cached::CacheMode;

/// An appointment service on Larder.
///
/// Without a subcommand: replays a history of bookings through the service with concurrent users, once without a
/// cache, once with expiry only, once with Larder, and compares the three in one table.
#[derive(Clone, Debug, Parser)]
#[command(name = "booking", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the service alone, over HTTP, with its database in a file.
    Serve(ServeArgs),
}

/// Flags of the comparison.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Run only this one; all three, one after the other, when not given.
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache: Option<CacheMode>,
    /// How long each run lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Users at the same time.
    #[arg(long, value_name = "USERS", default_value_t = 32, value_parser = value_parser!(u64).range(1..=10_000))]
    pub(crate) users: u64,
    /// The same seed gives the same history and the same users.
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Print one JSON object on standard output instead of a table; progress goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// This many nodes on one database, each with a cache and connections of its own; users are spread over them.
    #[arg(long, value_name = "NODES", default_value_t = 1, value_parser = value_parser!(u64).range(1..=64))]
    pub(crate) nodes: u64,
    /// The second tier is this Redis or Valkey, shared by all nodes: a URL; or `spawn` for a private server that is gone
    /// afterwards, `spawn-sentinel` for a master with a replica and three Sentinels, `spawn-cluster` for three shards.
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<RedisServer>,
    /// The appointment book and the journal are on this Postgres, in a database of their own that is gone afterwards: a URL
    /// whose user may make databases; or `spawn` for a private server. Without --redis there is no second tier then: memory, and the database.
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<PostgresServer>,
    /// Break the spawned servers, and the ways to them, in one way after another while the runs go on.
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Replay this file, the public "Hotel booking demand" CSV, instead of a generated history.
    #[arg(long, value_name = "FILE")]
    pub(crate) bookings: Option<PathBuf>,
}

/// Which server the second tier is on. Not to be printed: a URL may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RedisServer {
    /// One of our own, or several.
    Spawn(larder_rig::Kind),
    /// Somebody's.
    Url(String),
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RedisServer::Spawn(kind) => f.debug_tuple("Spawn").field(kind).finish(),
            RedisServer::Url(_) => f.write_str("Url(..)"),
        }
    }
}

impl std::str::FromStr for RedisServer {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<RedisServer, Self::Err> {
        Ok(match text {
            "spawn" => RedisServer::Spawn(larder_rig::Kind::Alone),
            "spawn-sentinel" => RedisServer::Spawn(larder_rig::Kind::Sentinel),
            "spawn-cluster" => RedisServer::Spawn(larder_rig::Kind::Cluster),
            url => RedisServer::Url(url.to_owned()),
        })
    }
}

/// Which server the book is on. Not to be printed: a URL may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PostgresServer {
    /// One of our own.
    Spawn,
    /// Somebody's.
    Url(String),
}

impl std::fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == PostgresServer::Spawn { "Spawn" } else { "Url(..)" })
    }
}

impl std::str::FromStr for PostgresServer {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<PostgresServer, Self::Err> {
        Ok(match text {
            "spawn" => PostgresServer::Spawn,
            url => PostgresServer::Url(url.to_owned()),
        })
    }
}

/// Flags of the service.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// The port to listen on; 0 lets the system choose.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) address: std::net::IpAddr,
    /// The database file; created, with two demo companies, when absent. The cache's second tier stands beside it.
    #[arg(long, value_name = "FILE", default_value = "booking.db")]
    pub(crate) database: PathBuf,
    /// Which cache stands between the service and its database.
    #[arg(long, value_name = "CACHE", default_value = "larder")]
    pub(crate) cache: CacheMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(args: &[&str]) -> String {
        Cli::try_parse_from([&["booking"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_field_value_and_bounds() {
        for (args, parts) in [
            (["--seconds", "0"], ["'0'", "--seconds", "1..=3600"]),
            (["--users", "10001"], ["'10001'", "--users", "1..=10000"]),
            (["--users", "many"], ["'many'", "--users", "invalid digit"]),
            (["--seed", "-1"], ["'-1'", "", ""]),
            (["--cache", "redis"], ["'redis'", "--cache", "none, ttl, larder"]),
        ] {
            let text = refusal(&args);
            assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
        }
    }

    #[test]
    fn flags_of_the_comparison_do_not_mix_with_serve() {
        assert!(
            refusal(&["--json", "serve"]).contains("cannot be used with"),
            "{}",
            refusal(&["--json", "serve"])
        );
        let cli = Cli::try_parse_from(["booking", "serve", "--port", "0"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(serve)) if serve.port == 0));
    }
}
