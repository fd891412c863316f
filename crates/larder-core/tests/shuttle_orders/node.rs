//! A node whose records are acknowledged once applied, and entries that readers look at meanwhile.

use crate::explorer::AtomicU64;
use larder_core::{
    Act, Birth, Cause, Dependencies, Epoch, Fences, IntentId, Link, Path, Pattern, Record, Target, Tenant,
    Verdict, key,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Overflows at the third target.
pub(crate) const SMALL: usize = 2;
pub(crate) const LARGE: usize = 1 << 10;

pub(crate) struct Node {
    pub(crate) fences: Fences,
    /// Everything told so far, by the number of the step that told it; raised after.
    acknowledged: AtomicU64,
}

/// An entry of key `name`, which only readers of the same history share.
pub(crate) struct Entry {
    name: u64,
    pub(crate) born: Birth,
    dependencies: Dependencies,
    checked: AtomicU64,
}

pub(crate) fn link(epoch: u128, position: u64) -> Link {
    Link { epoch: Epoch::new(epoch), position, nonce: position }
}

pub(crate) fn path(name: u64) -> Path {
    Path::of_region(&Tenant::common(), "r").below(&key![name])
}

pub(crate) fn target(name: u64) -> Target {
    Target::key("r", key![name])
}

/// Names the same key, as the only one it matches.
pub(crate) fn pattern(name: u64) -> Target {
    Target::pattern("r", Pattern::parse(&name.to_string()).unwrap())
}

pub(crate) fn record(position: u64, targets: &[Target]) -> Record {
    acting(position, Act::Invalidate, targets)
}

fn acting(position: u64, act: Act, targets: &[Target]) -> Record {
    Record { link: link(1, position), act, targets: targets.to_vec(), cause: Cause::default() }
}

impl Node {
    /// Follows epoch 1 from its beginning.
    pub(crate) fn new(targets_max: usize) -> Arc<Self> {
        let fences = Fences::new(7, targets_max);
        fences.adopt(link(1, 0), &[]);
        Arc::new(Node { fences, acknowledged: AtomicU64::new(0) })
    }

    /// An entry loaded now.
    pub(crate) fn entry(&self, name: u64) -> Arc<Entry> {
        self.entry_born(name, self.fences.birth().unwrap())
    }

    pub(crate) fn entry_born(&self, name: u64, born: Birth) -> Arc<Entry> {
        let dependencies = self.fences.dependencies(&path(name), &[], &[]);
        Arc::new(Entry { name, born, dependencies, checked: AtomicU64::new(0) })
    }

    pub(crate) fn apply(&self, position: u64, targets: &[Target]) {
        self.fences.apply(&record(position, targets)).unwrap();
        self.acknowledge(position);
    }

    /// The record that opens intent `id` on these targets.
    pub(crate) fn open(&self, position: u64, id: u64, targets: &[Target]) {
        let (intent, lasts) = (IntentId::new(id), Duration::from_secs(60));
        self.fences.apply(&acting(position, Act::Open { intent, lasts }, targets)).unwrap();
        self.acknowledge(position);
    }

    /// The record that closes it.
    pub(crate) fn close(&self, position: u64, id: u64, targets: &[Target]) {
        self.fences.apply(&acting(position, Act::Close { intent: IntentId::new(id) }, targets)).unwrap();
        self.acknowledge(position);
    }

    /// Everything up to this step has been told.
    pub(crate) fn acknowledge(&self, step: u64) {
        self.acknowledged.store(step, Ordering::Release);
    }

    pub(crate) fn verdict(&self, entry: &Entry) -> Verdict {
        self.fences.check(entry.born, &entry.dependencies, &entry.checked, || path(entry.name))
    }

    /// A look at an entry that step `dead_from` has made stale: from when that is acknowledged it is never fresh.
    pub(crate) fn look(&self, entry: &Entry, dead_from: u64) {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let verdict = self.verdict(entry);
        assert!(
            acknowledged < dead_from || verdict != Verdict::Fresh,
            "entry {} is served after step {dead_from}, which named it, was acknowledged",
            entry.name
        );
    }
}
