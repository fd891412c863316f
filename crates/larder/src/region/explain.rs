//! Why a key is, or is not, served: an answer for people, from the tiers and the journal.

use super::{IntoKey, Region};
use crate::error::Error;
use larder_core::{Record, Verdict};
use std::fmt;

/// What became of a key, as [`Region::explain`] found it.
#[derive(Clone, Debug)]
pub struct Explanation {
    verdict: Option<Verdict>,
    record: Option<Record>,
}

impl Explanation {
    /// Whether a tier holds an entry of the key, fresh or not.
    pub fn is_held(&self) -> bool {
        self.verdict.is_some()
    }

    /// Whether that entry is fresh by the rule. It may be past its TTL.
    pub fn is_fresh(&self) -> bool {
        self.verdict.is_some_and(Verdict::is_fresh)
    }

    /// Whether a record named something that entry depends on after it was born.
    pub fn is_invalidated(&self) -> bool {
        self.verdict == Some(Verdict::Invalidated)
    }

    /// The record that invalidated the entry; of one that was not invalidated, the last that named something it depends on. When no
    /// tier holds one, its tags are not known, and it is the last that named the key or leading segments of it. `None` if the
    /// journal keeps no such record (any more).
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}

/// One line, without keys: `invalidated by record 7: postgres trigger public.appointment UPDATE`.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            None => "in no tier",
            Some(Verdict::Fresh) => "fresh",
            Some(Verdict::Invalidated) => "invalidated",
            Some(Verdict::BelowFloor) => "older than what this node remembers",
            Some(Verdict::Intended) => "about to be written",
            Some(Verdict::Unconfirmed) => "not confirmed: the journal was not asked in time",
        })?;
        let Some(record) = &self.record else { return Ok(()) };
        let how = if self.is_invalidated() { " by record" } else { "; last named by record" };
        write!(f, "{how} {}: {}", record.link.position, record.cause)
    }
}

impl<T: Send + Sync + 'static> Region<T> {
    /// Why a key is, or is not, served: for people who wonder, and for support tools. Asks the journal for all it keeps, so it
    /// takes a while, and has no place in a request; loads nothing.
    ///
    /// # Errors
    /// When the key is invalid, or the journal cannot be asked.
    pub async fn explain<'k>(&self, key: impl IntoKey<'k>) -> Result<Explanation, Error> {
        let key = key.into_key(self.scope.id)?;
        let explained = self.engine.explain(&self.scope, &key).await?;
        Ok(Explanation { verdict: explained.verdict, record: explained.record })
    }
}
