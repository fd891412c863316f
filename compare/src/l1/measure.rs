//! Interleaved rounds: in each round every engine sweeps the same slice of the same random order, once, and the
//! engine that goes first changes from round to round. Knows engines only by their trait.

use crate::Failure;
use crate::l1::engine::{Engine, Pace};
use crate::sample::random_order;
use crate::stats::median;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Which time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// From the first thread to start to the last to finish. What is reported unless asked otherwise.
    Wall,
    /// The most any thread spent on a processor: does not count what other programs took meanwhile.
    Processor,
}

/// How long a measurement takes.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds; the reported figure is their median.
    pub(crate) rounds: usize,
    /// Lookups per thread and round that count.
    pub(crate) lookups: usize,
    /// Lookups before them that do not: they bring caches and branch predictors back to this engine.
    pub(crate) warm: usize,
    /// Which time is counted.
    pub(crate) time: Time,
    /// How a lookup follows the one before.
    pub(crate) pace: Pace,
}

/// Nanoseconds per lookup of each engine: the median over the rounds of wall time / lookups per thread.
///
/// # Errors
/// A miss, or engines that disagree about what they hold.
pub(crate) fn rounds(
    engines: &[&dyn Engine],
    entries: u32,
    threads: usize,
    effort: Effort,
) -> Result<Vec<f64>, Failure> {
    let mut samples = vec![Vec::with_capacity(effort.rounds); engines.len()];
    for round in 0..effort.rounds {
        // A new stretch of the order in each round, the same for all engines and different for each thread.
        let orders: Vec<Vec<u32>> = (0..threads)
            .map(|thread| {
                let seed = (round as u64) << 8 | thread as u64;
                random_order(entries, effort.warm + effort.lookups, seed)
            })
            .collect();
        let mut expected = None;
        for turn in 0..engines.len() {
            let position = (round + turn) % engines.len();
            let (Some(engine), Some(sample)) = (engines.get(position), samples.get_mut(position)) else {
                continue;
            };
            let (took, sum) = timed(*engine, &orders, effort)?;
            if *expected.get_or_insert(sum) != sum {
                return Err(
                    format!("{}: its hits carried other values than its peers'", engine.name()).into()
                );
            }
            sample.push(took.as_nanos() as f64 / effort.lookups as f64);
        }
    }
    samples.iter().map(|sample| median(sample).ok_or_else(|| "no rounds were asked for".into())).collect()
}

/// One turn of one engine: all threads warm up, meet, and sweep; the wall time runs from the first to start
/// to the last to finish.
fn timed(engine: &dyn Engine, orders: &[Vec<u32>], effort: Effort) -> Result<(Duration, u64), Failure> {
    let barrier = Barrier::new(orders.len());
    let turns: Vec<Result<Turn, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = orders
            .iter()
            .map(|order| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let (before, counted) = order.split_at(effort.warm.min(order.len()));
                    let warmed = engine.sweep(before, effort.pace);
                    barrier.wait();
                    let (start, processor) = (Instant::now(), on_processor());
                    let sum = engine.sweep(counted, effort.pace)?;
                    let (end, processor) = (Instant::now(), on_processor().saturating_sub(processor));
                    warmed?;
                    Ok(Turn { start, end, processor, sum })
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a measuring thread panicked".into())))
            .collect()
    });

    let turns = turns.into_iter().collect::<Result<Vec<_>, _>>()?;
    let first = turns.iter().map(|turn| turn.start).min();
    let last = turns.iter().map(|turn| turn.end).max();
    let (Some(first), Some(last)) = (first, last) else {
        return Err("no threads were asked for".into());
    };
    let took = match effort.time {
        Time::Wall => last.duration_since(first),
        Time::Processor => turns.iter().map(|turn| turn.processor).max().unwrap_or_default(),
    };
    Ok((took, turns.iter().fold(0, |total, turn| total.wrapping_add(turn.sum))))
}

/// One thread's part in a turn.
struct Turn {
    start: Instant,
    end: Instant,
    processor: Duration,
    sum: u64,
}

/// How long this thread has been on a processor.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::engine::KeyKind;

    /// Answers every lookup with a fixed multiple of the index.
    struct Answers(u64);

    impl Engine for Answers {
        fn name(&self) -> &'static str {
            "answers"
        }

        fn key(&self) -> KeyKind {
            KeyKind::U64
        }

        fn sweep(&self, order: &[u32], _pace: Pace) -> Result<u64, Failure> {
            Ok(order.iter().map(|index| u64::from(*index) * self.0).sum())
        }
    }

    const SHORT: Effort =
        Effort { rounds: 3, lookups: 1_000, warm: 10, time: Time::Wall, pace: Pace::Chained };

    #[test]
    fn each_engine_gets_a_figure() {
        let (one, two) = (Answers(1), Answers(1));
        let figures = rounds(&[&one, &two], 100, 2, SHORT).unwrap();
        assert_eq!(figures.len(), 2);
        assert!(figures.iter().all(|figure| figure.is_finite() && *figure >= 0.0));
    }

    #[test]
    fn engines_that_hold_different_values_are_refused() {
        let (right, wrong) = (Answers(1), Answers(2));
        assert!(rounds(&[&right, &wrong], 100, 1, SHORT).is_err());
    }
}
