//! The journal port: the ordered list of invalidations of a namespace, and the authority on it.

use super::{BoxFuture, Source};
use crate::attendance::{Attendance, NodeId};
use crate::position::{Epoch, Link};
use crate::record::{Act, Cause, Intent, Record};
use crate::target::Target;
use std::fmt;
use std::time::Duration;

/// What a journal holds, in one atomic answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The place before the oldest record still kept; reading may begin here. Position 0 if none was dropped.
    pub oldest: Link,
    /// The newest record, or `oldest` when there is none.
    pub head: Link,
    /// The intents that are open as of the head, whether or not the records that opened them are still kept.
    pub open: Vec<Intent>,
}

/// Some records in order, and how far there is to go, in one atomic answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records right after the place asked for, without a gap; at most as many as asked for, and fewer when they
    /// are large. Not empty unless the place asked for is the head.
    pub records: Vec<Record>,
    /// The newest record when the page was read. When it is the last one of `records` (or the place asked for, when
    /// there are none), the reader is up to date as of the moment it asked.
    pub head: Link,
}

/// Where a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub link: Link,
    /// The place right before it, in the same answer, if the journal can say: whoever has applied all of history up to
    /// there needs nothing but this record to have applied all of it up to `link`.
    pub after: Option<Link>,
}

/// What a hint says. It comes by any way, late, twice or never, and renews no lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// That there may be something new.
    Look,
    /// That this record was appended, right after this place: whoever has applied all of history up to there may apply it.
    /// The journal may have lost it since.
    Record {
        /// What it followed.
        after: Link,
        /// The record.
        record: Box<Record>,
    },
}

/// The journal of any number of namespaces.
///
/// The contract, pinned by the conformance suite:
/// - positions are dense from 1; a record is in every later answer, or the epoch has changed;
/// - `record` returns after the record is durable to the journal's own standard, and any `read` or `history` that
///   begins later sees it;
/// - every answer comes from the authority itself, never from a copy that may lag;
/// - a rolled-back transaction leaves nothing;
/// - what cannot be read back, such as a damaged record, is never skipped: it is an error, or history diverged;
/// - old records may be dropped; `oldest` then moves, and reading may begin exactly there;
/// - an intent stays open until a record closes it: dropping old records does not, nor does a new epoch.
pub trait Journal: Send + Sync + 'static {
    /// What the journal holds of this namespace; creates the namespace, with a random epoch, on first use.
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>>;

    /// Up to `limit` (at least 1) records after `after`.
    ///
    /// # Errors
    /// [`JournalError::is_diverged`] when `after` is not in the journal's history (other epoch, unknown nonce, or
    /// beyond the head), or a record after it is missing or damaged; [`JournalError::is_compacted`] when records after it are no longer kept.
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>>;

    /// Appends one record of at least one target and returns its place. Dropped, it may still take effect.
    ///
    /// # Errors
    /// Refused without targets, when they are too large for one record, or when an intent of this name, or too many of
    /// any, are open already;
    /// [`JournalError::is_indeterminate`] when it may or may not have been appended.
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>>;

    /// [`Journal::record`] of an invalidation; its place.
    ///
    /// # Errors
    /// As [`Journal::record`].
    fn append<'a>(
        &'a self,
        namespace: &'a str,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Link, JournalError>> {
        let recorded = self.record(namespace, Act::Invalidate, targets, cause);
        Box::pin(async move { Ok(recorded.await?.link) })
    }

    /// Starts a new epoch if the current one is still `seen`, because a node saw more of it than the journal
    /// now holds. Positions go on from the head; what the old epoch's records said is dropped. Right after it,
    /// `oldest` and `head` are one link: the new epoch, the position of the old head, and a nonce of its own. Open
    /// intents stay open.
    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>>;

    /// Notes that a node is there and has applied everything up to `applied`, for `lasts` from now by the authority's own
    /// clock; then, unless it says so again, it is forgotten. For no time: it is forgotten at once. A journal that does
    /// not keep an attendance does nothing.
    fn attend<'a>(
        &'a self,
        _namespace: &'a str,
        _node: NodeId,
        _applied: Link,
        _lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// [`Journal::attend`] with `after` as what was applied, and then [`Journal::read`]: in this order at the authority,
    /// and in one question where it can be.
    ///
    /// # Errors
    /// As [`Journal::read`].
    fn read_attending<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        lasts: Duration,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move {
            self.attend(namespace, node, after, lasts).await?;
            self.read(namespace, after, limit).await
        })
    }

    /// Who is there, from the authority itself; `None` if this journal does not keep an attendance.
    fn attendance<'a>(
        &'a self,
        _namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Completes when there may be something that this handle has not read: a hint, never relied upon. May complete
    /// for no reason, and may never complete.
    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Hint>;

    /// Whether hints come in at the moment, as far as is known; `None` of a journal whose hints need no connection.
    fn is_listening(&self, _namespace: &str) -> Option<bool> {
        None
    }

    /// A short name for messages and metrics: `memory`, `sqlite`.
    fn name(&self) -> &'static str;

    /// Closes this handle: later calls fail. With the last handle, background work ends.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Why a journal could not do what was asked.
#[derive(Debug)]
pub struct JournalError {
    kind: Kind,
    message: String,
    source: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Diverged,
    Compacted,
    Indeterminate,
    Failed,
}

impl JournalError {
    /// The place asked for is not in the journal's history.
    pub fn diverged(message: impl Into<String>) -> Self {
        Self::of(Kind::Diverged, message, None)
    }

    /// Records after the place asked for are no longer kept.
    pub fn compacted(message: impl Into<String>) -> Self {
        Self::of(Kind::Compacted, message, None)
    }

    /// The operation may or may not have taken effect.
    pub fn indeterminate(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::of(Kind::Indeterminate, message, Some(source.into()))
    }

    /// The operation did not take effect.
    pub fn failed(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::of(Kind::Failed, message, Some(source.into()))
    }

    /// The operation did not take effect, and no other error is to blame: closed, refused, malformed.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::of(Kind::Failed, message, None)
    }

    fn of(kind: Kind, message: impl Into<String>, source: Option<Source>) -> Self {
        JournalError { kind, message: message.into(), source }
    }

    /// Whether the place asked for is not in the journal's history.
    pub fn is_diverged(&self) -> bool {
        self.kind == Kind::Diverged
    }

    /// Whether records after the place asked for are no longer kept.
    pub fn is_compacted(&self) -> bool {
        self.kind == Kind::Compacted
    }

    /// Whether the operation may or may not have taken effect.
    pub fn is_indeterminate(&self) -> bool {
        self.kind == Kind::Indeterminate
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal: {}", self.message)
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
