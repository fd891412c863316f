//! Entries as memory holds them: what a hit needs in the first cache line or two, the rest behind it.

use larder_core::expiry::Times;
use larder_core::plan::RefreshGate;
use larder_core::{Birth, Dependencies, Tag};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A cached value of any type; the region knows which.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// One entry. Shared by the memory tier and by whoever was served it; never changed, save for what it remembers
/// of checks.
pub(crate) struct Entry {
    /// As of when the rule last called it fresh; see `Fences::check`.
    pub(crate) checked: AtomicU64,
    /// What it was born with. `None`: it may be returned to its own reader, never kept.
    pub(crate) born: Option<Birth>,
    pub(crate) times: Times,
    pub(crate) dependencies: Dependencies,
    /// `None`: the origin has nothing under the key.
    pub(crate) value: Option<Value>,
    pub(crate) gate: RefreshGate,
    pub(crate) tags: Arc<[Tag]>,
    /// Some of what it depends on cannot be named in a store: memory only.
    pub(crate) unnamable: bool,
    /// Bytes it is counted as.
    pub(crate) weight: u64,
}

/// What an entry takes besides its value: its own fields, its key, and its place in the table.
pub(crate) const OVERHEAD_BYTES: u64 = 96 + size_of::<Entry>() as u64 + size_of::<super::Key>() as u64;

impl Entry {
    /// The number it was born with in this process; below every floor when it has no stamp.
    #[inline]
    pub(crate) fn local(&self) -> u64 {
        self.born.map_or(0, |born| born.local)
    }
}
