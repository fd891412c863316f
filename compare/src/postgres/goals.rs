//! Whether what was promised of Postgres is kept. Pure: rows in, sentences out.

use super::Row;

/// The most that the outbox may make of a bare transaction's median.
const INSERT_MAX: f64 = 1.25;
/// The least share of its throughput.
const CLIENTS_MIN: f64 = 0.9;
/// The most until all nodes are fresh, at the 99th percentile.
const FRESH_MAX_US: f64 = 10_000.0;
const IDLE_MAX: f64 = 3.0;
/// A hit costs what it did: within the noise of two runs of the same.
const HIT_MAX: f64 = 1.1;

/// Each goal in words, and whether it is met.
pub(super) fn check(rows: &[Row]) -> Vec<(String, bool)> {
    let bare = |of: fn(&Row) -> Option<(&str, f64)>| {
        rows.iter().filter_map(of).find(|(engine, _)| !engine.starts_with("larder")).map(|(_, figure)| figure)
    };
    let inserts = |row: &Row| match row {
        Row::Insert { engine, p50_us, .. } => Some((*engine, *p50_us)),
        _ => None,
    };
    let clients = |row: &Row| match row {
        Row::Clients { engine, per_s, .. } => Some((*engine, *per_s)),
        _ => None,
    };
    let hits = |row: &Row| match row {
        Row::Hit { engine, p50_ns } => Some((*engine, *p50_ns)),
        _ => None,
    };
    let mut verdicts = Vec::new();
    for row in rows {
        match row {
            Row::Insert { engine, p50_us, .. } if engine.starts_with("larder") => {
                let Some(of) = bare(inserts) else { continue };
                let times = p50_us / of;
                verdicts.push((
                    format!("{engine}: {times:.2} of the bare transaction, of at most {INSERT_MAX}"),
                    times <= INSERT_MAX,
                ));
            }
            Row::Clients { engine, per_s, .. } if engine.starts_with("larder") => {
                let Some(of) = bare(clients) else { continue };
                let share = per_s / of;
                verdicts.push((
                    format!("{engine}: {share:.2} of its throughput, of at least {CLIENTS_MIN}"),
                    share >= CLIENTS_MIN,
                ));
            }
            Row::Fresh { engine, p99_us, .. } if engine.starts_with("larder") => {
                verdicts.push((
                    format!("all fresh within {p99_us:.0} us (p99), of at most {FRESH_MAX_US:.0}"),
                    *p99_us <= FRESH_MAX_US,
                ));
            }
            Row::Stream { asked_per_s, per_s, behind_max, .. } => {
                let kept = *per_s >= 0.99 * *asked_per_s as f64 && behind_max <= asked_per_s;
                verdicts
                    .push((format!("{per_s:.0} invalidating transactions a second, of {asked_per_s}, and never a second behind"), kept));
            }
            Row::Idle { per_s } => {
                // A question more or less at the ends of ten seconds.
                verdicts.push((
                    format!("an idle node asks {per_s:.2} times a second, of at most {IDLE_MAX}"),
                    *per_s < IDLE_MAX + 0.15,
                ));
            }
            Row::Hit { engine: "the journal on Postgres", p50_ns } => {
                let Some((_, of)) = rows.iter().find_map(hits) else { continue };
                let times = p50_ns / of;
                verdicts.push((
                    format!(
                        "a hit costs {times:.2} of one with a journal in the process, of at most {HIT_MAX}"
                    ),
                    times <= HIT_MAX,
                ));
            }
            _ => {}
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dearer_than_promised_is_said() {
        let met = |p50_us| {
            let row = |engine, p50_us| Row::Insert { engine, p50_us, p99_us: 0.0 };
            check(&[row("bare", 100.0), row("larder", p50_us)])
                .into_iter()
                .map(|(_, met)| met)
                .collect::<Vec<_>>()
        };
        assert_eq!((met(125.0), met(126.0)), (vec![true], vec![false]));
    }
}
