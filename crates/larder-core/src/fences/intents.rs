//! Open intents: what is about to be written somewhere, and must not be served from a tier until it is known to be
//! over.
//!
//! A set of ids, never a flag: two intents on one target are both open until both are closed. Replaced as a whole, by
//! the one who writes the fences; read by the rule without a lock.

use super::{Dependencies, Fences, Kind, Patterned};
use crate::path::Path;
use crate::record::{Intent, IntentId};
use crate::target::Target;
use std::sync::Arc;
use std::time::Duration;

/// The intents that are open, and all they name in the form the rule looks names up in.
#[derive(Default)]
pub(super) struct Intents {
    open: Vec<Arc<Named>>,
    /// The names of all of them, sorted.
    ids: Box<[u64]>,
    everything: bool,
    patterned: bool,
}

struct Named {
    intent: Intent,
    ids: Vec<u64>,
    everything: bool,
    patterns: Vec<Patterned>,
}

impl Intents {
    fn of(open: Vec<Arc<Named>>) -> Self {
        let mut ids: Vec<u64> = open.iter().flat_map(|named| named.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let everything = open.iter().any(|named| named.everything);
        let patterned = open.iter().any(|named| !named.patterns.is_empty());
        Intents { open, ids: ids.into(), everything, patterned }
    }

    /// These and one more; one that is open already stays as it is.
    fn with(&self, named: Named) -> Self {
        let mut open = self.open.clone();
        if !open.iter().any(|other| other.intent.id == named.intent.id) {
            open.push(Arc::new(named));
        }
        Self::of(open)
    }

    /// All but the one of this id.
    fn without(&self, id: IntentId) -> Self {
        // The mistake: targets are marked as being written, so one commit clears the mark of all.
        if crate::seeded_bug!("intent_is_a_flag") {
            let closed: Vec<_> = self.open.iter().filter(|named| named.intent.id == id).collect();
            let marks = |other: &Named| closed.iter().any(|c| c.ids.iter().any(|i| other.ids.contains(i)));
            return Self::of(self.open.iter().filter(|other| !marks(other)).cloned().collect());
        }
        Self::of(self.open.iter().filter(|named| named.intent.id != id).cloned().collect())
    }

    /// Whether an open intent names something an entry depends on. `own` is the entry's own key.
    pub(super) fn name<'a>(&self, dependencies: &Dependencies, own: impl FnOnce() -> &'a Path) -> bool {
        self.everything
            || dependencies.ids.iter().any(|id| self.ids.binary_search(id).is_ok())
            || (self.patterned && self.match_any(own(), dependencies.also()))
    }

    fn match_any(&self, own: &Path, also: &[Path]) -> bool {
        let patterns = || self.open.iter().flat_map(|named| &named.patterns);
        std::iter::once(own).chain(also).any(|key| patterns().any(|pattern| pattern.covers(key)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Fences {
    /// The intents that are open, as far as this node has applied the journal.
    pub fn open_intents(&self) -> Vec<Intent> {
        self.intents.load().open.iter().map(|named| named.intent.clone()).collect()
    }

    /// Whether one of these targets names something an entry depends on. `own` is the entry's own key.
    pub fn is_named(&self, dependencies: &Dependencies, own: &Path, targets: &[Target]) -> bool {
        let (id, lasts) = (IntentId::new(0), Duration::ZERO);
        let named = self.named(Intent { id, lasts, targets: targets.into() });
        Intents::of(vec![Arc::new(named)]).name(dependencies, || own)
    }

    /// Under the chain's lock.
    pub(super) fn replace_intents(&self, open: &[Intent]) {
        let open = open.iter().map(|intent| Arc::new(self.named(intent.clone()))).collect();
        self.intents.store(Intents::of(open).into());
    }

    /// Under the chain's lock; published by the next number applied.
    pub(super) fn open_intent(&self, intent: Intent) {
        let next = self.intents.load().with(self.named(intent));
        self.intents.store(next.into());
    }

    /// Under the chain's lock, and after what the closing record names was raised: a reader that finds the intent gone
    /// must find that.
    pub(super) fn close_intent(&self, id: IntentId) {
        let open = self.intents.load();
        if !open.is_empty() {
            self.intents.store(open.without(id).into());
        }
    }

    fn named(&self, intent: Intent) -> Named {
        let mut named =
            Named { ids: Vec::new(), everything: false, patterns: Vec::new(), intent: intent.clone() };
        for target in &*intent.targets {
            match target {
                Target::Everything => named.everything = true,
                Target::Key(path) => named.ids.push(self.id(Kind::Key, path.as_bytes())),
                Target::Prefix(path) => named.ids.push(self.id(Kind::Prefix, path.as_bytes())),
                Target::Tag(path) => named.ids.push(self.id(Kind::Tag, path.as_bytes())),
                Target::Pattern(region, pattern) => {
                    let (region, pattern) = (region.clone(), pattern.clone());
                    named.patterns.push(Patterned { region, pattern, last: 0 });
                }
            }
        }
        named
    }
}
