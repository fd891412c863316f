//! `load`: what happens on a miss and on an invalidation.
//!
//! Three measures: `stampede` (runs of the loader when a thousand tasks ask for one cold key), `cold` (what
//! get-or-load adds to the loader) and `invalidate` (what a tag, a prefix or a pattern costs, by the number of
//! entries under it; Larder only, no peer has these).

mod cold;
mod engine;
mod goals;
mod invalidate;
mod larder;
mod stampede;

use self::larder::{By, Larder};
use crate::output::{print, print_json, print_table, progress};
use crate::stats::rounded;
use crate::{Failure, Options};
use cold::{Cold, Effort};
use engine::{Foyer, Loading, Moka, QuickCache};
use serde::Serialize;
use std::sync::Arc;

/// One figure, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
pub(crate) enum Row {
    /// Runs of the loader for one cold key; the most over all rounds.
    Stampede { engine: &'static str, tasks: u32, rounds: u64, loader_runs: u32 },
    /// Nanoseconds added to the loader by loading through the cache; the median over rounds.
    Cold { engine: &'static str, keys: u64, loader_ns: f64, added_ns: f64 },
    /// Nanoseconds to invalidate what `by` names, with so many entries under it: the median over turns, and over
    /// those that found all these entries alive.
    Invalidate { engine: &'static str, by: &'static str, entries: u64, ns_per_op: f64, first_ns: f64 },
}

/// Measures and prints everything.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // In a task, where a service's handlers run, and not on the thread that blocks on it.
    let rows = runtime.block_on(runtime.spawn(all(options.quick)))??;
    if options.json { print_json(&rows) } else { print_for_people(&rows) }
}

async fn all(quick: bool) -> Result<Vec<Row>, Failure> {
    let effort = if quick { Effort { rounds: 30, keys: 500 } } else { Effort { rounds: 200, keys: 1000 } };
    let stampedes = if quick { 5 } else { 50 };
    let moka = Arc::new(Moka::with_room_for(effort.room()));
    let foyer = Arc::new(Foyer::with_room_for(effort.room()));
    let quick_cache = Arc::new(QuickCache::with_room_for(effort.room()));
    let larder = Arc::new(Larder::with_room_for(effort.room()).await?);

    let mut rows = vec![
        stampede(&moka, stampedes).await?,
        stampede(&foyer, stampedes).await?,
        stampede(&quick_cache, stampedes).await?,
        stampede(&larder, stampedes).await?,
    ];

    progress("load: distinct cold keys");
    let engines: [&dyn Cold; 4] = [moka.as_ref(), foyer.as_ref(), quick_cache.as_ref(), larder.as_ref()];
    let loader_ns = cold::direct(effort).await?;
    let figures = cold::through(&engines, effort).await?;
    for (engine, whole) in engines.into_iter().zip(figures) {
        rows.push(Row::Cold {
            engine: engine.name(),
            keys: effort.rounds * effort.keys,
            loader_ns: rounded(loader_ns, 1),
            added_ns: rounded(whole - loader_ns, 1),
        });
    }
    invalidations(quick, &mut rows).await?;
    Ok(rows)
}

async fn invalidations(quick: bool, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let many = if quick { 100_000 } else { 1_000_000 };
    let fills = if quick { 1 } else { 3 };
    let effort = invalidate::Effort { fills, turns: 500, entries: [10, many] };
    for by in [By::Tag, By::Prefix, By::Pattern] {
        progress(&format!("load: invalidating a {} with 10 and with {many} entries under it", by.word()));
        let larder = Larder::with_room_for(many * 2).await?;
        let figures = invalidate::cost(&larder, by, effort).await?;
        for (entries, cost) in effort.entries.into_iter().zip(figures) {
            let (engine, by) = (Loading::name(&larder), by.word());
            let (ns_per_op, first_ns) = (rounded(cost.ns, 0), rounded(cost.first_ns, 0));
            rows.push(Row::Invalidate { engine, by, entries, ns_per_op, first_ns });
        }
    }
    Ok(())
}

/// Keys of stampedes lie far above those of cold loads.
const STAMPEDE_KEYS: u64 = 1 << 40;

async fn stampede<E: Loading>(engine: &Arc<E>, rounds: u64) -> Result<Row, Failure> {
    progress(&format!("load: stampede on {}", engine.name()));
    let mut most = 0;
    for round in 0..rounds {
        most = most.max(stampede::loader_runs(engine, STAMPEDE_KEYS + round).await?);
    }
    Ok(Row::Stampede { engine: engine.name(), tasks: stampede::TASKS, rounds, loader_runs: most })
}

fn print_for_people(rows: &[Row]) -> Result<(), Failure> {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| match row {
            Row::Stampede { engine, tasks, loader_runs, .. } => vec![
                "stampede".to_owned(),
                (*engine).to_owned(),
                format!("{tasks} tasks, one cold key"),
                format!("{loader_runs} loader runs at most"),
            ],
            Row::Cold { engine, keys, added_ns, .. } => vec![
                "cold".to_owned(),
                (*engine).to_owned(),
                format!("{keys} distinct cold keys"),
                format!("{added_ns:.0} ns added to each load"),
            ],
            Row::Invalidate { engine, by, entries, ns_per_op, first_ns } => vec![
                "invalidate".to_owned(),
                (*engine).to_owned(),
                format!("a {by} with {entries} entries under it"),
                format!("{ns_per_op:.0} ns (the first {first_ns:.0})"),
            ],
        })
        .collect();
    print_table(&["measure", "engine", "what", "result"], 3, &lines)?;
    print("\nGoals:")?;
    for verdict in goals::check(rows) {
        print(&format!("- {}: {}", verdict.what, if verdict.met { "met" } else { "NOT MET" }))?;
    }
    Ok(())
}
