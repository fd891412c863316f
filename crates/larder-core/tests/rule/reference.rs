//! The reference of the rule: a plain list of what was applied, and the question asked of all of it.

use crate::names::{Known, names};
use larder_core::{Act, Intent, Link, Record, Target, Verdict};

/// When a load was born, as the reference counts: in which adoption of a history, and after how many events.
/// Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Born {
    adoption: usize,
    after: usize,
}

/// Everything a node was told, in order.
#[derive(Default)]
pub(crate) struct Reference {
    adoptions: usize,
    /// What each record and each local fence named.
    events: Vec<Vec<Target>>,
    /// The links of the history followed now, each with the number of events when it had just been applied.
    links: Vec<(Link, usize)>,
    open: Vec<Intent>,
}

impl Reference {
    pub(crate) fn adopt(&mut self, link: Link) {
        self.adoptions += 1;
        self.links = vec![(link, self.events.len())];
    }

    pub(crate) fn apply(&mut self, record: &Record) {
        match record.act {
            Act::Invalidate => self.fence(&record.targets),
            Act::Open { intent: id, lasts } => {
                // It counts as an event, which names nothing.
                self.fence(&[]);
                if self.open.iter().all(|intent| intent.id != id) {
                    self.open.push(Intent { id, lasts, targets: record.targets.as_slice().into() });
                }
            }
            Act::Close { intent } => {
                self.fence(&record.targets);
                self.open.retain(|open| open.id != intent);
            }
        }
        self.links.push((record.link, self.events.len()));
    }

    /// What the journal would say is open.
    pub(crate) fn open(&self) -> Vec<Intent> {
        self.open.clone()
    }

    pub(crate) fn fence(&mut self, targets: &[Target]) {
        self.events.push(targets.to_vec());
    }

    pub(crate) fn head(&self) -> Option<Link> {
        self.links.last().map(|(link, _)| *link)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = Link> {
        self.links.iter().map(|(link, _)| *link)
    }

    pub(crate) fn birth(&self) -> Option<Born> {
        self.head().map(|_| Born { adoption: self.adoptions, after: self.events.len() })
    }

    pub(crate) fn locate(&self, stamp: Link) -> Option<Born> {
        let (_, after) = self.links.iter().find(|(link, _)| *link == stamp)?;
        Some(Born { adoption: self.adoptions, after: *after })
    }

    /// The rule.
    pub(crate) fn verdict(&self, born: Born, entry: &Known) -> Verdict {
        if born.adoption != self.adoptions {
            return Verdict::BelowFloor;
        }
        let named = self.events[born.after..].iter().flatten().any(|target| names(target, entry));
        let intended =
            self.open.iter().flat_map(|intent| &*intent.targets).any(|target| names(target, entry));
        match (named, intended) {
            (true, _) => Verdict::Invalidated,
            (false, true) => Verdict::Intended,
            (false, false) => Verdict::Fresh,
        }
    }
}
