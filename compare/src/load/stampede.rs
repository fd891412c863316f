//! A thousand tasks ask for one cold key at once: how often does its loader run?

use crate::Failure;
use crate::load::engine::Loading;
use crate::sample::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;

/// Tasks that ask for the same key.
pub(crate) const TASKS: u32 = 1000;

/// Runs of the loader when [`TASKS`] tasks ask for `key`, which nobody asked for before.
///
/// The loader does not return before every task has begun to ask, so none of them comes late to a hit.
pub(crate) async fn loader_runs<E: Loading>(engine: &Arc<E>, key: u64) -> Result<u32, Failure> {
    let asking = Arc::new(AtomicU32::new(0));
    let runs = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (engine, asking, runs) = (Arc::clone(engine), Arc::clone(&asking), Arc::clone(&runs));
        tasks.spawn(async move {
            asking.fetch_add(1, Ordering::SeqCst);
            let load = async move {
                runs.fetch_add(1, Ordering::SeqCst);
                while asking.load(Ordering::SeqCst) < TASKS {
                    tokio::task::yield_now().await;
                }
                Value::of(key)
            };
            engine.get_or_load(key, load).await
        });
    }
    while let Some(answer) = tasks.join_next().await {
        let entry = answer??;
        if entry != key {
            return Err(format!("{}: asked for entry {key}, was given {entry}", engine.name()).into());
        }
    }
    Ok(runs.load(Ordering::SeqCst))
}
