//! The comparison: the same history and the same users against each cache, one after the other.
//!
//! `main` calls it. Each run has a database of its own in a temporary directory that is gone afterwards.

mod servers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::args::{BenchArgs, PostgresServer, RedisServer};
use crate::cached::CacheMode;
use crate::chaos::Chaos;
use crate::console::{self, Progress};
use crate::db::OriginCounts;
use crate::error::ServiceError;
use crate::history::hotel_csv::{self, ImportError};
use crate::history::{History, generate};
use crate::report::{self, Report, RunReport, Together};
use crate::service::{BookingService, ServiceConfig};
use crate::signals::asked_to_stop;
use crate::under_way::UnderWay;
use crate::workload::plan::Plan;
use crate::workload::tally::Live;
use crate::workload::{self, Measured, Pace, Stop};
use servers::Servers;

/// Bookings a second in a generated history.
const BOOKINGS_PER_SECOND: u64 = 250;
/// Connections of a node that read: a few more than this program is likely to have cores.
const CONNECTIONS: usize = 4;

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("the run with cache {cache}: {source}")]
    Run { cache: &'static str, source: ServiceError },
    #[error("no temporary directory: {0}")]
    Directory(std::io::Error),
    #[error("no server can be spawned: {0}; or name a running one with --redis URL")]
    SpawnRedis(larder_rig::Error),
    #[error(
        "no server can be spawned: {0}; or install it (apt-get install postgresql), or name a running one with \
         --postgres URL"
    )]
    SpawnPostgres(larder_rig::Error),
    #[error("no database on Postgres: {0}")]
    Database(ServiceError),
    #[error(
        "--chaos breaks the servers it runs on: it needs its own, with --redis spawn, --postgres spawn or both"
    )]
    ChaosElsewhere,
    #[error("faults could not be injected: {0}")]
    Chaos(larder_rig::Error),
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
    let pace = Pace {
        length: Duration::from_secs(args.seconds),
        users,
        seed: args.seed,
        // A Redis that is away costs the second tier; a database that is away, everything that is not kept.
        bears_outages: args.chaos && args.postgres.is_some(),
    };
    if args.chaos && !breaks_only_its_own(&args) {
        return Err(BenchError::ChaosElsewhere);
    }
    let mut runs = Vec::new();
    for mode in modes {
        if stop.is_set() {
            console::message(&format!("stopped before the run with cache {}", mode.name()));
            break;
        }
        let (run, steps_left) = one(mode, &args, &history, pace, &stop).await?;
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

fn breaks_only_its_own(args: &BenchArgs) -> bool {
    let is_somebodys = matches!(args.redis, Some(RedisServer::Url(_)))
        || matches!(args.postgres, Some(PostgresServer::Url(_)));
    (args.redis.is_some() || args.postgres.is_some()) && !is_somebodys
}

fn announce(args: &BenchArgs, history: &History, runs: usize) {
    console::message(&format!(
        "{} bookings in {} steps ({}) on {}, {} users on {}, {runs} runs of {} s, seed {}",
        report::grouped(history.bookings.len() as u64),
        report::grouped(history.events.len() as u64),
        history.source,
        if args.postgres.is_some() { "Postgres" } else { "SQLite" },
        args.users,
        if args.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", args.nodes) },
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

/// One run on a fresh database, and on fresh servers if they are ours; also returns the steps left undone.
async fn one(
    mode: CacheMode,
    args: &BenchArgs,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, usize), BenchError> {
    let directory = tempfile::Builder::new().prefix("booking-").tempdir().map_err(BenchError::Directory)?;
    let servers = Servers::of(args).await?;
    let measured = measure(mode, args, directory.path(), &servers, history, pace, stop).await;
    servers.end().await.map_err(BenchError::Database)?;
    let (report, measured) = measured?;
    directory.close().map_err(BenchError::Directory)?;
    Ok((report, measured.steps_left))
}

/// The run itself, with its files in `directory`.
async fn measure(
    mode: CacheMode,
    args: &BenchArgs,
    directory: &Path,
    servers: &Servers,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, Measured), BenchError> {
    let failed = |source| BenchError::Run { cache: mode.name(), source };
    let under_way = UnderWay::default();
    let mut nodes = Vec::new();
    for node in 0..usize::try_from(args.nodes).unwrap_or(1) {
        let config = ServiceConfig {
            database: servers.database(directory),
            second: servers.second_tier(node, directory),
            cache: mode,
            connections: CONNECTIONS,
            node,
            under_way: under_way.clone(),
        };
        nodes.push(Arc::new(BookingService::open(config).await.map_err(failed)?));
    }
    let mut seeded = Vec::new();
    if let Some(first) = nodes.first() {
        let plans = Arc::new(history.companies.clone());
        seeded = first.seed_if_empty(plans).await.map_err(failed)?.unwrap_or_default();
    }
    let plan = Arc::new(Plan::new(history, &seeded));
    let live = Arc::new(Live::default());
    let chaos = if args.chaos { Some(Chaos::start(servers.harms(), args.seed)?) } else { None };
    let progress = Progress::start(mode.name(), pace.length, Arc::clone(&live));
    let measured = workload::run(&nodes, &plan, pace, &live, stop).await;
    drop(progress);
    let faults = match chaos {
        Some(chaos) => chaos.finish().await.map_err(BenchError::Chaos)?,
        None => Vec::new(),
    };
    let mut overlaps = Ok(0);
    if let Some(first) = nodes.first() {
        overlaps = first.overlaps().await;
    }
    for node in &nodes {
        node.close().await;
    }
    let measured = measured.map_err(failed)?;
    let origins: Vec<&OriginCounts> = nodes.iter().map(|node| node.origin()).collect();
    let mut report = RunReport::new(mode, &measured, &origins, overlaps.map_err(failed)?);
    if nodes.len() > 1 || servers.are_any() {
        let together = Together::new(&measured, under_way.stampedes());
        report.together = Some(Together { faults, ..together });
    }
    Ok((report, measured))
}
