//! What it costs to invalidate a tag, a prefix or a pattern, by how many entries are under it.
//!
//! Two groups stand in one cache, a small one and a large one, and are invalidated in turns: so both figures come
//! from the same cache, at the same time, with the same things in the processor's caches. Before anything is timed,
//! and again after, a few entries are asked for: they must have been hits, and must not be any more.

use crate::Failure;
use crate::load::larder::{By, Larder};
use crate::stats::median;
use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Times the groups are filled anew.
    pub(crate) fills: u32,
    /// Invalidations of each group after each fill.
    pub(crate) turns: u32,
    /// Entries of the small group and of the large one.
    pub(crate) entries: [u64; 2],
}

/// The two groups.
const GROUPS: [&str; 2] = ["few", "many"];

/// What one invalidation of a group took, ns.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// The median over all turns.
    pub(crate) ns: f64,
    /// The median over the first turns after a fill: those that found all entries of the group alive.
    pub(crate) first_ns: f64,
}

/// The cost of invalidating the small group and the large one.
pub(crate) async fn cost(larder: &Larder, by: By, effort: Effort) -> Result<[Cost; 2], Failure> {
    let mut samples = [const { Vec::new() }; 2];
    let mut firsts = [const { Vec::new() }; 2];
    for fill in 0..effort.fills {
        for (group, entries) in GROUPS.into_iter().zip(effort.entries) {
            larder.fill(group, entries).await?;
            expect(larder, group, entries, true).await?;
        }
        // A group that nobody is in, so that the first that counts does not pay for code that was out of the
        // processor's caches.
        for _ in 0..100 {
            larder.invalidate("none", by).await?;
        }
        for turn in 0..effort.turns {
            let order = if (fill + turn) % 2 == 0 { [0, 1] } else { [1, 0] };
            for position in order {
                let (Some(group), Some(sample), Some(first)) =
                    (GROUPS.get(position), samples.get_mut(position), firsts.get_mut(position))
                else {
                    continue;
                };
                let start = Instant::now();
                larder.invalidate(group, by).await?;
                let took = start.elapsed().as_nanos() as f64;
                sample.push(took);
                if turn == 0 {
                    first.push(took);
                }
            }
        }
        for (group, entries) in GROUPS.into_iter().zip(effort.entries) {
            expect(larder, group, entries, false).await?;
        }
    }
    let [few, many] = samples;
    let [first_few, first_many] = firsts;
    match (median(&few), median(&first_few), median(&many), median(&first_many)) {
        (Some(few), Some(first_few), Some(many), Some(first_many)) => {
            Ok([Cost { ns: few, first_ns: first_few }, Cost { ns: many, first_ns: first_many }])
        }
        _ => Err("no turns were asked for".into()),
    }
}

async fn expect(larder: &Larder, group: &'static str, entries: u64, hit: bool) -> Result<(), Failure> {
    for index in [0, entries / 2, entries - 1] {
        if larder.holds(group, index).await? != hit {
            let expected = if hit { "a hit" } else { "a miss" };
            return Err(format!("entry {index} of {entries} in group {group}: expected {expected}").into());
        }
    }
    Ok(())
}
