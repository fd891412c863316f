//! Why a key is, or is not, served: what the tiers hold of it, and which record of the journal named it. For people; a look at
//! all that the journal keeps, so never part of a read.

use super::{Engine, Scope};
use crate::memory::{Entry, Key};
use larder_core::port::JournalError;
use larder_core::{Record, Verdict};
use std::sync::Arc;

/// Records read at once.
const PAGE: usize = 1024;

/// What there is to say of a key.
pub(crate) struct Explained {
    /// `None`: in no tier.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) record: Option<Record>,
}

impl Engine {
    /// What became of a key: of its entry in memory, or else in the nearest store that has one.
    pub(crate) async fn explain(&self, scope: &Scope, key: &Key) -> Result<Explained, JournalError> {
        self.catch_up().await?;
        let confirmed = self.fences.lease().load();
        let entry = self.entry_anywhere(scope, key).await;
        let verdict = entry.as_ref().map(|entry| self.judge(scope, key, entry, confirmed).0);
        let path = scope.path_of(key);
        // Of an entry that nobody has, the tags are not known.
        let own = self.fences.dependencies(&path, &[], &[]);
        let dependencies = entry.as_ref().map_or(&own, |entry| &entry.dependencies);
        let born = entry.as_ref().and_then(|entry| entry.born).map(|born| born.stamp);
        let is_stale = verdict == Some(Verdict::Invalidated);
        let mut at = self.ask(self.journal.history(&self.namespace)).await?.oldest;
        let mut found = None;
        loop {
            let page = self.ask(self.journal.read(&self.namespace, at, PAGE)).await?;
            let Some(last) = page.records.last() else { break };
            at = last.link;
            let is_end = at.position >= page.head.position;
            for record in page.records {
                let is_after = born.is_none_or(|born| record.link.position > born.position);
                // The first that made it stale; of one that is not stale, the last that named it.
                if (is_after || !is_stale) && self.fences.is_named(dependencies, &path, &record.targets) {
                    found = Some(record);
                    if is_stale {
                        return Ok(Explained { verdict, record: found });
                    }
                }
            }
            if is_end {
                break;
            }
        }
        Ok(Explained { verdict, record: found })
    }

    async fn entry_anywhere(&self, scope: &Scope, key: &Key) -> Option<Arc<Entry>> {
        if let Some(entry) = self.memory.peek(key) {
            return Some(entry);
        }
        for tier in 0..self.tiers.len() {
            if let Ok(Some(entry)) = self.fetch_one(scope, tier, key).await {
                return Some(entry);
            }
        }
        None
    }
}
