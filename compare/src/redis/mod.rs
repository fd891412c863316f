//! `redis`: what a hit in the second tier costs, beside the raw client's GET and MGET on the same server.
//!
//! Three engines read the same stored bytes: `redis-rs` (the client alone, one multiplexed connection, no Nagle),
//! `larder-store` (the adapter: deadlines, supervision, layout) and `larder` (a region whose memory has none of the keys:
//! envelope, checksum, decoding, the rule, promotion into memory). They take turns in rounds on one private server.

mod engine;
mod goals;
mod journal;
mod stampede;
mod turn;

use crate::output::{print, print_json, print_table, progress};
use crate::stats::{median, rounded};
use crate::{Failure, Options};
use engine::{Larder, Reads, Store, fill};
use larder_rig::{Flavour, Server};
use serde::Serialize;
use std::sync::Arc;
use turn::{Turn, play};

/// Keys of one `get_many`.
const BATCH: usize = 100;

/// One figure, as `--json` prints it: medians over rounds.
#[derive(Debug, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
enum Row {
    /// Reads of one key.
    Get { server: String, engine: &'static str, tasks: usize, per_s: f64, p50_us: f64, p99_us: f64 },
    /// Reads of a hundred keys at once.
    Batch {
        server: String,
        engine: &'static str,
        keys: usize,
        tasks: usize,
        keys_per_s: f64,
        p50_us: f64,
        p99_us: f64,
    },
    /// Loads of one cold key that many readers on several nodes ask for at once; `served_ms` from the moment the loader
    /// is let go until the last reader has its value.
    Stampede {
        server: String,
        engine: &'static str,
        nodes: usize,
        readers: usize,
        rounds: usize,
        loads_most: u32,
        loads_mean: f64,
        served_ms: f64,
    },
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    keys: usize,
    journal: journal::Effort,
}

/// Which measures; all of them when none is named.
#[derive(Clone)]
struct Only(Vec<String>);

impl Only {
    fn has(&self, measure: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| measure.starts_with(prefix))
    }
}

/// Measures and prints everything.
pub(crate) fn run(options: Options, only: Vec<String>) -> Result<(), Failure> {
    let only = Only(only);
    let effort = if options.quick {
        let journal = journal::Effort { calls: 1_000, seconds: 2, scanned: 100_000 };
        Effort { rounds: 3, keys: 6_400, journal }
    } else {
        let journal = journal::Effort { calls: 5_000, seconds: 10, scanned: 1_000_000 };
        Effort { rounds: 11, keys: 64_000, journal }
    };
    let Some(flavour) = Flavour::installed().into_iter().next() else {
        return Err(format!("no server to measure on: {}", Flavour::Redis7.remedy()).into());
    };
    let server = Server::start(flavour)?;
    let name = format!("redis-server {}", server.info("redis_version")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let url = server.url();
    // In a task, where a service's handlers run, and not on the thread that blocks on it.
    let (of_journal, place, of_reads) = (effort.journal, url.clone(), only.clone());
    let rows =
        runtime.block_on(runtime.spawn(async move { all(&url, &name, effort, &of_reads).await }))??;
    let said =
        runtime.block_on(runtime.spawn(async move { journal::all(&place, of_journal, &only).await }))??;
    if options.json {
        let mut values = Vec::with_capacity(rows.len() + said.len());
        for row in &rows {
            values.push(serde_json::to_value(row)?);
        }
        for row in &said {
            values.push(serde_json::to_value(row)?);
        }
        return print_json(&values);
    }
    print_for_people(&rows)?;
    print_table(&["what", "engine", "p50 us", "p99 us", ""], 2, &journal::lines(&said))?;
    for (what, met) in journal::goals(&said) {
        print(&format!("- {what}: {}", if met { "met" } else { "NOT MET" }))?;
    }
    Ok(())
}

async fn all(url: &str, server: &str, effort: Effort, only: &Only) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    if only.has("get") || only.has("batch") {
        progress(&format!("redis: {} entries into {server}", effort.keys));
        let stage = fill(url, effort.keys).await?;
        let raw = Arc::new(stage.raw().await?);
        let store = Arc::new(stage.store().await?);
        for tasks in [1, 64].into_iter().filter(|_| only.has("get")) {
            progress(&format!("redis: one key at a time, {tasks} at once"));
            // One at a time takes long: a part of the keys will do.
            let keys = if tasks == 1 { effort.keys / 8 } else { effort.keys };
            for (engine, turns) in
                in_turns(effort.rounds, &raw, &store, &stage, Turn { tasks, keys, batch: 1 }).await?
            {
                rows.push(Row::Get {
                    server: server.to_owned(),
                    engine,
                    tasks,
                    per_s: rounded(turns.per_s, 0),
                    p50_us: rounded(turns.p50_us, 1),
                    p99_us: rounded(turns.p99_us, 1),
                });
            }
        }
        for tasks in [1, 8].into_iter().filter(|_| only.has("batch")) {
            progress(&format!("redis: {BATCH} keys at a time, {tasks} at once"));
            let turn = Turn { tasks, keys: effort.keys, batch: BATCH };
            for (engine, turns) in in_turns(effort.rounds, &raw, &store, &stage, turn).await? {
                rows.push(Row::Batch {
                    server: server.to_owned(),
                    engine,
                    keys: BATCH,
                    tasks,
                    keys_per_s: rounded(turns.per_s, 0),
                    p50_us: rounded(turns.p50_us, 1),
                    p99_us: rounded(turns.p99_us, 1),
                });
            }
        }
    }
    if only.has("stampede") {
        progress("redis: one cold key on five nodes");
        rows.push(stampede::measure(url, server, effort.rounds * 2).await?);
    }
    Ok(rows)
}

/// Medians over the rounds of one engine.
struct Figures {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Each round every engine takes a turn, and another goes first.
async fn in_turns(
    rounds: usize,
    raw: &Arc<engine::Raw>,
    store: &Arc<Store>,
    stage: &engine::Stage,
    turn: Turn,
) -> Result<Vec<(&'static str, Figures)>, Failure> {
    let mut played: Vec<(&'static str, Vec<turn::Played>)> =
        vec![(raw.name(), Vec::new()), (store.name(), Vec::new()), (Larder::NAME, Vec::new())];
    for round in 0..=rounds {
        for place in 0..played.len() {
            let at = (round + place) % played.len();
            let result = match at {
                0 => play(raw, turn).await?,
                1 => play(store, turn).await?,
                // A new one each time: what was read once is in memory.
                _ => play(&Arc::new(stage.larder().await?), turn).await?,
            };
            // The first round warms up.
            if round > 0 {
                played[at].1.push(result);
            }
        }
    }
    let figures = played.into_iter().map(|(name, turns)| {
        let of = |figure: fn(&turn::Played) -> f64| {
            median(&turns.iter().map(figure).collect::<Vec<_>>()).ok_or("no rounds were played")
        };
        let (per_s, p50_us, p99_us) = (of(|t| t.per_s)?, of(|t| t.p50_us)?, of(|t| t.p99_us)?);
        Ok((name, Figures { per_s, p50_us, p99_us }))
    });
    figures.collect()
}

fn print_for_people(rows: &[Row]) -> Result<(), Failure> {
    let lines: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let (what, engine, rate, p50, p99) = match row {
                Row::Stampede { .. } => return None,
                Row::Get { engine, tasks, per_s, p50_us, p99_us, .. } => {
                    (format!("get, {tasks} at once"), engine, per_s, p50_us, p99_us)
                }
                Row::Batch { engine, keys, tasks, keys_per_s, p50_us, p99_us, .. } => {
                    (format!("{keys} keys a time, {tasks} at once"), engine, keys_per_s, p50_us, p99_us)
                }
            };
            let figures = [format!("{rate:.0}"), format!("{p50:.1}"), format!("{p99:.1}")];
            Some([what, (*engine).to_owned()].into_iter().chain(figures).collect())
        })
        .collect();
    print_table(&["what", "engine", "keys/s", "p50 us", "p99 us"], 2, &lines)?;
    for row in rows {
        if let Row::Stampede { nodes, readers, rounds, loads_mean, loads_most, served_ms, .. } = row {
            print(&format!(
                "{readers} readers of a cold key on each of {nodes} nodes, {rounds} rounds: {loads_mean} loads, {loads_most} at \
                 most; everybody served {served_ms} ms after the load."
            ))?;
        }
    }
    print("\nGoals:")?;
    for verdict in goals::check(rows) {
        print(&format!("- {}: {}", verdict.what, if verdict.met { "met" } else { "NOT MET" }))?;
    }
    Ok(())
}
