//! A node whose table is too small, and a reference that remembers everything.

use crate::Step;
use larder_core::{
    Act, Birth, Cause, Dependencies, Epoch, Fences, Link, Path, Pattern, Record, Tag, Target, Tenant,
    Verdict, key, tag,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

/// No table is smaller, whatever is asked for.
pub(crate) const TARGETS_MIN: usize = 32;
/// As many patterns are remembered.
pub(crate) const PATTERNS_MAX: usize = 512;

struct Entry {
    name: u64,
    birth: Birth,
    after: usize,
    dependencies: Dependencies,
    checked: AtomicU64,
}

/// How names are named by records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// Odd ones by their tag, even ones by their key.
    Exactly,
    ByPattern,
}

/// A node, and for each name the number of the last event that named it.
pub(crate) struct Pair {
    node: Fences,
    named: Named,
    half: usize,
    link: Link,
    events: usize,
    last: HashMap<u64, usize>,
    entries: Vec<Entry>,
    /// Names, with the event a stored copy is born after.
    stored: Vec<(u64, Link, usize)>,
    /// Looks at entries that were fresh but no longer known to be.
    pub(crate) forgotten: usize,
    draw: u64,
}

fn path(name: u64) -> Path {
    Path::of_region(&Tenant::common(), "r").below(&key![name])
}

fn tag_of(name: u64) -> [Tag; 1] {
    [tag!["t", name]]
}

impl Pair {
    pub(crate) fn new(named: Named, targets_max: usize) -> Self {
        let link = Link { epoch: Epoch::new(1), position: 0, nonce: 0 };
        let node = Fences::new(3, targets_max);
        node.adopt(link, &[]);
        let room = match named {
            Named::Exactly => targets_max.max(TARGETS_MIN),
            Named::ByPattern => targets_max.min(PATTERNS_MAX),
        };
        Pair {
            node,
            named,
            half: room / 2,
            link,
            events: 0,
            last: HashMap::new(),
            entries: Vec::new(),
            stored: Vec::new(),
            forgotten: 0,
            draw: 0,
        }
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Burst { records, targets, local, out_of } => {
                (0..*records).for_each(|_| self.announce(*targets, *local, *out_of));
                Ok(())
            }
            Step::Load(names) => {
                let used = self.draw + 3;
                names.iter().for_each(|at| self.load(at.index(used as usize) as u64));
                Ok(())
            }
            Step::Check => self.check(),
        }
    }

    fn target(&self, name: u64) -> Target {
        match self.named {
            Named::Exactly if name % 2 == 1 => Target::tag(tag!["t", name]),
            Named::Exactly => Target::key("r", key![name]),
            Named::ByPattern => Target::pattern("r", Pattern::new().exact(name)),
        }
    }

    fn announce(&mut self, targets: usize, local: bool, out_of: Option<u64>) {
        let names: Vec<u64> = (0..targets)
            .map(|_| {
                self.draw += 1;
                // Not at random, but far from in order.
                out_of.map_or(self.draw, |of| self.draw.wrapping_mul(0x9E37_79B9_7F4A_7C15) % of)
            })
            .collect();
        self.announce_names(&names, local);
    }

    pub(crate) fn announce_names(&mut self, names: &[u64], local: bool) {
        self.events += 1;
        self.last.extend(names.iter().map(|name| (*name, self.events)));
        let targets: Vec<Target> = names.iter().map(|name| self.target(*name)).collect();
        if local {
            self.node.fence(&targets);
            return;
        }
        self.link.position += 1;
        self.link.nonce = self.link.position ^ 0xABCD;
        self.node
            .apply(&Record { link: self.link, act: Act::Invalidate, targets, cause: Cause::default() })
            .unwrap();
        if self.link.position.is_multiple_of(97) {
            self.stored.push((names[0], self.link, self.events));
        }
    }

    pub(crate) fn load(&mut self, name: u64) {
        let birth = self.node.birth().unwrap();
        let dependencies = self.node.dependencies(&path(name), &tag_of(name), &[]);
        let checked = AtomicU64::new(0);
        self.entries.push(Entry { name, birth, after: self.events, dependencies, checked });
    }

    fn is_fresh(&self, name: u64, after: usize) -> bool {
        self.last.get(&name).is_none_or(|last| *last <= after)
    }

    /// How many different targets were named after an event.
    fn named_since(&self, after: usize) -> usize {
        self.last.values().filter(|last| **last > after).count()
    }

    pub(crate) fn check(&mut self) -> Result<(), TestCaseError> {
        let mut forgotten = 0;
        for entry in &self.entries {
            for checked in [&entry.checked, &AtomicU64::new(0)] {
                let verdict = self.node.check(entry.birth, &entry.dependencies, checked, || path(entry.name));
                forgotten += self.compare(verdict, entry.name, entry.after)?;
            }
        }
        for (name, stamp, after) in &self.stored {
            let dependencies = self.node.dependencies(&path(*name), &tag_of(*name), &[]);
            let ask = |b| self.node.check(b, &dependencies, &AtomicU64::new(0), || path(*name));
            let verdict = self.node.locate(*stamp).map_or(Verdict::BelowFloor, ask);
            forgotten += self.compare(verdict, *name, *after)?;
        }
        self.forgotten += forgotten;
        Ok(())
    }

    /// Returns 1 for an entry that is fresh but no longer known to be.
    fn compare(&self, verdict: Verdict, name: u64, after: usize) -> Result<usize, TestCaseError> {
        if verdict != Verdict::BelowFloor {
            let wanted = if self.is_fresh(name, after) { Verdict::Fresh } else { Verdict::Invalidated };
            prop_assert_eq!(verdict, wanted, "name {} born after {} of {}", name, after, self.events);
            return Ok(0);
        }
        let since = self.named_since(after);
        prop_assert!(since >= self.half, "forgotten although only {} targets were named since", since);
        prop_assert!(self.last.len() > self.half * 2, "forgotten although everything had room");
        Ok(usize::from(self.is_fresh(name, after)))
    }
}
