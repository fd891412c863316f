//! What the matrix shows: one object, or one table that documentation can hold.

use std::time::Duration;

use larder_rig::Flavour;
use serde::Serialize;

use super::{faults::Scenario, traffic::Measured};

/// All rows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bound_ms: u128,
    lasts_ms: u128,
    journal: String,
    rows: Vec<Row>,
}

/// One fault on one kind of server.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    server: String,
    fault: &'static str,
    /// A row without a promise: it must see staleness.
    control: bool,
    reads: u64,
    reads_failed: u64,
    stale_reads: u64,
    staleness_ms_max: f64,
    fault_reads_per_second: f64,
    fault_hit_rate: f64,
    fault_read_ms_max: f64,
    writes_acknowledged: u64,
    writes_queued: u64,
    /// None: not within half a minute.
    recovered_ms: Option<f64>,
}

impl Row {
    pub(super) fn new(
        flavour: Flavour,
        scenario: &Scenario,
        measured: &Measured,
        recovered: Option<Duration>,
    ) -> Self {
        let seconds = measured.fault_lasted.as_secs_f64().max(0.001);
        Self {
            server: flavour.to_string(),
            fault: scenario.name,
            control: scenario.control,
            reads: measured.reads,
            reads_failed: measured.failed,
            stale_reads: measured.stale,
            staleness_ms_max: millis(measured.staleness_max),
            fault_reads_per_second: (measured.fault_reads as f64 / seconds).round(),
            fault_hit_rate: (measured.fault_hits as f64 * 1e3 / measured.fault_reads.max(1) as f64).round()
                / 1e3,
            fault_read_ms_max: millis(measured.fault_slowest),
            writes_acknowledged: measured.applied,
            writes_queued: measured.queued,
            recovered_ms: recovered.map(millis),
        }
    }

    fn is_well(&self) -> bool {
        match self.control {
            true => self.stale_reads > 0,
            false => self.stale_reads == 0 && self.recovered_ms.is_some(),
        }
    }
}

impl Report {
    pub(super) fn new(rows: Vec<Row>, bound: Duration, lasts: Duration, journal: &str) -> Self {
        Self { bound_ms: bound.as_millis(), lasts_ms: lasts.as_millis(), journal: journal.to_owned(), rows }
    }

    /// No promise was broken, and the rows that must show that a broken one would be seen did show it.
    pub(super) fn is_well(&self) -> bool {
        self.rows.iter().all(Row::is_well)
    }

    /// Markdown.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![
            "| server | fault | stale beyond the level | longest staleness | reads/s meanwhile | hits | slowest read | reads failed | well again after |"
                .to_owned(),
            "|---|---|---|---|---|---|---|---|---|".to_owned(),
        ];
        lines.extend(self.rows.iter().map(|row| {
            let recovered = row.recovered_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0} ms"));
            format!(
                "| {} | {} | {}{} | {:.0} ms | {} | {:.0} % | {:.0} ms | {} | {recovered} |",
                row.server,
                row.fault,
                row.stale_reads,
                if row.is_well() { "" } else { " **!**" },
                row.staleness_ms_max,
                row.fault_reads_per_second,
                row.fault_hit_rate * 100.0,
                row.fault_read_ms_max,
                row.reads_failed,
            )
        }));
        lines.join("\n")
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}
