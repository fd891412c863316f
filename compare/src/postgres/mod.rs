//! `postgres`: what the outbox adds to a transaction, how soon every node is fresh after a commit, how many invalidating
//! transactions a second are kept up with, what an idle node asks, and whether a hit in memory still costs what it did:
//! beside the bare transaction, a NOTIFY hop and a cache without a journal, on the same private server in the same run.
//!
//! Commits are durable (`fsync = on`), as a service has them. All nodes are in one process, each on connections of its own.

mod goals;
mod nodes;
mod transactions;

use crate::output::{print, print_json, print_table, progress};
use crate::stats::rounded;
use crate::{Failure, Options};
use larder_rig::Postgres;
use serde::Serialize;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

const NAMESPACE: &str = "compare";

/// One figure, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
enum Row {
    /// A transaction that inserts one row, by one client; `engine` says what else is in it.
    Insert { engine: &'static str, p50_us: f64, p99_us: f64 },
    /// The same, by so many clients at once: median over rounds.
    Clients { engine: &'static str, clients: usize, per_s: f64 },
    /// Until all nodes have it, from the acknowledgement of a commit; and the floor of that.
    Fresh { engine: &'static str, nodes: usize, p50_us: f64, p99_us: f64 },
    /// A steady stream of invalidating transactions.
    Stream {
        nodes: usize,
        asked_per_s: u64,
        per_s: f64,
        /// The most records that were committed and that a node had not applied, looked at every 20 ms.
        behind_max: u64,
        /// After the last commit, until all nodes had it.
        caught_up_ms: f64,
    },
    /// Questions a second of one node at Δ = 1 s with nothing to do, as the database counts them.
    Idle { per_s: f64 },
    /// A hit in memory.
    Hit { engine: &'static str, p50_ns: f64 },
}

#[derive(Clone, Copy)]
struct Effort {
    calls: usize,
    rounds: usize,
    seconds: u64,
}

/// Measures and prints everything.
pub(crate) fn run(options: Options, only: &[String]) -> Result<(), Failure> {
    if !Postgres::is_installed() {
        return Err("no Postgres to measure on: cargo xtask ci --only system unpacks one".into());
    }
    let effort = match options.quick {
        true => Effort { calls: 500, rounds: 3, seconds: 2 },
        false => Effort { calls: 4_000, rounds: 7, seconds: 10 },
    };
    let server =
        Postgres::start_with(&[("fsync", "on"), ("max_connections", "200"), ("shared_buffers", "64MB")])?;
    let url = server.url("larder", "postgres");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let only = only.to_vec();
    let rows = runtime.block_on(runtime.spawn(async move { all(&url, effort, &only).await }))??;
    if options.json {
        return print_json(&rows);
    }
    print_table(&["what", "engine", "p50", "p99", ""], 2, &rows.iter().map(line).collect::<Vec<_>>())?;
    print("\nGoals:")?;
    for (what, met) in goals::check(&rows) {
        print(&format!("- {what}: {}", if met { "met" } else { "NOT MET" }))?;
    }
    Ok(())
}

async fn all(url: &str, effort: Effort, only: &[String]) -> Result<Vec<Row>, Failure> {
    larder::postgres::migrate(url).await?;
    let is_asked =
        |measure: &str| only.is_empty() || only.iter().any(|name| measure.starts_with(name.as_str()));
    let mut rows = Vec::new();
    if is_asked("insert") || is_asked("clients") {
        transactions::prepare(url).await?;
    }
    if is_asked("insert") {
        progress("postgres: one client");
        rows.extend(transactions::alone(url, effort).await?);
    }
    if is_asked("clients") {
        progress("postgres: sixteen clients");
        rows.extend(transactions::together(url, effort).await?);
    }
    if is_asked("fresh") {
        progress("postgres: five nodes, fresh after a commit");
        rows.extend(nodes::fresh(url, effort).await?);
    }
    if is_asked("stream") {
        progress("postgres: a steady stream");
        rows.push(nodes::stream(url, effort).await?);
    }
    if is_asked("idle") {
        progress("postgres: an idle node");
        rows.push(nodes::idle(url, effort).await?);
    }
    if is_asked("hit") {
        progress("postgres: hits in memory");
        rows.extend(nodes::hits(url, effort).await?);
    }
    Ok(rows)
}

async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// In microseconds.
fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len().saturating_sub(1) as f64 * share) as usize;
    times.get(at).map_or(0.0, |time| rounded(time.as_nanos() as f64 / 1000.0, 1))
}

fn line(row: &Row) -> Vec<String> {
    let us = |value: &f64| format!("{value:.0} us");
    let (what, engine, p50, p99, more) = match row {
        Row::Insert { engine, p50_us, p99_us } => {
            ("a transaction".to_owned(), *engine, us(p50_us), us(p99_us), String::new())
        }
        Row::Clients { engine, clients, per_s } => {
            (format!("{clients} clients"), *engine, String::new(), String::new(), format!("{per_s:.0}/s"))
        }
        Row::Fresh { engine, nodes, p50_us, p99_us } => {
            (format!("{nodes} nodes fresh"), *engine, us(p50_us), us(p99_us), String::new())
        }
        Row::Stream { nodes, asked_per_s, per_s, behind_max, caught_up_ms } => (
            format!("{asked_per_s} a second, {nodes} nodes"),
            "larder",
            String::new(),
            String::new(),
            format!("{per_s:.0}/s, at most {behind_max} behind, all there after {caught_up_ms:.1} ms"),
        ),
        Row::Idle { per_s } => (
            "an idle node".to_owned(),
            "larder",
            String::new(),
            String::new(),
            format!("{per_s:.1} questions/s"),
        ),
        Row::Hit { engine, p50_ns } => {
            ("a hit in memory".to_owned(), *engine, format!("{p50_ns:.0} ns"), String::new(), String::new())
        }
    };
    vec![what, engine.to_owned(), p50, p99, more]
}
