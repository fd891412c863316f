//! The only place that prints: results on standard output, everything else on standard error.
//!
//! `main`, `bench` and `serve` call it. It never fails: whoever closed our output does not want more of it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::grouped;
use crate::workload::tally::{Live, Totals};

/// How often the display changes on a terminal, and how often a line is written elsewhere.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(3);

/// A result.
pub(crate) fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A message beside the results.
pub(crate) fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Shows how a run goes until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    task: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Starts showing a run of `length` called `name`.
    pub(crate) fn start(name: &'static str, length: Duration, live: Arc<Live>) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| bar(name, length));
        let every = if bar.is_some() { REDRAW } else { LINE };
        let task = tokio::spawn(show(name, length, live, bar.clone(), every));
        Progress { bar, task }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &'static str, length: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{prefix:>8} {bar:30.cyan} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name);
    bar
}

async fn show(
    name: &'static str,
    length: Duration,
    live: Arc<Live>,
    bar: Option<ProgressBar>,
    every: Duration,
) {
    let began = std::time::Instant::now();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks.tick().await;
    let (mut before, mut then) = (Totals::default(), began);
    loop {
        ticks.tick().await;
        let (totals, now) = (live.totals(), std::time::Instant::now());
        let text = state(&totals, &before, now.duration_since(then));
        (before, then) = (totals, now);
        let elapsed = now.duration_since(began);
        match &bar {
            Some(bar) => {
                bar.set_position(u64::try_from(elapsed.min(length).as_millis()).unwrap_or(u64::MAX));
                bar.set_message(text);
            }
            None => message(&format!("{name:>8} {:>3} of {} s: {text}", elapsed.as_secs(), length.as_secs())),
        }
    }
}

fn state(totals: &Totals, before: &Totals, passed: Duration) -> String {
    let rate = (totals.reads - before.reads) as f64 / passed.as_secs_f64().max(0.001);
    let hits = totals.hits as f64 * 100.0 / totals.reads.max(1) as f64;
    format!(
        "{} reads/s, {hits:.0} % hits, {} stale, {} booked",
        grouped(rate as u64),
        grouped(totals.stale),
        grouped(totals.booked)
    )
}
