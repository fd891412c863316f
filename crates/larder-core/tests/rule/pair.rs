//! A node and its reference, told the same things and compared after each.

use crate::names::Known;
use crate::reference::{Born, Reference};
use crate::steps::{Adopt, Misfit, Shape, Step, Twist};
use larder_core::{
    Act, Birth, Cause, Dependencies, Epoch, Fences, IntentId, Link, Path, Record, Target, Verdict,
};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Checked = Result<(), TestCaseError>;

struct Entry {
    /// With the tags of the entries it was built from, if they are of its tenant.
    shape: Shape,
    /// Whether its tags say all that `known` does; only such an entry can be stored.
    nameable: bool,
    known: Known,
    dependencies: Dependencies,
    checked: AtomicU64,
    birth: Birth,
    born: Born,
}

pub(crate) struct Pair {
    node: Fences,
    reference: Reference,
    records: Vec<Record>,
    links: Vec<Link>,
    births: Vec<(Birth, Born)>,
    entries: Vec<Entry>,
    clock: u64,
    pub(crate) seen: BTreeMap<&'static str, u32>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Pair {
            node: Fences::new(9, 1 << 16),
            reference: Reference::default(),
            records: Vec::new(),
            links: Vec::new(),
            births: Vec::new(),
            entries: Vec::new(),
            clock: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Adopts the first history.
    pub(crate) fn begin(&mut self) -> Checked {
        self.step(&Step::Adopt(Adopt::OtherEpoch(0, 0)))
    }

    /// Does one thing to both, and compares what can be seen of them. The lease holds before, so that its loss shows.
    pub(crate) fn step(&mut self, step: &Step) -> Checked {
        self.clock += 1;
        self.node.lease().extend(self.clock);
        let trusted = self.act(step)?;
        prop_assert_eq!(self.node.lease().load().since(), trusted.then_some(self.clock), "{:?}", step);
        prop_assert_eq!(self.node.head(), self.reference.head());
        prop_assert_eq!(self.node.birth().map(|birth| birth.stamp), self.reference.head());
        Ok(())
    }

    /// Returns whether the lease is to hold still.
    fn act(&mut self, step: &Step) -> Result<bool, TestCaseError> {
        match step {
            Step::Adopt(adopt) => return Ok(!self.adopt(adopt)),
            Step::Apply { seen_before, targets } => return self.apply(*seen_before, targets),
            Step::Intend { id, open, targets } => return self.intend(IntentId::new(*id), *open, targets),
            Step::Misfit(misfit, targets) => return self.misfit(misfit, targets),
            Step::Fence(targets) => {
                self.node.fence(targets);
                self.reference.fence(targets);
            }
            Step::Birth => self.births.extend(self.node.birth().zip(self.reference.birth())),
            Step::Keep(birth, shape) => {
                if let Some((birth, born)) = pick(&self.births, birth) {
                    self.keep(birth, born, shape.clone(), &[]);
                }
            }
            Step::Nest(birth, shape, from) => {
                if let Some((birth, born)) = pick(&self.births, birth).filter(|_| !self.entries.is_empty()) {
                    self.count("nested");
                    let from: Vec<_> = from.iter().map(|at| at.index(self.entries.len())).collect();
                    self.keep(birth, born, shape.clone(), &from);
                }
            }
            Step::Find(link, twist, shape) => self.find(link, *twist, shape)?,
            Step::Check(first, count) => self.check(first.index(self.entries.len().max(1)), *count)?,
        }
        Ok(true)
    }

    fn adopt(&mut self, adopt: &Adopt) -> bool {
        let head = self.reference.head();
        let link = match adopt {
            Adopt::Head => head,
            Adopt::Back(at) => pick(&self.links, at),
            Adopt::Ahead(by) => head.map(|head| self.link(head.epoch, head.position + by)),
            Adopt::OtherEpoch(epoch, position) => Some(self.link(Epoch::new((*epoch).into()), *position)),
        };
        let Some(link) = link else { return false };
        self.count("adopted");
        self.node.adopt(link, &self.reference.open());
        self.reference.adopt(link);
        self.links.push(link);
        true
    }

    fn apply(&mut self, seen_before: bool, targets: &[Target]) -> Result<bool, TestCaseError> {
        let Some(head) = self.reference.head() else {
            let record = self.record(self.link(Epoch::new(0), 1), targets);
            prop_assert!(self.node.apply(&record).is_err());
            return Ok(false);
        };
        let follows = |r: &&Record| r.link.epoch == head.epoch && r.link.position == head.position + 1;
        let old = self.records.iter().find(follows).filter(|_| seen_before).cloned();
        self.count(if old.is_some() { "seen before" } else { "new" });
        let record = old.unwrap_or_else(|| self.record(self.link(head.epoch, head.position + 1), targets));
        prop_assert_eq!(self.node.apply(&record), Ok(()));
        self.applied(record);
        Ok(true)
    }

    fn intend(&mut self, id: IntentId, open: bool, targets: &[Target]) -> Result<bool, TestCaseError> {
        let Some(head) = self.reference.head() else { return Ok(true) };
        let act = match open {
            true => Act::Open { intent: id, lasts: Duration::from_secs(1) },
            false => Act::Close { intent: id },
        };
        self.count(if open { "opened" } else { "closed" });
        let record = Record { act, ..self.record(self.link(head.epoch, head.position + 1), targets) };
        prop_assert_eq!(self.node.apply(&record), Ok(()));
        self.applied(record);
        Ok(true)
    }

    fn applied(&mut self, record: Record) {
        self.reference.apply(&record);
        self.links.push(record.link);
        self.records.push(record);
    }

    fn misfit(&mut self, misfit: &Misfit, targets: &[Target]) -> Result<bool, TestCaseError> {
        let Some(head) = self.reference.head() else { return Ok(true) };
        let applied: Vec<Link> = self.reference.links().collect();
        let link = match misfit {
            Misfit::Duplicate(at) => applied[at.index(applied.len())],
            Misfit::Gap(by) => self.link(head.epoch, head.position + 1 + by),
            Misfit::OtherEpoch(by) => {
                self.link(Epoch::new(head.epoch.get() + 1 + u128::from(*by)), head.position + 1)
            }
            Misfit::Rewound(at) => Link { nonce: self.clock, ..applied[at.index(applied.len())] },
            Misfit::Zero => Link { position: 0, nonce: self.clock, ..head },
        };
        let before = self.node.birth();
        let outcome = self.node.apply(&self.record(link, targets));
        let known = matches!(misfit, Misfit::Duplicate(_));
        self.count(if known { "duplicate" } else { "misfit" });
        prop_assert_eq!(outcome.is_ok(), known, "{:?}", misfit);
        // Nothing changed, the local number included; the entries are compared later.
        prop_assert_eq!(self.node.birth(), before);
        Ok(known)
    }

    fn find(&mut self, link: &Index, twist: Twist, shape: &Shape) -> Checked {
        let Some(mut stamp) = pick(&self.links, link) else { return Ok(()) };
        match twist {
            Twist::Nothing => {}
            Twist::Nonce => stamp.nonce ^= 1 << 63,
            Twist::Epoch => stamp.epoch = Epoch::new(!stamp.epoch.get()),
            Twist::Later(by) => stamp.position += by,
            Twist::Earlier(by) => stamp.position = stamp.position.saturating_sub(by),
        }
        let (birth, born) = (self.node.locate(stamp), self.reference.locate(stamp));
        prop_assert_eq!(birth.is_some(), born.is_some(), "{:?} of {:?}", twist, stamp);
        self.count(if birth.is_some() { "found" } else { "not found" });
        if let (Some(birth), Some(born)) = (birth, born) {
            prop_assert_eq!(birth.stamp, stamp, "promotion never re-stamps");
            self.births.push((birth, born));
            self.keep(birth, born, shape.clone(), &[]);
        }
        Ok(())
    }

    /// An entry, built from those at `from`: as old as the oldest, and dependent on all they depend on.
    fn keep(&mut self, birth: Birth, born: Born, shape: Shape, from: &[usize]) {
        let own = Path::of_region(&shape.tenant, &shape.region).below(&shape.key);
        let mut made = (birth, born);
        let mut known = Known { keys: Vec::new(), tags: Vec::new() };
        let (mut shape, mut nameable) = (shape, true);
        for from in from.iter().map(|at| &self.entries[*at]) {
            made = (made.0.min(from.birth), made.1.min(from.born));
            known.keys.extend(from.known.keys.iter().cloned());
            known.tags.extend(from.known.tags.iter().cloned());
            if from.shape.tenant == shape.tenant && from.nameable {
                shape.tags.extend(from.shape.tags.iter().cloned());
            } else {
                nameable = false;
            }
        }
        let mut dependencies = self.node.dependencies(&own, &shape.tags, &known.keys);
        if !nameable {
            from.iter().for_each(|at| dependencies.inherit(&self.entries[*at].dependencies));
        }
        known.keys.push(own);
        known.tags.extend(shape.tags.iter().map(|tag| Path::of_tenant(&shape.tenant).below(tag.segments())));
        if self.reference.verdict(made.1, &known) != Verdict::Fresh {
            self.count("dead on arrival");
        }
        let (birth, born) = made;
        let checked = AtomicU64::new(0);
        self.entries.push(Entry { shape, nameable, known, dependencies, checked, birth, born });
    }

    /// Compares what both say of some entries; each twice, since the first look is remembered for the second.
    pub(crate) fn check(&mut self, first: usize, count: usize) -> Checked {
        for at in (first..self.entries.len()).take(count) {
            let entry = &self.entries[at];
            let own = || Path::of_region(&entry.shape.tenant, &entry.shape.region).below(&entry.shape.key);
            let wanted = self.reference.verdict(entry.born, &entry.known);
            let before = entry.checked.load(Ordering::Relaxed);
            for look in 0..2 {
                let verdict = self.node.check(entry.birth, &entry.dependencies, &entry.checked, own);
                prop_assert_eq!(verdict, wanted, "look {} at {:?} born {:?}", look, entry.known, entry.birth);
            }
            let anew = self.node.check(entry.birth, &entry.dependencies, &AtomicU64::new(0), own);
            prop_assert_eq!(anew, wanted, "asked anew of {:?} born {:?}", entry.known, entry.birth);
            let shortcut = before != 0 && before == entry.checked.load(Ordering::Relaxed);
            self.count(match wanted {
                Verdict::Fresh => "Fresh",
                Verdict::Invalidated => "Invalidated",
                Verdict::Intended => "Intended",
                _ => "BelowFloor",
            });
            if shortcut && wanted.is_fresh() {
                self.count("shortcut");
            }
        }
        Ok(())
    }

    /// A link nobody has seen; the clock rises with each step, so its nonce is new.
    fn link(&self, epoch: Epoch, position: u64) -> Link {
        Link { epoch, position, nonce: if position == 0 { 0 } else { self.clock } }
    }

    fn record(&self, link: Link, targets: &[Target]) -> Record {
        Record { link, act: Act::Invalidate, targets: targets.to_vec(), cause: Cause::default() }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

fn pick<T: Copy>(from: &[T], at: &Index) -> Option<T> {
    (!from.is_empty()).then(|| from[at.index(from.len())])
}
