//! The keys of a namespace's journal.

use crate::redis::name_of;

/// The names a namespace's journal uses, and no other.
pub(super) struct Names {
    pub(super) namespace: Box<str>,
    /// A hash: where the history ends and begins, and what is open.
    pub(super) head: Vec<u8>,
    /// A stream: the records.
    pub(super) log: Vec<u8>,
    /// A hash: the bodies of large records.
    pub(super) large: Vec<u8>,
    /// A hash: which nodes are there.
    pub(super) nodes: Vec<u8>,
    /// Where hints are published.
    pub(super) channel: Vec<u8>,
}

impl Names {
    pub(super) fn of(namespace: &str) -> Self {
        let name = |what| name_of(namespace, what);
        Names {
            namespace: namespace.into(),
            head: name("head"),
            log: name("log"),
            large: name("large"),
            nodes: name("nodes"),
            channel: name("changed"),
        }
    }

    /// As scripts want them.
    pub(super) fn keys(&self) -> [&[u8]; 3] {
        [&self.head, &self.log, &self.large]
    }
}
