//! The comparison: the same history and the same users against each cache, one after the other.
//!
//! `main` calls it. Each run has a database of its own in a temporary directory that is gone afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::args::BenchArgs;
use crate::cached::CacheMode;
use crate::console::{self, Progress};
use crate::db::Durability;
use crate::error::ServiceError;
use crate::history::hotel_csv::{self, ImportError};
use crate::history::{History, generate};
use crate::report::{self, Report, RunReport};
use crate::service::{BookingService, ServiceConfig};
use crate::signals::asked_to_stop;
use crate::workload::plan::Plan;
use crate::workload::tally::Live;
use crate::workload::{self, Measured, Pace, Stop};

/// Bookings a second in a generated history.
const BOOKINGS_PER_SECOND: u64 = 250;
/// Reading connections: a few more than this program is likely to have cores.
const READERS: usize = 4;

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("the run with cache {cache}: {source}")]
    Run { cache: &'static str, source: ServiceError },
    #[error("no temporary directory: {0}")]
    Directory(std::io::Error),
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs what was asked for and prints the report.
///
/// # Errors
/// When a file cannot be replayed or the service fails; refused bookings and stale reads are results.
pub(crate) async fn bench(args: BenchArgs) -> Result<(), BenchError> {
    let history = history(&args)?;
    let stop = stop_when_asked();
    let modes = match args.cache {
        Some(mode) => vec![mode],
        None => vec![CacheMode::None, CacheMode::Ttl, CacheMode::Larder],
    };
    announce(&args, &history, modes.len());
    let users = usize::try_from(args.users).unwrap_or(1);
    let pace = Pace { length: Duration::from_secs(args.seconds), users, seed: args.seed };
    let mut runs = Vec::new();
    for mode in modes {
        if stop.is_set() {
            console::message(&format!("stopped before the run with cache {}", mode.name()));
            break;
        }
        let (run, steps_left) = one(mode, &history, pace, &stop).await.map_err(|error| match error {
            RunError::Directory(error) => BenchError::Directory(error),
            RunError::Service(source) => BenchError::Run { cache: mode.name(), source },
        })?;
        if steps_left > 0 {
            let why = if stop.is_set() { "stopped" } else { "the time was up" };
            let all = history.events.len();
            console::message(&format!(
                "cache {}: {why} with {steps_left} of {all} steps of the history left",
                mode.name()
            ));
        }
        runs.push(run);
    }
    let report = Report { runs, seed: args.seed, source: history.source.clone() };
    print(&args, &report)
}

fn history(args: &BenchArgs) -> Result<History, ImportError> {
    let Some(path) = &args.bookings else {
        let bookings = usize::try_from(args.seconds * BOOKINGS_PER_SECOND).unwrap_or(usize::MAX);
        return Ok(generate::generate(args.seed, bookings));
    };
    let imported = hotel_csv::import(path)?;
    for row in &imported.malformed {
        console::message(&format!("{}, line {}: {}; skipped", path.display(), row.line, row.reason));
    }
    if imported.malformed_total > 0 {
        let shown = imported.malformed.len();
        console::message(&format!(
            "{} malformed rows skipped, the first {shown} shown",
            imported.malformed_total
        ));
    }
    Ok(imported.history)
}

fn announce(args: &BenchArgs, history: &History, runs: usize) {
    console::message(&format!(
        "{} bookings in {} steps ({}), {} users, {runs} runs of {} s, seed {}",
        report::grouped(history.bookings.len() as u64),
        report::grouped(history.events.len() as u64),
        history.source,
        args.users,
        args.seconds,
        args.seed,
    ));
}

fn print(args: &BenchArgs, report: &Report) -> Result<(), BenchError> {
    if args.json {
        console::result(&serde_json::to_string(report)?);
    } else if !report.runs.is_empty() {
        console::result(&report::table(&report.runs));
        for sentence in report::sentences(&report.runs) {
            console::result(&sentence);
        }
    }
    Ok(())
}

fn stop_when_asked() -> Stop {
    let stop = Stop::default();
    let at_signal = stop.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        at_signal.set();
        console::message("stopping; what was measured so far follows");
    });
    stop
}

enum RunError {
    Directory(std::io::Error),
    Service(ServiceError),
}

/// One run on a fresh database; also returns the steps left undone.
async fn one(
    mode: CacheMode,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, usize), RunError> {
    let directory = tempfile::Builder::new().prefix("booking-").tempdir().map_err(RunError::Directory)?;
    let measured = measure(mode, directory.path(), history, pace, stop).await;
    let (report, measured) = measured.map_err(RunError::Service)?;
    directory.close().map_err(RunError::Directory)?;
    Ok((report, measured.steps_left))
}

/// The run itself, with its files in `directory`.
pub(crate) async fn measure(
    mode: CacheMode,
    directory: &Path,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, Measured), ServiceError> {
    let config = ServiceConfig {
        database: directory.join("app.db"),
        store: directory.join("cache.db"),
        cache: mode,
        durability: Durability::Process,
        readers: READERS,
    };
    let service = Arc::new(BookingService::open(config).await?);
    let seeded = service.seed_if_empty(Arc::new(history.companies.clone())).await?.unwrap_or_default();
    let plan = Arc::new(Plan::new(history, &seeded));
    let live = Arc::new(Live::default());
    let progress = Progress::start(mode.name(), pace.length, Arc::clone(&live));
    let measured = workload::run(&service, &plan, pace, &live, stop).await;
    drop(progress);
    let overlaps = service.overlaps().await;
    service.close().await;
    let measured = measured?;
    Ok((RunReport::new(mode, &measured, service.origin(), overlaps?), measured))
}
