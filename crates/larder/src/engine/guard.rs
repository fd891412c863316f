//! Intents: opened before a write, closed after it, and closed by any node when their writer has not.
//!
//! Called by the cache's write guards and by the follower. An intent that could not be closed is left to expire, never
//! forgotten: until a record closes it, every node treats what it names as uncacheable.

use super::Engine;
use super::follow::JOURNAL_DEADLINE;
use crate::error::Error;
use larder_core::port::{JournalError, Nanos};
use larder_core::{Act, Cause, IntentId, Link, Target, Token};
use std::sync::PoisonError;
use std::time::Duration;

/// An intent of this process that is in the journal.
pub(crate) struct Opened {
    pub(crate) id: IntentId,
    /// From when on others may close it.
    pub(crate) deadline: Nanos,
    /// Read after it was appended.
    pub(crate) since: Nanos,
    pub(crate) link: Link,
}

impl Engine {
    /// Opens an intent that lasts so long from now. Once it is in the journal, it is closed or it expires.
    ///
    /// # Errors
    /// When it could not be recorded. If it may have been all the same, it expires.
    pub(crate) async fn open_intent(
        &self,
        targets: &[Target],
        lasts: Nanos,
        cause: &Cause,
    ) -> Result<Opened, Error> {
        if self.is_stopped() {
            return Err(Error::closed());
        }
        let id = IntentId::new(self.random_bits());
        // Before it is appended: whoever sees it counts from later.
        let deadline = self.time.trusted().saturating_add(lasts);
        let act = Act::Open { intent: id, lasts: Duration::from_nanos(lasts) };
        let link = self.record(act, targets, cause).await?;
        let since = self.time.trusted();
        // If it cannot be applied, this node learns of it like any other, within the time that is waited for them.
        if !self.take_in(link).await? {
            return Err(JournalError::refused("the journal has lost the intent again").into());
        }
        Ok(Opened { id, deadline, since, link })
    }

    /// Whether this node has seen the intent in the journal. To be asked once all nodes have been waited for.
    pub(crate) fn has_seen(&self, opened: &Opened) -> bool {
        self.fences.has_reached(opened.link)
    }

    /// Closes an intent, which invalidates its targets.
    ///
    /// # Errors
    /// When it could not be recorded, or may not have been: the intent then expires.
    pub(crate) async fn close_intent(
        &self,
        id: IntentId,
        targets: &[Target],
        cause: &Cause,
    ) -> Result<Token, JournalError> {
        let link = self.record(Act::Close { intent: id }, targets, cause).await?;
        // Until this node has applied it, it serves nothing the intent names.
        if !self.take_in(link).await? {
            return Err(JournalError::refused("the journal has lost the closing record again"));
        }
        Ok(Token::new(&self.namespace, link))
    }

    /// Closes what has been open for longer than its writer said it may take. Tried again at the next renewal if the
    /// journal fails; that several nodes do it is harmless.
    pub(super) async fn close_orphans(&self) {
        let open = self.fences.open_intents();
        let due = {
            let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
            orphans.due(&open, self.time.trusted())
        };
        let any = !due.is_empty();
        for intent in due {
            tracing::warn!(namespace = %self.namespace, "a write guard was neither committed nor cancelled in time");
            let cause = Cause::new("write guard expired");
            let closed = self.record(Act::Close { intent: intent.id }, &intent.targets, &cause).await;
            if closed.is_err() {
                return;
            }
        }
        if any {
            let _ = self.catch_up().await;
        }
    }

    async fn record(&self, act: Act, targets: &[Target], cause: &Cause) -> Result<Link, JournalError> {
        let recorded = self.journal.record(&self.namespace, act, targets, cause);
        match self.runtime.timeout(JOURNAL_DEADLINE, recorded).await {
            Ok(recorded) => {
                let link = recorded?.link;
                self.hint_others();
                Ok(link)
            }
            Err(late) => Err(JournalError::indeterminate("no answer within 5 s", late)),
        }
    }
}
