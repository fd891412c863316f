//! A history fixed in advance, so that any thread can say what a record named without asking another.

use larder_core::{
    Act, Cause, Dependencies, Epoch, Fences, Link, Path, Pattern, Record, Tag, Target, Tenant, key, tag,
};

/// What records name.
#[derive(Clone, Copy)]
pub(crate) enum Naming {
    /// Two of so many tags.
    Tags(u64),
    /// A tag no record has named before.
    NewTags,
    /// A pattern that matches what the readers look at.
    Pattern,
}

pub(crate) struct History {
    /// For each tag, the records that name it, in order.
    named: Vec<Vec<u64>>,
    naming: Naming,
    records_per_epoch: u64,
}

/// Spreads numbers; the same ones each time.
pub(crate) fn spread(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    n ^ (n >> 29)
}

impl History {
    pub(crate) fn new(records: u64, naming: Naming, records_per_epoch: u64) -> Self {
        let tags = match naming {
            Naming::Tags(tags) => tags,
            Naming::NewTags => records + 2,
            Naming::Pattern => 1,
        };
        let mut history = History { named: vec![Vec::new(); tags as usize], naming, records_per_epoch };
        for n in 1..=records {
            for tag in history.tags_of(n) {
                history.named[tag as usize].push(n);
            }
        }
        history
    }

    fn tags_of(&self, n: u64) -> [u64; 2] {
        match self.naming {
            Naming::Tags(tags) => [spread(n) % tags, spread(!n) % tags],
            Naming::NewTags => [n, n],
            Naming::Pattern => [0, 0],
        }
    }

    /// The tag of an entry born right after a record; for new tags, one that is named soon.
    pub(crate) fn tag(&self, drawn: u64, position: u64) -> u64 {
        match self.naming {
            Naming::NewTags => (position + 1 + drawn % 2).min(self.named.len() as u64 - 1),
            _ => spread(drawn) % self.named.len() as u64,
        }
    }

    pub(crate) fn epoch_of(&self, n: u64) -> Epoch {
        Epoch::new((n.saturating_sub(1) / self.records_per_epoch).into())
    }

    /// Whether another history begins with this record.
    pub(crate) fn begins_epoch(&self, n: u64) -> bool {
        self.epoch_of(n) != self.epoch_of(n - 1)
    }

    pub(crate) fn link(&self, n: u64) -> Link {
        Link { epoch: self.epoch_of(n), position: n, nonce: spread(n) }
    }

    /// The place before this record, in this record's epoch.
    pub(crate) fn before(&self, n: u64) -> Link {
        Link { position: n - 1, nonce: spread(n) | 1, ..self.link(n) }
    }

    /// Keys that are named once only, to fill the table and take time; then what the readers look for.
    pub(crate) fn record(&self, n: u64, fillers: u64) -> Record {
        let fillers = (0..fillers).map(|filler| Target::key("filler", key![n, filler]));
        let named = self.tags_of(n).into_iter().map(|tag| match self.naming {
            Naming::Pattern => Target::pattern("r", Pattern::new().any()),
            _ => Target::tag(tag!["t", tag]),
        });
        Record {
            link: self.link(n),
            act: Act::Invalidate,
            targets: fillers.chain(named).collect(),
            cause: Cause::default(),
        }
    }

    /// The newest record up to `upto` that names the tag; 0 if there is none.
    pub(crate) fn last_named(&self, tag: u64, upto: u64) -> u64 {
        let named = &self.named[tag as usize];
        named[..named.partition_point(|n| *n <= upto)].last().copied().unwrap_or(0)
    }

    pub(crate) fn dependencies(&self, node: &Fences, tag: u64) -> Dependencies {
        let tag: Tag = tag!["t", tag];
        node.dependencies(&key_of_all(), &[tag], &[])
    }
}

/// No record names it, nor any prefix of it; some name a pattern that matches it.
pub(crate) fn key_of_all() -> Path {
    Path::of_region(&Tenant::common(), "r").below(&key![1u8])
}
