//! Instruments: counters and histograms cheap enough for the hit path.
//!
//! Fed by the engine and the regions, read by statistics. Nothing here knows what is being counted.

mod histogram;
mod stats;
mod stripe;

pub use histogram::{Histogram, Latencies};
pub(crate) use stats::{Count, RegionStats, StoreCount, StoreStats};
pub use stats::{Counts, JournalSnapshot, MemorySnapshot, RegionSnapshot, Stats, StoreCounts, StoreSnapshot};
pub use stripe::Striped;
