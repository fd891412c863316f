//! What a cache adds to a load: distinct cold keys, one after the other, with a loader that returns at once,
//! against calling that loader directly.

use crate::Failure;
use crate::load::engine::Loading;
use crate::sample::Value;
use crate::stats::median;
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds; the reported figure is their median.
    pub(crate) rounds: u64,
    /// Distinct cold keys in each round.
    pub(crate) keys: u64,
}

impl Effort {
    /// The keys of one round; no two rounds share one.
    pub(crate) fn keys_of(self, round: u64) -> Range<u64> {
        round * self.keys..(round + 1) * self.keys
    }

    /// Room for every key of every round, twice, so that nothing is evicted.
    pub(crate) fn room(self) -> u64 {
        self.rounds * self.keys * 2
    }
}

/// The loader: no more than a value, so that what remains is the cache's own cost.
async fn load(key: u64) -> Value {
    Value::of(black_box(key))
}

/// Nanoseconds of one direct call of the loader, the median over the rounds.
pub(crate) async fn direct(effort: Effort) -> Result<f64, Failure> {
    let mut samples = Vec::new();
    for round in 0..effort.rounds {
        let start = Instant::now();
        for key in effort.keys_of(round) {
            black_box(load(key).await);
        }
        samples.push(start.elapsed().as_nanos() as f64 / effort.keys as f64);
    }
    median(&samples).ok_or_else(|| "no rounds were asked for".into())
}

/// Nanoseconds per load of one engine in one round.
pub(crate) async fn round<E: Loading>(engine: &E, keys: Range<u64>) -> Result<f64, Failure> {
    let count = keys.end - keys.start;
    let start = Instant::now();
    for key in keys {
        black_box(engine.get_or_load(key, load(key)).await?);
    }
    Ok(start.elapsed().as_nanos() as f64 / count as f64)
}
