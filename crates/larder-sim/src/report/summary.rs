//! The summary of a campaign for people.

use super::{grouped, percent};
use crate::fault::Fault;
use crate::run::Outcome;
use crate::tally::{RUNS_FOR_EVERYTHING, Tally};
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::time::Duration;

/// The longest bar of the picture.
const BAR: u64 = 40;

/// Kinds of faults beside each other.
const FAULT_COLUMNS: usize = 3;

/// How far a campaign has come, in a few words.
pub(crate) fn progress(tally: &Tally) -> String {
    format!(
        "{} failed, {} simulated, {} reads, {:.0} simulated s/s",
        tally.failed.len(),
        length(tally.simulated),
        grouped(tally.witnessed.reads),
        tally.simulated.as_secs_f64() / tally.took.as_secs_f64().max(1e-9),
    )
}

/// What happened, in three pictures.
pub(crate) fn table(tally: &Tally) -> String {
    format!("{}\n{}\n{}", totals(tally), faults(tally), staleness(tally))
}

fn totals(tally: &Tally) -> Table {
    let seen = &tally.witnessed;
    let share = |part| percent(part, seen.reads);
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let rows = [
        (
            "runs",
            format!("{} passed, {} failed", grouped(tally.passed()), grouped(tally.failed.len() as u64)),
        ),
        ("simulated time", length(tally.simulated)),
        ("speed", format!("{:.0} simulated seconds per second and core", tally.speed())),
        ("reads", format!("{}, and {} failed", grouped(seen.reads), grouped(seen.failed_reads))),
        ("  from memory", share(seen.memory_hits)),
        ("  from the store", share(seen.store_hits)),
        ("  from a flight", share(seen.followed)),
        ("  by a loader", share(seen.loads)),
        ("  of absent rows", share(seen.absent)),
        ("  while revalidated", share(seen.revalidating)),
        ("  as a fallback", share(seen.fallbacks)),
        ("  older, within the level", share(seen.stale_within_bound)),
        ("  too old, excused by a lost record", share(seen.excused)),
        (
            "writes",
            format!("{}, and {} failed or unknown", grouped(seen.writes), grouped(seen.failed_writes)),
        ),
    ];
    for (name, value) in rows {
        table.add_row([Cell::new(name), Cell::new(value).set_alignment(CellAlignment::Right)]);
    }
    table
}

fn faults(tally: &Tally) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header((0..FAULT_COLUMNS).flat_map(|_| ["fault", "struck"]));
    let rows = Fault::ALL.len().div_ceil(FAULT_COLUMNS);
    for row in 0..rows {
        let cells = (0..FAULT_COLUMNS).filter_map(|column| Fault::ALL.get(column * rows + row));
        table.add_row(cells.flat_map(|fault| {
            let times = tally.times(*fault);
            let times = if times == 0 { "NEVER".to_owned() } else { grouped(times) };
            [Cell::new(fault.name()), Cell::new(times).set_alignment(CellAlignment::Right)]
        }));
    }
    table
}

/// How old the values were that were not the newest, as bars.
fn staleness(tally: &Tally) -> String {
    let most = tally.witnessed.staleness_ms.values().copied().max().unwrap_or(0);
    let mut text = "age of values that were not the newest, when their reads began\n".to_owned();
    if most == 0 {
        text.push_str("  none was seen\n");
    }
    for (ms, times) in &tally.witnessed.staleness_ms {
        let bar = "█".repeat(usize::try_from((times * BAR).div_ceil(most)).unwrap_or(0));
        text.push_str(&format!("  up to {:>9}  {bar} {}\n", age(*ms), grouped(*times)));
    }
    text
}

fn age(ms: u64) -> String {
    if ms < 10_000 { format!("{} ms", grouped(ms)) } else { format!("{} s", grouped(ms / 1000)) }
}

fn length(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 3600.0 { format!("{:.1} min", seconds / 60.0) } else { format!("{:.1} h", seconds / 3600.0) }
}

/// What the numbers mean, in plain sentences.
pub(crate) fn sentences(tally: &Tally, base: u64, never: Option<&[String]>) -> Vec<String> {
    let mut said = Vec::new();
    let last = base.wrapping_add(tally.runs.saturating_sub(1));
    said.push(match (tally.runs, tally.failed.len()) {
        (0, _) => "Nothing was run, so nothing is shown.".to_owned(),
        (1, 0) => format!("Seed {base} kept every promise."),
        (1, _) => format!("Seed {base} broke a promise."),
        (_, 0) => format!("All seeds from {base} to {last} kept every promise."),
        (runs, failed) => format!("{failed} of {runs} runs, of seeds {base} to {last}, broke a promise."),
    });
    if tally.is_interrupted {
        said.push("Stopped early, as asked.".to_owned());
    }
    match never {
        None => said.push(format!(
            "That everything happened is asked of {RUNS_FOR_EVERYTHING} runs of the full mix or more, not of these."
        )),
        Some([]) => said.push(
            "Every kind of fault struck, every tier answered, and values older than the newest were seen within the \
             bound: these runs could have failed."
                .to_owned(),
        ),
        Some(never) => {
            said.push(format!("These runs prove too little, for this never happened: {}.", never.join("; ")));
        }
    }
    said.push(format!(
        "{} simulated in {:.1} s: {:.0} simulated seconds per second, {:.0} per core.",
        length(tally.simulated),
        tally.took.as_secs_f64(),
        tally.simulated.as_secs_f64() / tally.took.as_secs_f64().max(1e-9),
        tally.speed(),
    ));
    said
}

/// The speed of one long run.
pub(crate) fn speed(outcome: &Outcome) -> String {
    let (simulated, took) = (outcome.simulated.as_secs_f64(), outcome.took.as_secs_f64());
    format!(
        "{} nodes at {} operations a simulated second: {simulated:.0} simulated seconds in {took:.1} s on one core, \
         {:.1} to 1 ({} reads, {} steps).",
        outcome.options.nodes,
        grouped(outcome.options.ops_per_s),
        simulated / took.max(1e-9),
        grouped(outcome.witnessed.reads),
        grouped(outcome.steps),
    )
}
