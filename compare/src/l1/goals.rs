//! Whether Larder's hits are as quick as it promises, beside raw quick_cache, foyer and moka of the same run.
//! Pure: rows in, verdicts out.

use crate::l1::Row;

/// One promise checked in one cell of the table.
pub(crate) struct Verdict {
    /// The row of Larder's that was checked.
    pub(crate) row: Row,
    /// Its time divided by quick_cache's, which for `segments` is quick_cache's with text keys.
    pub(crate) ratio: f64,
    /// The most that ratio may be.
    pub(crate) ratio_max: f64,
    /// The quicker of raw foyer and raw moka in the same cell, ns.
    pub(crate) other_peers_ns: f64,
}

impl Verdict {
    /// At most `ratio_max` times quick_cache, and not slower than foyer or moka.
    pub(crate) fn met(&self) -> bool {
        self.ratio <= self.ratio_max && self.row.ns_per_op <= self.other_peers_ns
    }
}

/// Checks every row of Larder's that has its peers beside it.
pub(crate) fn check(rows: &[Row]) -> Vec<Verdict> {
    rows.iter().filter_map(|row| verdict(row, rows)).collect()
}

fn verdict(row: &Row, rows: &[Row]) -> Option<Verdict> {
    let ratio_max = match (row.engine, row.key) {
        ("larder-eventual" | "larder-bounded", "segments") => 3.0,
        ("larder-eventual", _) => 1.3,
        ("larder-bounded", _) => 1.7,
        _ => return None,
    };
    // Peers have no segments: their text key of the same size is the nearest thing.
    let key = if row.key == "segments" { "text" } else { row.key };
    let peer = |engine: &str| {
        rows.iter()
            .find(|other| {
                other.engine == engine
                    && other.key == key
                    && other.threads == row.threads
                    && other.entries == row.entries
            })
            .map(|other| other.ns_per_op)
    };
    let other_peers_ns = peer("foyer")?.min(peer("moka")?);
    Some(Verdict { row: *row, ratio: row.ns_per_op / peer("quick_cache")?, ratio_max, other_peers_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &'static str, key: &'static str, ns_per_op: f64) -> Row {
        Row { engine, threads: 1, entries: 10_000, key, ns_per_op }
    }

    fn peers() -> Vec<Row> {
        vec![row("quick_cache", "text", 20.0), row("foyer", "text", 50.0), row("moka", "text", 200.0)]
    }

    fn met(candidate: Row) -> bool {
        let mut rows = peers();
        rows.push(candidate);
        let verdicts = check(&rows);
        assert_eq!(verdicts.len(), 1);
        verdicts.iter().all(Verdict::met)
    }

    #[test]
    fn each_level_has_its_own_limit() {
        assert!(met(row("larder-eventual", "text", 26.0)));
        assert!(!met(row("larder-eventual", "text", 26.5)));
        assert!(met(row("larder-bounded", "text", 34.0)));
        assert!(!met(row("larder-bounded", "text", 34.5)));
    }

    #[test]
    fn segments_are_held_against_text_keys() {
        assert!(met(row("larder-bounded", "segments", 49.0)));
    }

    #[test]
    fn slower_than_foyer_is_not_met_whatever_the_ratio() {
        assert!(!met(row("larder-bounded", "segments", 55.0)));
    }

    #[test]
    fn without_peers_in_the_same_cell_nothing_is_claimed() {
        assert!(check(&[row("larder-eventual", "text", 1.0)]).is_empty());
    }
}
