//! Whether Larder's reads of the second tier keep what was promised. Pure: rows in, sentences out.

use crate::redis::Row;

/// The least share of the raw client's reads of one key, 64 at once.
const GET_SHARE_MIN: f64 = 0.8;
/// The most of the raw client's median time, one at a time: with many at once on a machine that can do no more, the median is
/// how many there are by how many are done, and says what the share has said.
const GET_P50_MAX: f64 = 1.15;
/// The least share of the raw client's keys a second, a hundred at a time by one caller.
const BATCH_SHARE_MIN: f64 = 0.5;

/// One promise, and whether it was kept.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    /// What was measured, in words.
    pub(super) what: String,
    /// Whether that is within the goal.
    pub(super) met: bool,
}

/// Checks each of Larder's rows against the raw client's of the same measure.
pub(super) fn check(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for row in rows {
        match row {
            Row::Get { engine, tasks, per_s, p50_us, .. } if *engine != "redis-rs" => {
                let raw = rows.iter().find_map(|raw| match raw {
                    Row::Get { engine: "redis-rs", tasks: same, per_s, p50_us, .. } if same == tasks => {
                        Some((*per_s, *p50_us))
                    }
                    _ => None,
                });
                let Some((raw_per_s, raw_p50)) = raw else { continue };
                let (share, times) = (per_s / raw_per_s, p50_us / raw_p50);
                if *tasks == 64 {
                    verdicts.push(Verdict {
                        what: format!("{engine}, {tasks} at once: {share:.2} of the raw client's GET, of at least {GET_SHARE_MIN}"),
                        met: share >= GET_SHARE_MIN,
                    });
                }
                if *tasks == 1 {
                    verdicts.push(Verdict {
                        what: format!(
                            "{engine}, one at a time: {times:.2} times its p50, of at most {GET_P50_MAX}"
                        ),
                        met: times <= GET_P50_MAX,
                    });
                }
            }
            Row::Batch { engine, tasks: tasks @ 1, keys_per_s, .. } if *engine != "redis-rs" => {
                let raw = rows.iter().find_map(|raw| match raw {
                    Row::Batch { engine: "redis-rs", tasks: same, keys_per_s, .. } if same == tasks => {
                        Some(*keys_per_s)
                    }
                    _ => None,
                });
                let Some(raw) = raw else { continue };
                let share = keys_per_s / raw;
                verdicts.push(Verdict {
                    what: format!("{engine}, batches: {share:.2} of the raw client's MGET, of at least {BATCH_SHARE_MIN}"),
                    met: share >= BATCH_SHARE_MIN,
                });
            }
            Row::Stampede { nodes, readers, loads_most, .. } => verdicts.push(Verdict {
                what: format!(
                    "{readers} readers on each of {nodes} nodes: {loads_most} loads at most, of at most 1"
                ),
                met: *loads_most == 1,
            }),
            Row::Get { .. } | Row::Batch { .. } => {}
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(engine: &'static str, tasks: usize, per_s: f64, p50_us: f64) -> Row {
        Row::Get { server: String::new(), engine, tasks, per_s, p50_us, p99_us: 0.0 }
    }

    #[test]
    fn what_is_slower_than_promised_is_said() {
        let met = |per_s, p50| {
            let rows = |tasks, (raw_s, raw_p50), (per_s, p50)| {
                [get("redis-rs", tasks, raw_s, raw_p50), get("larder", tasks, per_s, p50)]
            };
            let many = rows(64, (100.0, 10.0), (per_s, 12.5));
            let one = rows(1, (10.0, 10.0), (9.0, p50));
            check(&many.into_iter().chain(one).collect::<Vec<_>>())
                .into_iter()
                .map(|verdict| verdict.met)
                .collect::<Vec<_>>()
        };
        assert_eq!(met(80.0, 11.5), [true, true]);
        assert_eq!(met(79.0, 11.6), [false, false]);
    }
}
