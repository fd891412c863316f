//! The list: everything a node was told, in order, and the rule asked of all of it. Slow and plain; it knows nothing of
//! numbers, tables or hashes.

use larder_core::{Act, IntentId, Link, Path, Segment, Segments, Target, Verdict};
use std::collections::HashSet;

/// When a load was born: in which adoption of a history, and after how many things told. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Born {
    adoption: usize,
    after: usize,
}

/// What an entry is known by: its key, the keys of the entries it was built from, and the tags of all of them, each
/// with its tenant.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) keys: Vec<Path>,
    pub(super) tags: Vec<Segments>,
}

#[derive(Default)]
pub(super) struct List {
    adoptions: usize,
    told: Vec<Vec<Target>>,
    /// The links of the history followed now, each with how much had been told when it had just been applied.
    links: Vec<(Link, usize)>,
    /// What was named since the last adoption, patterns apart.
    names: HashSet<Target>,
    patterns: HashSet<Target>,
    /// In the order they were opened.
    intents: Vec<(IntentId, Vec<Target>)>,
}

impl List {
    /// `open`: what was open stays so.
    pub(super) fn adopt(&mut self, link: Link, open: bool) {
        self.adoptions += 1;
        self.intents.retain(|_| open);
        self.links = vec![(link, self.told.len())];
        self.names.clear();
        self.patterns.clear();
    }

    pub(super) fn apply(&mut self, link: Link, act: Act, targets: &[Target]) {
        match act {
            Act::Invalidate => self.tell(targets),
            Act::Open { intent, .. } => {
                if !self.open().contains(&intent) {
                    self.intents.push((intent, targets.to_vec()));
                }
                self.told.push(Vec::new());
            }
            Act::Close { intent } => {
                self.intents.retain(|(open, _)| *open != intent);
                self.tell(targets);
            }
        }
        self.links.push((link, self.told.len()));
    }

    pub(super) fn tell(&mut self, targets: &[Target]) {
        for target in targets {
            match target {
                Target::Everything => {}
                Target::Pattern(..) => drop(self.patterns.insert(target.clone())),
                _ => drop(self.names.insert(target.clone())),
            }
        }
        self.told.push(targets.to_vec());
    }

    pub(super) fn open(&self) -> Vec<IntentId> {
        self.intents.iter().map(|(id, _)| *id).collect()
    }

    /// Whether there were more names than so many, of either kind.
    pub(super) fn is_over(&self, room: usize) -> bool {
        self.names.len() > room || self.patterns.len() > room
    }

    pub(super) fn head(&self) -> Option<Link> {
        self.links.last().map(|(link, _)| *link)
    }

    pub(super) fn links(&self) -> Vec<Link> {
        self.links.iter().map(|(link, _)| *link).collect()
    }

    pub(super) fn birth(&self) -> Option<Born> {
        self.head().map(|_| Born { adoption: self.adoptions, after: self.told.len() })
    }

    /// Whether nothing was told since.
    pub(super) fn is_newest(&self, born: Born) -> bool {
        self.birth() == Some(born)
    }

    pub(super) fn locate(&self, stamp: Link) -> Option<Born> {
        let (_, after) = self.links.iter().find(|(link, _)| *link == stamp)?;
        Some(Born { adoption: self.adoptions, after: *after })
    }

    /// The rule.
    pub(super) fn verdict(&self, born: Born, entry: &Known) -> Verdict {
        if born.adoption != self.adoptions {
            return Verdict::BelowFloor;
        }
        let named = self.told[born.after..].iter().flatten().any(|target| names(target, entry));
        let intended = || self.intents.iter().flat_map(|(_, named)| named).any(|target| names(target, entry));
        match named {
            true => Verdict::Invalidated,
            false if intended() => Verdict::Intended,
            false => Verdict::Fresh,
        }
    }
}

fn names(target: &Target, entry: &Known) -> bool {
    match target {
        Target::Everything => true,
        Target::Key(path) => entry.keys.contains(path),
        Target::Prefix(path) => entry.keys.iter().any(|key| below(key, path).is_some()),
        Target::Tag(path) => entry.tags.iter().any(|tag| tag == path.segments()),
        Target::Pattern(path, pattern) => {
            entry.keys.iter().any(|key| below(key, path).is_some_and(|rest| pattern.matches(rest)))
        }
    }
}

/// The segments of `key` after those of `head`, if it begins with them.
fn below<'a>(key: &'a Path, head: &Path) -> Option<Vec<Segment<'a>>> {
    let whole: Vec<_> = key.segments().iter().map(|(segment, _)| segment).collect();
    let head: Vec<_> = head.segments().iter().map(|(segment, _)| segment).collect();
    (whole.len() >= head.len() && whole[..head.len()] == head).then(|| whole[head.len()..].to_vec())
}
