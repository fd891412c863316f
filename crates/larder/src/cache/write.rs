//! Guarded writes: the intent before the write, the wait for all nodes, the commit after it.
//!
//! Made by [`Cache::write`]. The guard knows nothing of the write itself: it only makes what is written uncacheable
//! around it, on every node.

use super::{Cache, check_targets};
use crate::error::Error;
use larder_core::expiry::nanos;
use larder_core::port::{JournalError, Nanos};
use larder_core::{Cause, Intent, Target, Token};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a guard lasts unless told otherwise.
const LASTING_DEFAULT: Duration = Duration::from_secs(10);
/// The longest it may last: its targets are uncacheable for so long if its process dies.
const LASTING_MAX: Duration = Duration::from_secs(3600);

/// A guarded write about to begin; await it for its [`WriteGuard`].
///
/// # Errors
/// When the intent could not be recorded ([`Error::is_journal`]; if it may have been all the same, it expires); when there
/// are no targets or too many, or [`Write::lasting`] is out of bounds ([`Error::is_invalid`]); when its time was over
/// before all nodes had been waited for ([`Error::is_guard_expired`]). In none of these cases may the write be done under
/// the promise of a guard.
#[must_use = "a write is guarded once this was awaited"]
pub struct Write {
    cache: Cache,
    targets: Vec<Target>,
    lasting: Duration,
    cause: Cause,
}

impl Write {
    pub(super) fn new(cache: Cache, targets: Vec<Target>) -> Self {
        Write { cache, targets, lasting: LASTING_DEFAULT, cause: Cause::new("guarded write") }
    }

    /// How long the write may take, its commit included, after all nodes were waited for; 10 s unless set, at most an
    /// hour. If the process dies, the targets stay uncacheable for about as long.
    pub fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// The cause that the journal keeps for people.
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = cause.into();
        self
    }

    async fn begin(self) -> Result<WriteGuard, Error> {
        check_targets("guarded write", &self.targets)?;
        if self.lasting.is_zero() || self.lasting > LASTING_MAX {
            let is = self.lasting;
            let expected = format!("expected more than zero and at most {LASTING_MAX:?}");
            return Err(Error::invalid(format!("guarded write lasts {is:?}; {expected}")));
        }
        let engine = self.cache.engine.clone();
        let lasts = engine.leases_last().saturating_add(nanos(self.lasting));
        let (targets, cause): (Arc<[Target]>, Cause) = (self.targets.into(), self.cause);
        let opening = {
            let (working, targets, cause) = (engine.clone(), targets.clone(), cause.clone());
            engine.carry_through(async move { working.open_intent(&targets, lasts, &cause).await })
        };
        let opened = opening.await??;
        let intent = Intent { id: opened.id, lasts: Duration::from_nanos(lasts), targets };
        let guard = WriteGuard { cache: self.cache, intent, cause, deadline: opened.deadline };
        let mut waiting = Unbegun(Some(guard));
        engine.wait_for_all(opened.since, Some(opened.link)).await?;
        if !engine.has_seen(&opened) {
            return Err(Error::from(JournalError::refused("the intent cannot be seen in the journal")));
        }
        match waiting.0.take() {
            Some(guard) if !guard.remaining().is_zero() => Ok(guard),
            _ => Err(Error::guard_expired()),
        }
    }
}

impl IntoFuture for Write {
    type Output = Result<WriteGuard, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("lasting", &self.lasting).finish_non_exhaustive()
    }
}

/// A guard nobody has been given: nothing was written under it, so it need not be left to expire.
struct Unbegun(Option<WriteGuard>);

impl Drop for Unbegun {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            let engine = guard.cache.engine.clone();
            engine.spawn(async move { drop(guard.close().await) });
        }
    }
}

/// While it lives, and until its intent is closed, no node serves what its targets name from a cache. See [`Cache::write`].
///
/// Write to the origin, then [`WriteGuard::commit`]. The write must not be able to land after the guard's time is over: give
/// the request a timeout `t`, and do not send it unless [`WriteGuard::remaining`] is more than `t`. When it is not known what
/// became of it, drop the guard: its intent expires, which invalidates its targets.
#[must_use = "dropped, its targets stay uncacheable until it expires"]
pub struct WriteGuard {
    cache: Cache,
    intent: Intent,
    cause: Cause,
    deadline: Nanos,
}

impl WriteGuard {
    /// How long it still holds: the write must have landed, and the commit have been called, by then. Zero when it is over.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline.saturating_sub(self.cache.engine.time.trusted()))
    }

    /// What it guards.
    pub fn targets(&self) -> &[Target] {
        &self.intent.targets
    }

    /// Its intent, to be closed in the data's own transaction (`outbox::commit`).
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The write has landed: its record is appended, and this process applies it. From then on every read, on any node, is of
    /// the written value or of a newer one. Once begun, it is carried through even if the caller goes away.
    ///
    /// # Errors
    /// [`Error::is_guard_expired`] when its time was over before this call; [`Error::is_uncommitted`] when the record may not
    /// have been appended. In both cases no node serves the old value for it: the intent stays open until it is closed
    /// by its expiry.
    pub async fn commit(self) -> Result<Token, Error> {
        if self.remaining().is_zero() {
            return Err(Error::guard_expired());
        }
        self.close().await
    }

    /// Nothing was written, and nothing can land any more: its targets are cacheable again. (What was cached is stale all
    /// the same.) If that is not certain, drop the guard instead.
    ///
    /// # Errors
    /// [`Error::is_uncommitted`], as for [`WriteGuard::commit`].
    pub async fn cancel(self) -> Result<(), Error> {
        self.close().await.map(drop)
    }

    async fn close(self) -> Result<Token, Error> {
        let engine = self.cache.engine.clone();
        let WriteGuard { cache, intent, cause, .. } = self;
        let working = engine.clone();
        let closing = async move { working.close_intent(intent.id, &intent.targets, &cause).await };
        let closed = engine.carry_through(closing).await;
        drop(cache);
        closed?.map_err(Error::uncommitted)
    }
}

impl fmt::Debug for WriteGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}
