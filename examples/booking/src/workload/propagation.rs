//! How long after a write was acknowledged every node has applied its record.
//!
//! Users hand it one write now and then; it looks at the nodes from a thread of its own, so that it neither makes them
//! look at the journal nor waits behind the users. Never part of a read.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::db::write::Written;
use crate::service::BookingService;
use crate::workload::latency::Latencies;

/// Between two looks: what is measured is no finer than this.
const LOOK: Duration = Duration::from_micros(100);
/// Between two samples: to look costs, and is not to be measured in the reads.
const REST: Duration = Duration::from_millis(20);
/// A node that takes longer is counted as taking this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write that was acknowledged at this moment, with its place in the journal.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    since: Instant,
    record: u64,
}

/// The measurement; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Propagation {
    samples: SyncSender<Acknowledged>,
}

/// Its end.
#[derive(Debug)]
pub(crate) struct Measurement(JoinHandle<Latencies>);

impl Propagation {
    /// Starts to look at these nodes; `None` when there is but one, or no thread for it.
    pub(crate) fn start(nodes: &[Arc<BookingService>]) -> Option<(Propagation, Measurement)> {
        if nodes.len() < 2 {
            return None;
        }
        // No room: a sample is taken when the last one is done, and otherwise lost.
        let (samples, taken) = mpsc::sync_channel(0);
        let nodes = nodes.to_vec();
        let measure = move || {
            let mut latencies = Latencies::new();
            for sample in taken {
                latencies.record(wait(&nodes, sample));
                thread::sleep(REST);
            }
            latencies
        };
        let thread = thread::Builder::new().name("booking-propagation".to_owned()).spawn(measure).ok()?;
        Some((Propagation { samples }, Measurement(thread)))
    }

    /// A write has just been acknowledged.
    pub(crate) fn acknowledged(&self, written: &Written) {
        if let Some(record) = written.record {
            // Refused while another sample is waited for.
            let _ = self.samples.try_send(Acknowledged { since: Instant::now(), record });
        }
    }
}

impl Measurement {
    /// What was measured, once every [`Propagation`] has been dropped.
    pub(crate) async fn finish(self) -> Latencies {
        let joined = tokio::task::spawn_blocking(|| self.0.join()).await;
        joined.ok().and_then(Result::ok).unwrap_or_else(Latencies::new)
    }
}

fn wait(nodes: &[Arc<BookingService>], sample: Acknowledged) -> Duration {
    for node in nodes {
        while node.applied().is_some_and(|applied| applied < sample.record) {
            if sample.since.elapsed() >= PATIENCE {
                return PATIENCE;
            }
            thread::sleep(LOOK);
        }
    }
    sample.since.elapsed()
}
