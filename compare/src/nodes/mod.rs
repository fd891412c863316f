//! `race-nodes`: two nodes of one service on one Redis, and what becomes of an invalidation when things go wrong.
//!
//! Larder (store and journal on that Redis) beside `multi-tier-cache` (memory, Redis, and invalidations by pub/sub), each
//! node with connections of its own. `rounds` plays, `stage` is the origin, the engines stand in `larder` and `rival`.

mod larder;
mod rival;
mod rounds;
mod stage;
mod table;

use crate::output::print_json;
use crate::{Failure, Options};
use larder_rig::Flavour;
use serde::Serialize;
use stage::Load;
use std::future::Future;
use std::sync::Arc;

/// One figure, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
pub(crate) enum Row {
    /// How often a node served the value from before an invalidation.
    Stale { engine: &'static str, round: &'static str, node: &'static str, rounds: u32, stale_share: f64 },
    /// How often the loader of one cold key ran.
    Loads {
        engine: &'static str,
        round: &'static str,
        nodes: usize,
        readers: usize,
        rounds: u32,
        loads_most: u32,
        loads_mean: f64,
    },
    /// How long a read of a cold key took, and the next one of another.
    Read {
        engine: &'static str,
        round: &'static str,
        first_ms: f64,
        second_ms: f64,
        deadline_ms: Option<f64>,
    },
}

/// One node of an engine.
pub(crate) trait Node: Send + Sync + 'static {
    /// Connects to Redis at this URL.
    fn start(url: &str) -> impl Future<Output = Result<Self, Failure>> + Send
    where
        Self: Sized;

    /// Reads through the cache, loading on a miss.
    fn read(self: &Arc<Self>, key: u64, load: Load) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Invalidates the key for all nodes. An error: the caller is told that it may not have happened.
    fn invalidate(self: &Arc<Self>, key: u64) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How much is played.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds of what takes no time.
    pub(crate) rounds: u32,
    /// Times a connection is cut, or the server killed; each is as many rounds as are missing to `rounds`.
    pub(crate) faults: u32,
}

/// Plays everything on a private server and prints the rows.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let effort =
        if options.quick { Effort { rounds: 20, faults: 2 } } else { Effort { rounds: 100, faults: 5 } };
    let Some(flavour) = Flavour::installed().into_iter().next() else {
        return Err(format!("no server to play on: {}", Flavour::Redis7.remedy()).into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rows = runtime.block_on(runtime.spawn(async move {
        let mut rows = rounds::all::<rival::Rival>("multi-tier-cache", flavour, effort, None).await?;
        let deadline = Some(larder::DEADLINE);
        rows.extend(rounds::all::<larder::Larder>("larder", flavour, effort, deadline).await?);
        Ok::<_, Failure>(rows)
    }))??;
    if options.json { print_json(&rows) } else { table::print_for_people(&rows) }
}
