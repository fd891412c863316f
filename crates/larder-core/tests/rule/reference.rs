//! The reference of the rule: a plain list of what was applied, and the question asked of all of it.

use crate::names::{Known, names};
use larder_core::{Link, Target, Verdict};

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
}

impl Reference {
    pub(crate) fn adopt(&mut self, link: Link) {
        self.adoptions += 1;
        self.links = vec![(link, self.events.len())];
    }

    pub(crate) fn apply(&mut self, link: Link, targets: &[Target]) {
        self.fence(targets);
        self.links.push((link, self.events.len()));
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
        if named { Verdict::Invalidated } else { Verdict::Fresh }
    }
}
