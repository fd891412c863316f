//! What a cache adds to a load: distinct cold keys, one after the other, with a loader that returns at once,
//! against calling that loader directly.

use crate::Failure;
use crate::load::engine::Loading;
use crate::sample::Value;
use crate::stats::median;
use std::future::Future;
use std::hint::black_box;
use std::ops::Range;
use std::pin::Pin;
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

/// Nanoseconds per load of each engine, in their order: the median over rounds, in each of which every engine
/// loads the same keys and another one goes first.
pub(crate) async fn through(engines: &[&dyn Cold], effort: Effort) -> Result<Vec<f64>, Failure> {
    let mut samples = vec![Vec::new(); engines.len()];
    for round in 0..effort.rounds {
        for turn in 0..engines.len() {
            let position = (round as usize + turn) % engines.len();
            if let (Some(engine), Some(sample)) = (engines.get(position), samples.get_mut(position)) {
                sample.push(engine.round(effort.keys_of(round)).await?);
            }
        }
    }
    samples.iter().map(|sample| median(sample).ok_or_else(|| "no rounds were asked for".into())).collect()
}

/// An engine in a list with others: one allocation per round, none per load.
pub(crate) trait Cold: Sync {
    /// The engine's name in the rows.
    fn name(&self) -> &'static str;

    /// Nanoseconds per load of these keys, all of them cold.
    fn round(&self, keys: Range<u64>) -> BoxFuture<'_, Result<f64, Failure>>;
}

impl<E: Loading> Cold for E {
    fn name(&self) -> &'static str {
        Loading::name(self)
    }

    fn round(&self, keys: Range<u64>) -> BoxFuture<'_, Result<f64, Failure>> {
        Box::pin(async move {
            let count = keys.end - keys.start;
            let start = Instant::now();
            for key in keys {
                black_box(self.get_or_load(key, load(key)).await?);
            }
            Ok(start.elapsed().as_nanos() as f64 / count as f64)
        })
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
