//! Instruments: counters and histograms cheap enough for the hit path.
//!
//! Fed by the engine and the regions, read by statistics. Nothing here knows what is being counted.

mod histogram;
mod stripe;

pub use histogram::{Histogram, Latencies};
pub use stripe::Striped;
