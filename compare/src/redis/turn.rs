//! One turn of an engine: every key once, by so many tasks at once, each read timed.

use crate::Failure;
use crate::redis::engine::Reads;
use std::sync::Arc;
use std::time::Instant;

/// How a turn is played.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) tasks: usize,
    /// All of them together; each is read once.
    pub(super) keys: usize,
    /// Keys in one read.
    pub(super) batch: usize,
}

/// What came of it.
pub(super) struct Played {
    /// Keys a second.
    pub(super) per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

pub(super) async fn play<E: Reads>(engine: &Arc<E>, turn: Turn) -> Result<Played, Failure> {
    let reads = turn.keys / turn.tasks / turn.batch;
    let began = Instant::now();
    let tasks = (0..turn.tasks).map(|task| {
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(reads);
            let mut before = Instant::now();
            for read in 0..reads {
                let first = (task * reads + read) * turn.batch;
                match turn.batch {
                    1 => engine.get(first).await?,
                    many => engine.get_many(first, many).await?,
                }
                let now = Instant::now();
                times.push((now - before).as_nanos() as f64 / 1000.0);
                before = now;
            }
            Ok::<_, Failure>(times)
        })
    });
    let mut times = Vec::with_capacity(reads * turn.tasks);
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await??);
    }
    let took = began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at =
        |share: f64| times.get(((times.len() as f64) * share) as usize).copied().ok_or("nothing was read");
    Ok(Played {
        per_s: (reads * turn.tasks * turn.batch) as f64 / took,
        p50_us: at(0.50)?,
        p99_us: at(0.99)?,
    })
}
