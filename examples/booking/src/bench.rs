//! The comparison: the same history and the same users against each cache, one after the other.
//!
//! `main` calls it. Each run has a database of its own in a temporary directory that is gone afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_rig::{Flavour, Kind, Place};

use crate::args::{BenchArgs, RedisServer};
use crate::cached::{CacheMode, SecondTier};
use crate::chaos::Chaos;
use crate::console::{self, Progress};
use crate::db::{Durability, OriginCounts};
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

/// Bookings a second in a generated history.
const BOOKINGS_PER_SECOND: u64 = 250;
/// Reading connections: a few more than this program is likely to have cores.
const READERS: usize = 4;

/// On a cluster, faults hit the shard that has this key: some of the cache's, as good as any.
const KEY: &str = "{larder:booking}";

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
    Spawn(larder_rig::Error),
    #[error("--chaos breaks the server it runs on: it needs one of its own, with --redis spawn")]
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
    let pace = Pace { length: Duration::from_secs(args.seconds), users, seed: args.seed };
    if args.chaos && !matches!(args.redis, Some(RedisServer::Spawn(_))) {
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

fn announce(args: &BenchArgs, history: &History, runs: usize) {
    console::message(&format!(
        "{} bookings in {} steps ({}), {} users on {}, {runs} runs of {} s, seed {}",
        report::grouped(history.bookings.len() as u64),
        report::grouped(history.events.len() as u64),
        history.source,
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

/// One run on a fresh database, and on a fresh server if it is ours; also returns the steps left undone.
async fn one(
    mode: CacheMode,
    args: &BenchArgs,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, usize), BenchError> {
    let directory = tempfile::Builder::new().prefix("booking-").tempdir().map_err(BenchError::Directory)?;
    let nodes = usize::try_from(args.nodes).unwrap_or(1);
    let redis = Redis::of(args, nodes).map_err(BenchError::Spawn)?;
    let chaos = match &redis {
        Redis::Spawned(place) if args.chaos => {
            Some(Chaos::start(Arc::clone(place), args.seed).map_err(|error| {
                BenchError::Chaos(larder_rig::Error::new(format!("no thread for it: {error}")))
            })?)
        }
        _ => None,
    };
    let measured = measure(mode, directory.path(), nodes, &redis, history, pace, stop).await;
    let faults = match chaos {
        Some(chaos) => chaos.finish().await.map_err(BenchError::Chaos)?,
        None => Vec::new(),
    };
    let (mut report, measured) = measured.map_err(|source| BenchError::Run { cache: mode.name(), source })?;
    if let Some(together) = &mut report.together {
        together.faults = faults;
    }
    directory.close().map_err(BenchError::Directory)?;
    Ok((report, measured.steps_left))
}

/// The server of a run's second tier.
pub(crate) enum Redis {
    /// None: each node has a file.
    None,
    Somebodys(String),
    /// Ended on drop.
    Spawned(Arc<Place>),
}

impl Redis {
    /// Spawns one if that is asked for, with a way of its own for each node if it is to be broken.
    fn of(args: &BenchArgs, nodes: usize) -> Result<Redis, larder_rig::Error> {
        match &args.redis {
            None => Ok(Redis::None),
            Some(RedisServer::Url(url)) => Ok(Redis::Somebodys(url.clone())),
            Some(RedisServer::Spawn(kind)) => {
                let flavour = Flavour::ALL.into_iter().find(|flavour| flavour.is_installed());
                let ways = if args.chaos { nodes } else { 0 };
                let flavour = flavour.unwrap_or(Flavour::Redis7);
                let place = match kind {
                    Kind::Alone => Place::alone(flavour, ways),
                    Kind::Sentinel => Place::sentinel(flavour),
                    Kind::Cluster => Place::cluster(flavour, KEY),
                };
                place.map(|place| Redis::Spawned(Arc::new(place)))
            }
        }
    }

    fn second_tier(&self, node: usize, directory: &Path) -> SecondTier {
        match self {
            Redis::None => SecondTier::File(directory.join(format!("cache-{node}.db"))),
            Redis::Somebodys(url) => SecondTier::Redis(url.clone()),
            Redis::Spawned(place) => SecondTier::Redis(place.url(node)),
        }
    }
}

/// The run itself, with its files in `directory`.
pub(crate) async fn measure(
    mode: CacheMode,
    directory: &Path,
    count: usize,
    redis: &Redis,
    history: &History,
    pace: Pace,
    stop: &Stop,
) -> Result<(RunReport, Measured), ServiceError> {
    let under_way = UnderWay::default();
    let mut nodes = Vec::new();
    for node in 0..count {
        let config = ServiceConfig {
            database: directory.join("app.db"),
            second: redis.second_tier(node, directory),
            cache: mode,
            durability: Durability::Process,
            readers: READERS,
            node,
            under_way: under_way.clone(),
        };
        nodes.push(Arc::new(BookingService::open(config).await?));
    }
    let mut seeded = Vec::new();
    if let Some(first) = nodes.first() {
        seeded = first.seed_if_empty(Arc::new(history.companies.clone())).await?.unwrap_or_default();
    }
    let plan = Arc::new(Plan::new(history, &seeded));
    let live = Arc::new(Live::default());
    let progress = Progress::start(mode.name(), pace.length, Arc::clone(&live));
    let measured = workload::run(&nodes, &plan, pace, &live, stop).await;
    drop(progress);
    let mut overlaps = Ok(0);
    if let Some(first) = nodes.first() {
        overlaps = first.overlaps().await;
    }
    for node in &nodes {
        node.close().await;
    }
    let measured = measured?;
    let origins: Vec<&OriginCounts> = nodes.iter().map(|node| node.origin()).collect();
    let mut report = RunReport::new(mode, &measured, &origins, overlaps?);
    if count > 1 || !matches!(redis, Redis::None) {
        report.together = Some(Together::new(&measured, under_way.stampedes()));
    }
    Ok((report, measured))
}
