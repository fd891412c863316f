//! Fuzz targets for what larder-core reads and decides.
//!
//! Each is a function of bytes that panics when a property does not hold, and a list of seeds made by the real
//! encoders. `src/bin/` hands them to libFuzzer; `tests/corpus.rs` runs them on the corpus without it.

#![forbid(unsafe_code)]

pub mod envelope;
mod input;
pub mod keys;
pub mod pattern;
pub mod rule;
pub mod targets;

/// One fuzz target.
pub struct Target {
    /// As its binary and its corpus are called.
    pub name: &'static str,
    /// Panics when a property does not hold of this input.
    pub run: fn(&[u8]),
    /// Inputs that reach deep, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "envelope", run: envelope::run, seeds: envelope::seeds },
    Target { name: "keys", run: keys::run, seeds: keys::seeds },
    Target { name: "pattern", run: pattern::run, seeds: pattern::seeds },
    Target { name: "rule", run: rule::run, seeds: rule::seeds },
    Target { name: "targets", run: targets::run, seeds: targets::seeds },
];
