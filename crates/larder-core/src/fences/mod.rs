//! The node's state and the rule: what has been invalidated, as far as this node has applied the journal.
//!
//! Written by one task at a time (the one that follows the journal, and local fences); read by every hit
//! without a lock. Knows nothing of entries' values, tiers or time.
//!
//! Inside a process, history is counted in *local numbers* that never restart: adopting another epoch, or
//! jumping ahead, raises the floor above every number handed out before. So an entry of another epoch is below
//! the floor, whatever its position was, and one comparison decides it.
//!
//! Invariants, each kept by every method here:
//! 1. `applied` is stored (release) after everything the record names has been raised.
//! 2. A target is dropped from the table only after the floor has been raised to its number or above.
//! 3. The lease is revoked before history is replaced or a gap is reported.
//! 4. Numbers only rise; applying a record twice changes nothing.
//! 5. An intent is open before `applied` says so, and closed only after all that its closing record names has been
//!    raised.

mod chain;
mod intents;
mod rule;
mod standing;
mod table;

pub use rule::{Dependencies, Verdict};

use crate::interleave;
use crate::lease::Lease;
use crate::path::Path;
use crate::pattern::Pattern;
use crate::position::{Epoch, Link, Stamp};
use crate::record::{Act, Intent, Record};
use crate::sync::{ArcSwap, AtomicU64, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, scaled};
use crate::target::Target;
use chain::Chain;
use foldhash::quality::FixedState;
use intents::Intents;
pub use standing::Expected;
use standing::Standing;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use table::Table;

/// Patterns remembered, if so many targets may be; more, and the floor rises. Each costs a match on an entry's first check
/// after a record.
const PATTERNS_MAX: usize = scaled(512, 2);

/// Fewer targets are not worth a bound.
const TARGETS_MIN: usize = scaled(16, 2);

/// What a load is born with: the stamp stored with the entry, and its number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// For tiers that outlive the process.
    pub stamp: Stamp,
    /// For this process.
    pub local: u64,
}

impl Birth {
    /// The older of two; an entry built from others is as old as the oldest of them.
    #[must_use]
    pub fn min(self, other: Birth) -> Birth {
        if other.local < self.local { other } else { self }
    }
}

/// A record that does not follow what was applied. The lease is already revoked; resynchronise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    applied: Option<Link>,
    record: Link,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.applied {
            Some(applied) => write!(f, "record {} does not follow {applied}", self.record),
            None => write!(f, "record {} before any history was adopted", self.record),
        }
    }
}

impl std::error::Error for Gap {}

#[derive(Clone)]
struct Patterned {
    region: Path,
    pattern: Pattern,
    last: u64,
}

/// The node's state: `applied`, the floor, and `last[target]`; and the rule over it.
pub struct Fences {
    hasher: FixedState,
    targets_max: usize,
    lease: Lease,
    applied: AtomicU64,
    floor: AtomicU64,
    everything: AtomicU64,
    /// The highest number at which a record named everything, and at which only this node fenced it.
    all_recorded: AtomicU64,
    all_fenced: AtomicU64,
    /// The highest number of any pattern record: entries born at or above it need no matching.
    patterned: AtomicU64,
    table: ArcSwap<Table>,
    patterns: ArcSwap<Vec<Patterned>>,
    intents: ArcSwap<Intents>,
    chain: RwLock<Option<Chain>>,
    /// Taken only under the chain's lock.
    standing: Mutex<Standing>,
}

impl Fences {
    /// A node that has adopted no history yet: everything is a miss. `seed` is a random number of the process;
    /// `targets_max` bounds the table (32 to 64 bytes a target, and 1 KiB at least): beyond it the floor rises and older entries miss.
    pub fn new(seed: u64, targets_max: usize) -> Self {
        Fences {
            hasher: FixedState::with_seed(seed),
            targets_max: targets_max.max(TARGETS_MIN),
            lease: Lease::default(),
            applied: AtomicU64::new(1),
            // Above every number, fenced or not, until a history is adopted.
            floor: AtomicU64::new(u64::MAX),
            everything: AtomicU64::new(0),
            all_recorded: AtomicU64::new(0),
            all_fenced: AtomicU64::new(0),
            patterned: AtomicU64::new(0),
            table: ArcSwap::from_pointee(Table::with_room(0)),
            patterns: ArcSwap::default(),
            intents: ArcSwap::default(),
            chain: RwLock::new(None),
            standing: Mutex::new(Standing::default()),
        }
    }

    /// The lease.
    #[inline]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The newest link applied; `None` before any history was adopted.
    pub fn head(&self) -> Option<Link> {
        self.read().as_ref().map(Chain::head)
    }

    /// What a load that begins now is born with. Take it *before* the loader looks at the origin. `None` before
    /// any history was adopted: such a load may be returned, never kept.
    pub fn birth(&self) -> Option<Birth> {
        let chain = self.read();
        // Under the chain's lock `applied` stands still, so the two belong together.
        let local = self.applied.load(Ordering::Acquire);
        let birth = chain.as_ref().map(|chain| Birth { stamp: chain.head(), local });
        drop(chain);
        interleave::point();
        birth
    }

    /// Whether this node follows the history of this link and has applied it so far: nothing older than what the link
    /// stands for is served here any more. `false` when it has not yet, and when the link is of another history.
    pub fn has_reached(&self, link: Link) -> bool {
        self.read().as_ref().is_some_and(|chain| chain.has_reached(link))
    }

    /// A stored entry's stamp as a birth in this process. `None` when its link is not in the history this node
    /// follows, or is older than it remembers: a miss.
    pub fn locate(&self, stamp: Stamp) -> Option<Birth> {
        let local = self.read().as_ref()?.locate(&stamp)?;
        Some(Birth { stamp, local })
    }

    /// Whether the history followed has lost this link, which the journal had said to be in it. To be asked after
    /// everything there was has been applied.
    pub fn has_lost(&self, link: Link) -> bool {
        self.read().as_ref().is_some_and(|chain| chain.has_lost(&link))
    }

    /// Begins to follow a history from this link; everything known before is below the floor, and local fences are
    /// forgotten. `open` are the intents that are open as of the head this history was said to have: those opened after
    /// `link` may be among them, and the records that open them change nothing then. Returns the other histories that have
    /// taken records from this node which it has not applied: they are over, unless they are newer than this one.
    pub fn adopt(&self, link: Link, open: &[Intent]) -> Vec<Epoch> {
        let mut chain = self.write();
        self.lease.revoke();
        let local = self.applied.load(Ordering::Relaxed) + 1;
        if crate::seeded_bug!("adopt_drops_first") {
            self.table.store(Arc::new(Table::with_room(0)));
        }
        if !crate::seeded_bug!("adopt_keeps_floor") || chain.is_none() {
            self.floor.store(local, Ordering::Release);
        }
        self.table.store(Arc::new(Table::with_room(0)));
        self.patterns.store(Arc::default());
        // The mistake: a history is taken to be its records.
        let open = if crate::seeded_bug!("history_without_intents") { &[] } else { open };
        self.replace_intents(open);
        *chain = Some(Chain::new(link, local));
        self.applied.store(local, Ordering::Release);
        self.stand_in(link)
    }

    /// Applies the next record, all of it. One that was applied already changes nothing.
    ///
    /// # Errors
    /// [`Gap`] when it does not follow the newest one applied; the lease is revoked and nothing changed.
    pub fn apply(&self, record: &Record) -> Result<(), Gap> {
        let mut guard = self.write();
        let applied = guard.as_ref().map(Chain::head);
        let gap = Gap { applied, record: record.link };
        let Some(chain) = guard.as_mut() else { return Err(self.distrust(gap)) };
        if chain.locate(&record.link).is_some() {
            return Ok(());
        }
        let head = chain.head();
        if record.link.epoch != head.epoch || Some(record.link.position) != head.position.checked_add(1) {
            if !crate::seeded_bug!("gap_not_noticed") {
                return Err(self.distrust(gap));
            }
            let before = Link { position: record.link.position - 1, ..record.link };
            *chain = Chain::new(before, self.applied.load(Ordering::Relaxed));
        }
        // The journal has lost a record of this node's own, and nobody else may know that.
        if self.displaces(record.link) {
            return Err(self.distrust(gap));
        }
        self.extend(chain, record);
        drop(guard);
        interleave::point();
        Ok(())
    }

    /// Applies a record if `after`, the place it followed in the journal, is the newest one applied. Whether it has been
    /// applied now; if not, nothing changed.
    pub fn apply_after(&self, after: Link, record: &Record) -> bool {
        let mut guard = self.write();
        let Some(chain) = guard.as_mut() else { return false };
        if chain.locate(&record.link).is_some() {
            return true;
        }
        let follows =
            record.link.epoch == after.epoch && after.position.checked_add(1) == Some(record.link.position);
        let (mut head, same) = (chain.head(), after.epoch == chain.head().epoch);
        // The mistakes: a place is taken for what stands there, and whatever is said for what comes next.
        if same && head.position == after.position && crate::seeded_bug!("hint_nonce_not_compared") {
            head = after;
        }
        if same && head.position < after.position && crate::seeded_bug!("hint_gap_not_noticed") {
            *chain = Chain::new(after, self.applied.load(Ordering::Relaxed));
            head = after;
        }
        if head != after || !follows || self.displaces(record.link) {
            return false;
        }
        self.extend(chain, record);
        drop(guard);
        interleave::point();
        true
    }

    /// Does what the next record says. Under the chain's lock.
    fn extend(&self, chain: &mut Chain, record: &Record) {
        let local = self.take_effect(record);
        chain.push(record.link.nonce, local, self.floor.load(Ordering::Relaxed));
        self.publish(local);
        // Before the lock is let go: until then nobody can say that an entry is of this record's time.
        self.raise_standing(record.link);
    }

    /// Fences targets on this node alone, at once: whatever was born before is stale, whatever is loaded after
    /// is not. For the time between a write and its record, or when the record could not be appended.
    ///
    /// Of what stores hold it covers whatever is stamped with a place this node has applied. An entry that a node
    /// further ahead stamped later is not covered, and adopting a history forgets the fence: see
    /// [`Fences::fence_until`].
    ///
    /// Returns what a value is born with that takes the place of what was fenced; `None` before any history was adopted.
    pub fn fence(&self, targets: &[Target]) -> Option<Birth> {
        let chain = self.write();
        let local = self.raise_here(targets);
        chain.as_ref().map(|chain| Birth { stamp: chain.head(), local })
    }

    /// Whether something born so may be stale for this node alone: it fenced everything since, for a reason that no record
    /// tells other nodes of.
    pub fn is_stale_here_alone(&self, born: Birth) -> bool {
        born.local < self.all_fenced.load(Ordering::Relaxed)
            && born.local >= self.all_recorded.load(Ordering::Relaxed)
    }

    /// Does what a record says and returns its number; the caller publishes it. Under the chain's lock.
    fn take_effect(&self, record: &Record) -> u64 {
        match record.act {
            Act::Invalidate => self.raise_recorded(&record.targets),
            Act::Open { intent: id, lasts } => {
                self.open_intent(Intent { id, lasts, targets: record.targets.as_slice().into() });
                self.applied.load(Ordering::Relaxed) + 1
            }
            Act::Close { intent } => {
                if crate::seeded_bug!("intent_closed_first") {
                    self.close_intent(intent);
                }
                let local = self.raise_recorded(&record.targets);
                self.close_intent(intent);
                local
            }
        }
    }

    fn distrust(&self, gap: Gap) -> Gap {
        self.lease.revoke();
        gap
    }

    /// [`Fences::raise_all`] of what a record names.
    fn raise_recorded(&self, targets: &[Target]) -> u64 {
        let local = self.raise_all(targets);
        if targets.contains(&Target::Everything) {
            self.all_recorded.store(local, Ordering::Relaxed);
        }
        local
    }

    /// [`Fences::raise_all`] of what this node fences by itself, and publishes it.
    fn raise_here(&self, targets: &[Target]) -> u64 {
        let local = self.raise_all(targets);
        if targets.contains(&Target::Everything) {
            self.all_fenced.store(local, Ordering::Relaxed);
        }
        self.publish(local);
        local
    }

    /// Raises every target to the next number and returns it; the caller publishes it. Under the chain's lock.
    fn raise_all(&self, targets: &[Target]) -> u64 {
        let local = self.applied.load(Ordering::Relaxed) + 1;
        if crate::seeded_bug!("applied_before_slots") {
            self.applied.store(local, Ordering::Release);
        }
        for target in targets {
            match target {
                Target::Everything => self.everything.store(local, Ordering::Release),
                Target::Key(path) => self.raise(self.id(Kind::Key, path.as_bytes()), local),
                Target::Prefix(path) => self.raise(self.id(Kind::Prefix, path.as_bytes()), local),
                Target::Tag(path) => self.raise(self.id(Kind::Tag, path.as_bytes()), local),
                Target::Pattern(region, pattern) => self.raise_pattern(region, pattern, local),
            }
        }
        local
    }

    /// Everything a record names has been raised: from now on it counts as applied.
    fn publish(&self, local: u64) {
        let order = if crate::seeded_bug!("applied_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        self.applied.store(local, order);
    }

    fn raise(&self, id: u64, local: u64) {
        let table = self.table.load();
        if table.is_full() && table.last(id) == 0 {
            self.make_room(&table);
        }
        self.table.load().raise(id, local);
    }

    /// Grows the table, or, at its cap, raises the floor to the middle of what it holds and drops what is below.
    fn make_room(&self, table: &Table) {
        if table.len() < self.targets_max {
            self.table.store(Arc::new(table.rebuilt(table.len() * 2, 0)));
            return;
        }
        let mut lasts: Vec<u64> = table.iter().map(|(_, last)| last).collect();
        let middle = lasts.len() / 2;
        let (_, floor, _) = lasts.select_nth_unstable(middle);
        let floor = *floor;
        if crate::seeded_bug!("floor_after_drop") {
            self.table.store(Arc::new(table.rebuilt(self.targets_max, floor)));
        }
        // The floor first: a reader that finds a target gone must find the floor raised.
        if !crate::seeded_bug!("floor_not_raised") {
            self.floor.fetch_max(floor, Ordering::Release);
        }
        self.table.store(Arc::new(table.rebuilt(self.targets_max, floor)));
    }

    fn raise_pattern(&self, region: &Path, pattern: &Pattern, local: u64) {
        let old = self.patterns.load();
        let same = |p: &&Patterned| p.region == *region && p.pattern == *pattern;
        let mut kept: Vec<_> = old.iter().filter(|p| !same(p)).cloned().collect();
        if kept.len() >= self.targets_max.min(PATTERNS_MAX) {
            // In order of their numbers: the older half goes, and the floor rises to the newest of it.
            let newer = kept.split_off(kept.len() / 2);
            if let Some(dropped) = kept.last()
                && !crate::seeded_bug!("patterns_floor_not_raised")
            {
                self.floor.fetch_max(dropped.last, Ordering::Release);
            }
            kept = newer;
        }
        kept.push(Patterned { region: region.clone(), pattern: pattern.clone(), last: local });
        self.patterns.store(Arc::new(kept));
        self.patterned.store(local, Ordering::Release);
    }

    fn id(&self, kind: Kind, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(kind as u8);
        hasher.write(bytes);
        // 0 marks a free slot.
        hasher.finish().max(1)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Chain>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Chain>> {
        self.chain.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences")
            .field("head", &self.head())
            .field("applied", &self.applied.load(Ordering::Relaxed))
            .field("floor", &self.floor.load(Ordering::Relaxed))
            .field("targets", &self.table.load().len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Key = 1,
    Prefix = 2,
    Tag = 3,
}
