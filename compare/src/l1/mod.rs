//! `l1`: what a hit costs. Raw `get` of quick_cache, foyer and moka, and Larder's public `get`, side by side.
//!
//! A cell is (entries, key, threads); engines of a cell exist at the same time and are measured in interleaved
//! rounds over the same random order (`measure`). Only this module decides which cells there are.

mod engine;
mod floor;
mod goals;
mod larder;
mod measure;
mod peers;

pub(crate) use engine::Pace;
pub(crate) use measure::Time;

use self::larder::Larder;
use crate::output::{print, print_json, print_table, progress};
use crate::sample::text_key;
use crate::stats::rounded;
use crate::{Failure, Options};
use engine::{Engine, KeyKind};
use floor::Floor;
use measure::Effort;
use peers::{Foyer, Moka, QuickCache};
use serde::Serialize;
use std::sync::Arc;
use tokio::runtime::Handle;

/// One figure, as `--json` prints it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Row {
    engine: &'static str,
    threads: usize,
    entries: u32,
    key: &'static str,
    ns_per_op: f64,
}

/// How to measure.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Which time is counted.
    pub(crate) time: Time,
    /// How a lookup follows the one before.
    pub(crate) pace: Pace,
}

/// What to narrow the measurement to; empty is everything.
pub(crate) struct Only {
    /// What the engine's name begins with.
    pub(crate) engine: String,
    /// What the kind of key begins with.
    pub(crate) key: String,
    /// The number of entries.
    pub(crate) entries: Option<u32>,
}

impl Only {
    fn wants(&self, engine: &dyn Engine) -> bool {
        engine.name().starts_with(&self.engine) && engine.key().word().starts_with(&self.key)
    }
}

/// Runs the measurement and prints it: of all engines at 10 k and 1 M entries, unless narrowed.
pub(crate) fn run(options: Options, only: &Only, how: How) -> Result<(), Failure> {
    // Runs what Larder does in the background: following the journal, renewing leases.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rows = Vec::new();
    let sizes = only.entries.map_or_else(|| vec![10_000, 1_000_000], |entries| vec![entries]);
    for entries in sizes {
        let effort = effort(entries, options.quick, how);
        for kind in [KeyKind::U64, KeyKind::Text] {
            progress(&format!("l1: filling {entries} entries, {} keys", kind.word()));
            let mut engines = engines(runtime.handle(), kind, entries)?;
            engines.retain(|engine| only.wants(engine.as_ref()));
            measure_cell(&engines, entries, effort, &mut rows)?;
        }
    }
    if options.json { print_json(&rows) } else { print_for_people(&rows) }
}

/// Rounds short enough that a disturbance spoils one of them, many enough that the median ignores it.
fn effort(entries: u32, quick: bool, how: How) -> Effort {
    // 10 k entries fit in a core's second-level cache, so one pass brings them back; a million do not, and
    // warming only wakes the branch predictors.
    let (rounds, lookups, warm) = match (entries, quick) {
        (..=10_000, false) => (21, 100_000, 20_000),
        (..=10_000, true) => (9, 50_000, 20_000),
        (_, false) => (15, 60_000, 10_000),
        (_, true) => (5, 20_000, 10_000),
    };
    Effort { rounds, lookups, warm, time: how.time, pace: how.pace }
}

/// Every engine of a cell, filled with the same entries under the same keys. Keys built from segments are measured
/// beside text keys, which are what the peers have for them.
fn engines(runtime: &Handle, kind: KeyKind, entries: u32) -> Result<Vec<Box<dyn Engine>>, Failure> {
    let indexes = 0..u64::from(entries);
    let (mut engines, kinds) = match kind {
        KeyKind::U64 => (peers_of(kind, indexes.collect())?, vec![kind]),
        KeyKind::Text | KeyKind::Segments => {
            let keys = indexes.map(text_key).collect();
            (peers_of(KeyKind::Text, keys)?, vec![KeyKind::Text, KeyKind::Segments])
        }
    };
    for kind in kinds {
        engines.push(Box::new(Larder::eventual(runtime, kind, entries)?));
        engines.push(Box::new(Larder::bounded(runtime, kind, entries)?));
    }
    Ok(engines)
}

fn peers_of<K: peers::PeerKey>(kind: KeyKind, keys: Arc<[K]>) -> Result<Vec<Box<dyn Engine>>, Failure> {
    Ok(vec![
        Box::new(QuickCache::filled(kind, Arc::clone(&keys))?),
        Box::new(Foyer::filled(kind, Arc::clone(&keys))),
        Box::new(Moka::filled(kind, Arc::clone(&keys))),
        Box::new(Floor::filled(kind, Arc::clone(&keys), false)?),
        Box::new(Floor::filled(kind, keys, true)?),
    ])
}

fn measure_cell(
    engines: &[Box<dyn Engine>],
    entries: u32,
    effort: Effort,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let engines: Vec<&dyn Engine> = engines.iter().map(AsRef::as_ref).collect();
    // Once over everything, not timed: memory is mapped, and nobody's first hit on an entry is measured.
    let all: Vec<u32> = (0..entries).collect();
    engines.iter().try_for_each(|engine| engine.sweep(&all, effort.pace).map(drop))?;
    for threads in [1, 2] {
        let figures = measure::rounds(&engines, entries, threads, effort)?;
        for (engine, ns) in engines.iter().zip(figures) {
            let row = Row {
                engine: engine.name(),
                threads,
                entries,
                key: engine.key().word(),
                ns_per_op: rounded(ns, 1),
            };
            progress(&format!("l1: {:<16} {threads} threads {:<8} {ns:.1} ns", row.engine, row.key));
            rows.push(row);
        }
    }
    Ok(())
}

fn print_for_people(rows: &[Row]) -> Result<(), Failure> {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.engine.to_owned(),
                row.key.to_owned(),
                row.entries.to_string(),
                row.threads.to_string(),
                format!("{:.1}", row.ns_per_op),
            ]
        })
        .collect();
    print_table(&["engine", "key", "entries", "threads", "ns/op"], 2, &lines)?;

    let verdicts = goals::check(rows);
    if verdicts.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            vec![
                verdict.row.engine.to_owned(),
                verdict.row.key.to_owned(),
                verdict.row.entries.to_string(),
                verdict.row.threads.to_string(),
                format!("{:.2}", verdict.ratio),
                format!("{:.1}", verdict.ratio_max),
                format!("{:.1}", verdict.other_peers_ns),
                if verdict.met() { "met" } else { "NOT MET" }.to_owned(),
            ]
        })
        .collect();
    print("\nGoals: at most so many times raw quick_cache, and never slower than raw foyer or moka.")?;
    print_table(
        &["engine", "key", "entries", "threads", "x quick_cache", "at most", "foyer/moka ns", "goal"],
        2,
        &lines,
    )
}
