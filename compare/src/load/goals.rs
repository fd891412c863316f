//! Whether Larder's loads and invalidations keep what was promised. Pure: rows in, sentences out.

use crate::load::Row;

/// The most that `get_or_load` may add to a loader, ns.
const ADDED_NS_MAX: f64 = 2000.0;

/// The most that an invalidation may cost with many entries under it, against few: the same, but for noise.
const RATIO_MAX: f64 = 1.25;

/// One promise, and whether it was kept.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What was measured, in words.
    pub(crate) what: String,
    /// Whether that is within the goal.
    pub(crate) met: bool,
}

/// Checks Larder's rows.
pub(crate) fn check(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts: Vec<_> = rows.iter().filter_map(alone).collect();
    for few in rows {
        let Row::Invalidate { by, entries: few_entries, ns_per_op: few_ns, .. } = few else { continue };
        let many = rows.iter().find_map(|row| match row {
            Row::Invalidate { by: other, entries, ns_per_op, .. } if other == by && entries > few_entries => {
                Some((entries, ns_per_op))
            }
            _ => None,
        });
        let Some((entries, many_ns)) = many else { continue };
        let ratio = many_ns / few_ns;
        verdicts.push(Verdict {
            what: format!("invalidating a {by}: {ratio:.2} times the cost with {entries} entries under it instead of {few_entries}"),
            met: ratio <= RATIO_MAX,
        });
    }
    verdicts
}

fn alone(row: &Row) -> Option<Verdict> {
    match row {
        Row::Stampede { engine: "larder", tasks, loader_runs, .. } => Some(Verdict {
            what: format!("{tasks} tasks on one cold key: {loader_runs} run of the loader, of 1"),
            met: *loader_runs == 1,
        }),
        Row::Cold { engine: "larder", added_ns, .. } => Some(Verdict {
            what: format!("{added_ns:.0} ns added to a load, of at most {ADDED_NS_MAX:.0}"),
            met: *added_ns <= ADDED_NS_MAX,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(rows: &[Row]) -> Vec<bool> {
        check(rows).into_iter().map(|verdict| verdict.met).collect()
    }

    fn cold(engine: &'static str, added_ns: f64) -> Row {
        Row::Cold { engine, keys: 1, loader_ns: 1.0, added_ns }
    }

    fn invalidate(by: &'static str, entries: u64, ns_per_op: f64) -> Row {
        Row::Invalidate { engine: "larder", by, entries, ns_per_op, first_ns: ns_per_op }
    }

    #[test]
    fn only_larders_loads_are_held_to_the_goal() {
        assert_eq!(met(&[cold("moka", 9e9), cold("larder", 2000.0)]), [true]);
        assert_eq!(met(&[cold("larder", 2001.0)]), [false]);
    }

    #[test]
    fn a_second_run_of_the_loader_is_noticed() {
        let row = |loader_runs| Row::Stampede { engine: "larder", tasks: 1000, rounds: 5, loader_runs };
        assert_eq!(met(&[row(1)]), [true]);
        assert_eq!(met(&[row(2)]), [false]);
    }

    #[test]
    fn many_entries_are_compared_with_few_of_the_same_kind() {
        let rows = [
            invalidate("tag", 10, 100.0),
            invalidate("tag", 1_000_000, 110.0),
            invalidate("prefix", 10, 100.0),
            invalidate("prefix", 1_000_000, 1000.0),
        ];
        assert_eq!(met(&rows), [true, false]);
    }
}
