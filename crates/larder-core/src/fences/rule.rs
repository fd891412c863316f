//! The rule: whether an entry is fresh.
//!
//! > An entry is fresh iff its epoch is the node's epoch, its born position is at or above the node's floor, and
//! > for every dependency `d`, `last[d] <= born`, and no open intent names `d`.
//!
//! One function decides it, for an entry from memory, from a store, for the followers of a load, and for the
//! result of a background refresh. It takes no lock and allocates nothing, save when a pattern was named since
//! the entry was born.

use super::{Birth, Fences, Kind, Patterned};
use crate::interleave;
use crate::path::{Path, Tenant};
use crate::segments::{Segment, Segments};
use crate::sync::AtomicU64;
use crate::tag::Tag;
use smallvec::SmallVec;
use std::cell::LazyCell;
use std::sync::atomic::Ordering;

/// What the rule says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may be served.
    Fresh,
    /// A record named something it depends on after it was born.
    Invalidated,
    /// It was born before what this node remembers, or in another history.
    BelowFloor,
    /// Something it depends on is about to be written: an open intent names it, whenever the entry was born.
    Intended,
    /// Fresh as far as this node knows, but its lease has lapsed.
    Unconfirmed,
}

impl Verdict {
    /// Each of them, for tests that must not forget one.
    #[doc(hidden)]
    pub const ALL: [Verdict; 5] =
        [Verdict::Fresh, Verdict::Invalidated, Verdict::BelowFloor, Verdict::Intended, Verdict::Unconfirmed];

    /// Whether it may be served.
    pub fn is_fresh(self) -> bool {
        self == Verdict::Fresh
    }
}

/// What an entry depends on: its key, each prefix of its key, its tags; the same for every entry it was built from.
///
/// Names are kept as 64-bit hashes seeded per process. Two names that collide are invalidated together: a miss
/// too many in the rarest of cases, never one too few.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    pub(super) ids: SmallVec<[u64; 8]>,
    also: Option<Box<[Path]>>,
}

impl Dependencies {
    /// Takes over the names another entry depends on. Its keys, for patterns, are given to
    /// [`Fences::dependencies`].
    pub fn inherit(&mut self, other: &Dependencies) {
        self.ids.extend_from_slice(&other.ids);
        self.ids.sort_unstable();
        self.ids.dedup();
    }

    /// The keys of the entries it was built from.
    pub fn also(&self) -> &[Path] {
        self.also.as_deref().unwrap_or_default()
    }

    /// Bytes held outside the value itself.
    pub fn heap_bytes(&self) -> usize {
        let spilled = if self.ids.spilled() { self.ids.capacity() * 8 } else { 0 };
        spilled
            + self
                .also
                .iter()
                .flatten()
                .map(|path| size_of::<Path>() + path.segments().heap_bytes())
                .sum::<usize>()
    }
}

impl Fences {
    /// The dependencies of an entry under `key` with these tags (of the key's tenant), built from cached entries
    /// under the keys in `also`, whose tags the caller has put among `tags`.
    pub fn dependencies(&self, key: &Path, tags: &[Tag], also: &[Path]) -> Dependencies {
        self.dependencies_of(key.as_bytes(), tags, also)
    }

    /// [`Fences::dependencies`] of the key whose path is encoded so.
    pub fn dependencies_of(&self, key: &[u8], tags: &[Tag], also: &[Path]) -> Dependencies {
        let mut ids = SmallVec::new();
        for path in std::iter::once(key).chain(also.iter().map(Path::as_bytes)) {
            self.key_ids(path, &mut ids);
        }
        if !tags.is_empty() {
            let tenant = Path::tenant_of(key);
            for tag in tags {
                ids.push(self.id(Kind::Tag, tenant.below(tag.segments()).as_bytes()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Dependencies { ids, also: (!also.is_empty()).then(|| also.into()) }
    }

    fn key_ids(&self, bytes: &[u8], ids: &mut SmallVec<[u64; 8]>) {
        ids.push(self.id(Kind::Key, bytes));
        for (segment, end) in Segments::iter_encoded(bytes) {
            ids.push(self.id(Kind::Prefix, &bytes[..end]));
            if crate::seeded_bug!("prefix_by_text") {
                self.text_prefix_ids(bytes, segment, end, ids);
            }
        }
    }

    /// The mistake of peers that join keys as text: `7` is taken for a prefix of `71`.
    fn text_prefix_ids(&self, bytes: &[u8], segment: Segment<'_>, end: usize, ids: &mut SmallVec<[u64; 8]>) {
        if let Segment::Text(text) = segment {
            let whole = crate::Segments::builder().with(text).finish().as_bytes().len();
            for (cut, _) in text.char_indices().skip(1) {
                let head = crate::Segments::builder().with(&text[..cut]).finish();
                ids.push(self.id(Kind::Prefix, &[&bytes[..end - whole], head.as_bytes()].concat()));
            }
        }
    }

    /// The rule. `checked` belongs to the entry: it remembers as of when the rule last called it fresh, so that
    /// a hit with nothing applied since is one comparison; start it at 0. `key` is the entry's own key, asked for
    /// only when a pattern has been named since it was born.
    ///
    /// The answer is as of a moment after the call began: every record applied before is taken into account.
    #[inline]
    pub fn check(
        &self,
        born: Birth,
        dependencies: &Dependencies,
        checked: &AtomicU64,
        key: impl FnOnce() -> Path,
    ) -> Verdict {
        self.check_local(|| born.local, dependencies, checked, key)
    }

    /// [`Fences::check`] for an entry that kept only its local number, which is asked for when it matters: it may have
    /// to be fetched.
    #[inline]
    pub fn check_local(
        &self,
        born: impl FnOnce() -> u64,
        dependencies: &Dependencies,
        checked: &AtomicU64,
        key: impl FnOnce() -> Path,
    ) -> Verdict {
        let applied = self.applied.load(Ordering::Acquire);
        if checked.load(Ordering::Relaxed) == applied {
            return Verdict::Fresh;
        }
        let verdict = self.check_all(born(), dependencies, key);
        interleave::point();
        let late = crate::seeded_bug!("checked_as_of_its_end");
        let applied = if late { self.applied.load(Ordering::Acquire) } else { applied };
        if verdict.is_fresh() {
            checked.store(applied, Ordering::Relaxed);
        }
        verdict
    }

    #[inline(never)]
    fn check_all(&self, born: u64, dependencies: &Dependencies, key: impl FnOnce() -> Path) -> Verdict {
        let own = LazyCell::new(key);
        // The intents before everything else: whoever closes one has raised before what its closing record names.
        let intents = self.intents.load();
        let early = crate::seeded_bug!("floor_before_table").then(|| self.floor.load(Ordering::Acquire));
        // The table and the patterns before the floor: whoever drops a target raises the floor first.
        interleave::point();
        let born = if crate::seeded_bug!("rule_off_by_one") { born + 1 } else { born };
        let table = self.table.load();
        let patterns = (self.patterned.load(Ordering::Acquire) > born).then(|| self.patterns.load());
        if born < early.unwrap_or_else(|| self.floor.load(Ordering::Acquire)) {
            return Verdict::BelowFloor;
        }
        let named = self.everything.load(Ordering::Acquire) > born
            || dependencies.ids.iter().any(|id| table.last(*id) > born)
            || patterns.is_some_and(|patterns| {
                let mut keys = std::iter::once(&*own).chain(dependencies.also.iter().flatten());
                keys.any(|key| patterns.iter().any(|p| p.last > born && p.covers(key)))
            });
        let intents = if crate::seeded_bug!("intents_after_table") { self.intents.load() } else { intents };
        match named {
            true => Verdict::Invalidated,
            false if !intents.is_empty() && intents.name(dependencies, || &own) => Verdict::Intended,
            false => Verdict::Fresh,
        }
    }
}

impl Patterned {
    pub(super) fn covers(&self, key: &Path) -> bool {
        key.as_bytes().strip_prefix(self.region.as_bytes()).is_some_and(|rest| {
            self.pattern.matches(crate::Segments::from_trusted(rest).iter().map(|(s, _)| s))
        })
    }
}

impl Path {
    /// The path of everything this path's tenant has.
    pub(crate) fn tenant_of(path: &[u8]) -> Path {
        match Segments::iter_encoded(path).next() {
            Some((Segment::Text(name), _)) => Path::of_tenant(&Tenant::named(name)),
            _ => Path::of_tenant(&Tenant::common()),
        }
    }
}
