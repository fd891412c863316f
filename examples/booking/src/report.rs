//! What the runs are reported as: the JSON object, the table, and the sentences drawn from the numbers.
//!
//! `bench` calls it. It formats and compares; it never prints and never measures.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::cached::CacheMode;
use crate::chaos::Injected;
use crate::db::OriginCounts;
use crate::workload::Measured;
use crate::workload::tally::BOUND;

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) runs: Vec<RunReport>,
    pub(crate) seed: u64,
    /// `generated`, or the file.
    pub(crate) source: String,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) cache: &'static str,
    /// Bookings of the history that someone set out to make.
    pub(crate) bookings: u64,
    pub(crate) booked: u64,
    pub(crate) rescheduled: u64,
    pub(crate) cancelled: u64,
    /// Times the database refused a booking or a move.
    pub(crate) refused: u64,
    pub(crate) reads: u64,
    pub(crate) hit_rate: f64,
    pub(crate) hits: Hits,
    /// Loaders run.
    pub(crate) loads: u64,
    /// SQL queries those loaders sent.
    pub(crate) origin_queries: u64,
    pub(crate) read_us: Percentiles,
    /// Reads that missed a write acknowledged a second or more before they began.
    pub(crate) stale_reads: u64,
    /// Reads that missed a write acknowledged less than a second before they began.
    pub(crate) late_reads: u64,
    pub(crate) staleness_ms_max: f64,
    /// Availability reads that offered a slot known to be taken when they began.
    pub(crate) offered_taken: u64,
    pub(crate) duration_s: f64,
    /// Reads that showed less than what their user had seen or written before, as far as a token stood for it, of so many.
    pub(crate) session_violations: u64,
    pub(crate) session_reads: u64,
    /// Reads that asked for the newest there is and missed a write acknowledged, or what another such read was shown,
    /// before they began, of so many.
    pub(crate) linearizability_violations: u64,
    pub(crate) linearizable_reads: u64,
    /// What only several nodes, or nodes on a server, have.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) together: Option<Together>,
    /// Appointments that overlapped another at the end; not part of the JSON, which is fixed.
    #[serde(skip)]
    pub(crate) overlaps: u64,
}

/// What is measured of nodes that share something.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Together {
    pub(crate) nodes: usize,
    /// Node by node.
    pub(crate) node_hit_rates: Vec<f64>,
    /// From the acknowledgement of a write to the moment every node has applied it; none where nobody is told.
    pub(crate) propagation_us: Option<Propagation>,
    /// Loads that began while another node was loading the same.
    pub(crate) cross_node_stampedes: u64,
    /// Requests that failed because a server was away.
    pub(crate) requests_failed: u64,
    pub(crate) faults: Vec<Injected>,
}

/// Of a sample of the writes, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Propagation {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Together {
    /// Without faults.
    pub(crate) fn new(measured: &Measured, cross_node_stampedes: u64) -> Together {
        let latencies = &measured.propagation;
        let at = |percentile| rounded(latencies.percentile_us(percentile), 1);
        Together {
            nodes: measured.nodes.len(),
            node_hit_rates: measured.nodes.iter().map(|node| rounded(node.hit_rate(), 4)).collect(),
            propagation_us: (!latencies.is_empty()).then(|| Propagation { p50: at(50.0), p99: at(99.0) }),
            cross_node_stampedes,
            requests_failed: measured.tally.failed,
            faults: Vec::new(),
        }
    }

    /// The lowest and the highest hit rate of a node.
    fn hit_rates(&self) -> String {
        let lowest = self.node_hit_rates.iter().copied().fold(1.0, f64::min);
        let highest = self.node_hit_rates.iter().copied().fold(0.0, f64::max);
        format!("{:.1} to {:.1} %", lowest * 100.0, highest * 100.0)
    }

    fn propagation(&self) -> String {
        let one = |found: Propagation| format!("{}, {}", micros(found.p50), micros(found.p99));
        self.propagation_us.map_or_else(|| "-".to_owned(), one)
    }
}

/// Hits by tier.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Hits {
    pub(crate) l1: u64,
    pub(crate) l2: u64,
}

/// Read latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

impl RunReport {
    /// The report of a run.
    pub(crate) fn new(
        mode: CacheMode,
        measured: &Measured,
        origins: &[&OriginCounts],
        overlaps: u64,
    ) -> RunReport {
        let tally = &measured.tally;
        RunReport {
            cache: mode.name(),
            bookings: tally.bookings,
            booked: tally.booked,
            rescheduled: tally.rescheduled,
            cancelled: tally.cancelled,
            refused: tally.refused,
            reads: tally.reads,
            hit_rate: rounded(tally.hit_rate(), 4),
            hits: Hits { l1: tally.l1, l2: tally.l2 },
            loads: origins.iter().map(|origin| origin.loads()).sum(),
            origin_queries: origins.iter().map(|origin| origin.queries()).sum(),
            read_us: Percentiles {
                p50: rounded(tally.read_us(50.0), 2),
                p95: rounded(tally.read_us(95.0), 2),
                p99: rounded(tally.read_us(99.0), 2),
            },
            stale_reads: tally.stale,
            late_reads: tally.late,
            staleness_ms_max: rounded(tally.staleness_max.as_secs_f64() * 1_000.0, 3),
            offered_taken: tally.offered_taken,
            duration_s: rounded(measured.duration.as_secs_f64(), 3),
            session_violations: tally.session_violations,
            session_reads: tally.session_reads,
            linearizability_violations: tally.linearizability_violations,
            linearizable_reads: tally.linearizable_reads,
            together: None,
            overlaps,
        }
    }

    /// Reads per second.
    pub(crate) fn reads_per_second(&self) -> f64 {
        if self.duration_s > 0.0 { self.reads as f64 / self.duration_s } else { 0.0 }
    }
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// One column per run.
pub(crate) fn table(runs: &[RunReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let heads = runs.iter().map(|run| Cell::new(column_name(run.cache)).set_alignment(CellAlignment::Right));
    table.set_header(std::iter::once(Cell::new("")).chain(heads));
    type Row = (&'static str, fn(&RunReport) -> String);
    let rows: [Row; 15] = [
        ("reads/s", |run| grouped(run.reads_per_second().round() as u64)),
        ("hit rate", |run| format!("{:.1} %", run.hit_rate * 100.0)),
        ("read p50", |run| micros(run.read_us.p50)),
        ("read p95", |run| micros(run.read_us.p95)),
        ("read p99", |run| micros(run.read_us.p99)),
        ("origin queries", |run| grouped(run.origin_queries)),
        ("stale reads (by the oracle)", |run| grouped(run.stale_reads)),
        ("late reads (within the bound)", |run| grouped(run.late_reads)),
        ("longest staleness", |run| millis(run.staleness_ms_max)),
        ("reads behind their session", |run| of(run.session_violations, run.session_reads)),
        ("reads out of order (linearizable)", |run| {
            of(run.linearizability_violations, run.linearizable_reads)
        }),
        ("users offered a slot already taken", |run| grouped(run.offered_taken)),
        ("bookings refused", |run| grouped(run.refused)),
        ("bookings made", |run| format!("{} of {}", grouped(run.booked), grouped(run.bookings))),
        ("moved, cancelled", |run| format!("{}, {}", grouped(run.rescheduled), grouped(run.cancelled))),
    ];
    for (name, value) in rows {
        let values = runs.iter().map(|run| Cell::new(value(run)).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(values));
    }
    for (name, value) in together_rows(runs) {
        let values = runs.iter().map(|run| {
            let text = run.together.as_ref().map(value).unwrap_or_default();
            Cell::new(text).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(name)).chain(values));
    }
    table.to_string()
}

type TogetherRow = (&'static str, fn(&Together) -> String);

/// The rows that only runs of several nodes, or on a server, have.
fn together_rows(runs: &[RunReport]) -> Vec<TogetherRow> {
    let mut rows: Vec<TogetherRow> = Vec::new();
    if runs.iter().any(|run| run.together.is_some()) {
        rows.push(("nodes", |together| together.nodes.to_string()));
        rows.push(("hit rate, node by node", Together::hit_rates));
        rows.push(("known to all nodes after: p50, p99", Together::propagation));
        rows.push(("stampedes across nodes", |together| grouped(together.cross_node_stampedes)));
    }
    if runs.iter().filter_map(|run| run.together.as_ref()).any(|together| !together.faults.is_empty()) {
        rows.push(("requests failed meanwhile", |together| grouped(together.requests_failed)));
        rows.push(("faults injected", |together| together.faults.len().to_string()));
    }
    rows
}

fn column_name(cache: &str) -> &str {
    match cache {
        "none" => "no cache",
        "ttl" => "TTL only",
        _ => "Larder",
    }
}

/// What the numbers show, in plain sentences.
pub(crate) fn sentences(runs: &[RunReport]) -> Vec<String> {
    let find = |cache: CacheMode| runs.iter().find(|run| run.cache == cache.name());
    let mut said = Vec::new();
    for run in runs {
        said.push(freshness(run));
    }
    if let (Some(none), Some(larder)) = (find(CacheMode::None), find(CacheMode::Larder)) {
        said.push(format!(
            "Larder answered {} reads per second where the database alone answered {}, with {} origin queries per \
             1,000 reads instead of {}.",
            grouped(larder.reads_per_second().round() as u64),
            grouped(none.reads_per_second().round() as u64),
            per_thousand(larder.origin_queries, larder.reads),
            per_thousand(none.origin_queries, none.reads),
        ));
    }
    if let (Some(ttl), Some(larder)) = (find(CacheMode::Ttl), find(CacheMode::Larder)) {
        said.push(format!(
            "Of 10,000 reads, {} offered a slot already taken with TTL only and {} with Larder, so the database had to \
             refuse {} and {} bookings.",
            per_ten_thousand(ttl.offered_taken, ttl.reads),
            per_ten_thousand(larder.offered_taken, larder.reads),
            grouped(ttl.refused),
            grouped(larder.refused),
        ));
    }
    said.extend(runs.iter().filter_map(injected));
    said.push(match runs.iter().map(|run| run.overlaps).sum::<u64>() {
        0 => "No slot was booked twice: at the end of each run, no two appointments of one person overlap."
            .to_owned(),
        overlaps => format!(
            "{overlaps} appointments overlap another of the same person: this is a bug, please report it."
        ),
    });
    said
}

/// What was injected, in the order of the first of each kind.
fn injected(run: &RunReport) -> Option<String> {
    let faults = &run.together.as_ref()?.faults;
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for injected in faults {
        match counts.iter_mut().find(|(name, _)| *name == injected.fault) {
            Some((_, count)) => *count += 1,
            None => counts.push((injected.fault, 1)),
        }
    }
    let times = |(name, count): &(&str, usize)| {
        if *count == 1 { (*name).to_owned() } else { format!("{name} ({count} times)") }
    };
    let names: Vec<String> = counts.iter().map(times).collect();
    (!names.is_empty()).then(|| format!("{} ran under faults: {}.", column_name(run.cache), names.join("; ")))
}

fn freshness(run: &RunReport) -> String {
    let name = column_name(run.cache);
    let bound = BOUND.as_secs();
    if run.stale_reads > 0 {
        let kept =
            if run.cache == "larder" { " This breaks its bound and is a bug: please report it." } else { "" };
        return format!(
            "{name}: {} of {} reads ({:.1} %) missed a write acknowledged {bound} s or more before, the oldest by \
             {}.{kept}",
            grouped(run.stale_reads),
            grouped(run.reads),
            run.stale_reads as f64 * 100.0 / run.reads.max(1) as f64,
            millis(run.staleness_ms_max),
        );
    }
    if run.late_reads > 0 {
        return format!(
            "{name}: no read missed a write acknowledged {bound} s or more before; {} of {} missed one within that \
             bound, the oldest by {}.",
            grouped(run.late_reads),
            grouped(run.reads),
            millis(run.staleness_ms_max),
        );
    }
    format!("{name}: none of {} reads missed a write acknowledged before it began.", grouped(run.reads))
}

fn of(count: u64, all: u64) -> String {
    format!("{} of {}", grouped(count), grouped(all))
}

fn per_thousand(count: u64, reads: u64) -> String {
    format!("{:.1}", count as f64 * 1_000.0 / reads.max(1) as f64)
}

fn per_ten_thousand(count: u64, reads: u64) -> String {
    format!("{:.1}", count as f64 * 10_000.0 / reads.max(1) as f64)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn micros(us: f64) -> String {
    if us < 100.0 { format!("{us:.1} µs") } else { format!("{} µs", grouped(us.round() as u64)) }
}

fn millis(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{:.1} s", ms / 1_000.0) } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cache: &'static str, stale_reads: u64, late_reads: u64) -> RunReport {
        RunReport {
            cache,
            bookings: 10,
            booked: 9,
            rescheduled: 2,
            cancelled: 3,
            refused: 1,
            reads: 1_234_567,
            hit_rate: 0.9,
            hits: Hits { l1: 8, l2: 1 },
            loads: 4,
            origin_queries: 24,
            read_us: Percentiles { p50: 0.8, p95: 12.0, p99: 1_500.0 },
            stale_reads,
            late_reads,
            staleness_ms_max: 2_500.0,
            offered_taken: 7,
            duration_s: 10.0,
            session_violations: 0,
            session_reads: 5,
            linearizability_violations: 0,
            linearizable_reads: 3,
            together: None,
            overlaps: 0,
        }
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let report = Report { runs: vec![run("larder", 0, 1)], seed: 42, source: "generated".to_owned() };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            json,
            "{\"runs\":[{\"cache\":\"larder\",\"bookings\":10,\"booked\":9,\"rescheduled\":2,\"cancelled\":3,\
             \"refused\":1,\"reads\":1234567,\"hit_rate\":0.9,\"hits\":{\"l1\":8,\"l2\":1},\"loads\":4,\
             \"origin_queries\":24,\"read_us\":{\"p50\":0.8,\"p95\":12.0,\"p99\":1500.0},\"stale_reads\":0,\
             \"late_reads\":1,\"staleness_ms_max\":2500.0,\"offered_taken\":7,\"duration_s\":10.0,\"session_violations\":0,\"session_reads\":5,\
             \"linearizability_violations\":0,\"linearizable_reads\":3}],\"seed\":42,\
             \"source\":\"generated\"}"
        );
    }

    fn together() -> Together {
        let fault = |fault, at_s| Injected { fault, at_s, lasted_s: 1.5 };
        Together {
            nodes: 2,
            node_hit_rates: vec![0.9, 0.85],
            propagation_us: Some(Propagation { p50: 210.0, p99: 1_500.5 }),
            cross_node_stampedes: 3,
            requests_failed: 7,
            faults: vec![fault("flood", 0.5), fault("drought", 3.0), fault("flood", 6.0)],
        }
    }

    #[test]
    fn several_nodes_add_to_the_json_and_to_the_table() {
        let run = RunReport { together: Some(together()), ..run("larder", 0, 0) };
        let json = serde_json::to_string(&run).unwrap();
        assert!(
            json.ends_with(
                "\"linearizable_reads\":3,\"nodes\":2,\"node_hit_rates\":[0.9,0.85],\"propagation_us\":{\"p50\":210.0,\
                 \"p99\":1500.5},\"cross_node_stampedes\":3,\"requests_failed\":7,\"faults\":[{\"fault\":\"flood\",\"at_s\":0.5,\
                 \"lasted_s\":1.5},{\"fault\":\"drought\",\"at_s\":3.0,\"lasted_s\":1.5},{\"fault\":\"flood\",\
                 \"at_s\":6.0,\"lasted_s\":1.5}]}"
            ),
            "{json}"
        );
        let text = table(std::slice::from_ref(&run));
        for part in ["85.0 to 90.0 %", "210 µs, 1,501 µs", "stampedes across nodes", "faults injected"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!table(&[super::tests::run("larder", 0, 0)]).contains("nodes"));
        assert_eq!(injected(&run).unwrap(), "Larder ran under faults: flood (2 times); drought.");
    }

    #[test]
    fn the_table_has_a_column_per_run() {
        let text = table(&[run("none", 0, 0), run("ttl", 5, 0), run("larder", 0, 1)]);
        for part in ["no cache", "TTL only", "Larder", "123,457", "90.0 %", "1,500 µs", "2.5 s", "9 of 10"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_sentences_say_what_the_numbers_say() {
        assert!(freshness(&run("none", 0, 0)).contains("none of 1,234,567 reads missed"));
        assert!(freshness(&run("ttl", 617_284, 0)).contains("(50.0 %)"));
        assert!(!freshness(&run("ttl", 1, 0)).contains("bug"));
        assert!(freshness(&run("larder", 1, 0)).contains("breaks its bound"));
        assert!(freshness(&run("larder", 0, 3)).contains("3 of 1,234,567 missed one within"));
        assert_eq!(sentences(&[run("ttl", 1, 0)]).len(), 2);
        assert_eq!(sentences(&[run("none", 0, 0), run("ttl", 1, 0), run("larder", 0, 0)]).len(), 6);
        assert!(sentences(&[run("ttl", 1, 0)])[1].starts_with("No slot was booked twice"));
        assert!(
            sentences(&[RunReport { overlaps: 2, ..run("ttl", 1, 0) }])[1].contains("2 appointments overlap")
        );
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
