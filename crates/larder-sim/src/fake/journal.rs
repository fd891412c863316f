//! The journal's authority, and one node's port to it.
//!
//! It is one of two. Beside the data, as on Postgres: an outbox row is written in the data's transaction, durable before
//! it is visible; a sequencer step, under a lock that one session holds at a time, moves visible rows into the journal with
//! dense positions; reading the journal runs that step first; appending without an outbox writes the record directly. Or
//! on a Redis server: appended after the commit, no outbox, and hints that bring the record.
//! May: refuse, hang, lose the answer, be slow, forget old records. On Redis also: lose its newest records and go on
//! in the same history, start with nothing or from an old dump, split in two that both take records until one is told to
//! stop, and forget who is there with any of it. Never: two records at one position of one history on one server; and
//! beside the data, lose a record that was committed.

mod authority;
mod log;
mod outbox;

pub(crate) use authority::{Authority, Before, Nodes, bit};

use crate::fault::Fault;
use crate::hints::Ear;
use crate::options::JournalKind;
use crate::sched::{MS, NodeRuntime, SECOND};
use crate::world::{Service, World};
use larder_core::expiry::nanos;
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Link, NodeId, Target, seeded_bug};
use std::sync::Arc;
use std::time::Duration;

/// One node's way to the journal.
pub(crate) struct JournalPort {
    world: World,
    rt: NodeRuntime,
    ear: Arc<Ear>,
}

/// The sequencer's lock, for as long as its session lives.
struct Turn(World);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.authority().is_sequencing = false;
    }
}

impl JournalPort {
    pub(crate) fn new(world: &World, rt: &NodeRuntime) -> Self {
        JournalPort { world: world.clone(), rt: rt.clone(), ear: world.listen(rt.node) }
    }

    /// To the journal; it may refuse, dawdle or never answer.
    async fn ask(&self) -> Result<(), JournalError> {
        let world = &self.world;
        world.travel(&self.rt, Service::Journal).await.map_err(|e| JournalError::failed("cut off", e))?;
        if world.strikes(Fault::JournalError, 0.02) {
            world.note(self.rt.node, || "journal refuses".to_owned());
            return Err(JournalError::failed("the journal refused", "simulated"));
        }
        if world.strikes(Fault::JournalHang, 0.005) {
            world.sim().sleep(std::time::Duration::from_secs(60)).await;
        }
        if world.strikes(Fault::JournalSlow, 0.05) {
            world.sim().delay(10 * MS, 2 * SECOND).await;
        }
        Ok(())
    }

    /// Back from the journal.
    async fn answer(&self) -> Result<(), JournalError> {
        if self.world.strikes(Fault::JournalLostAnswer, 0.03) {
            self.world.note(self.rt.node, || "journal's answer is lost".to_owned());
            return Err(JournalError::indeterminate("the answer was lost", "simulated"));
        }
        let back = self.world.travel(&self.rt, Service::Journal).await;
        back.map_err(|e| JournalError::indeterminate("the answer was lost", e))
    }

    /// Moves what is visible in the outbox into the journal; up to which position its session sees the journal then.
    async fn sequence(&self) -> u64 {
        let world = &self.world;
        if world.authority().outbox_is_empty() {
            return u64::MAX;
        }
        let early = seeded_bug!("sequencer_snapshot_before_lock").then(|| {
            let authority = world.authority();
            (authority.outbox_snapshot(), authority.head().position)
        });
        let turn = loop {
            if world.authority().take_turn() {
                break Turn(world.clone());
            }
            if seeded_bug!("sequencer_skips_busy_lock") {
                return u64::MAX;
            }
            world.sim().delay(MS / 10, MS).await;
        };
        let (snapshot, seen) = match early {
            Some((snapshot, head)) => (snapshot, head),
            None => (world.authority().outbox_snapshot(), u64::MAX),
        };
        if world.strikes(Fault::JournalSlow, 0.02) {
            world.sim().delay(10 * MS, 2 * SECOND).await;
        }
        world.sim().delay(1000, MS / 2).await;
        let moved = world.authority().sequence(&snapshot, world.sim());
        drop(turn);
        if moved > 0 {
            world.note(self.rt.node, || format!("sequencer moves {moved} records"));
            world.hint_all(self.rt.node, &Hint::Look);
        }
        seen
    }

    async fn page(
        &self,
        after: Link,
        limit: usize,
        present: Option<(NodeId, Duration)>,
    ) -> Result<Page, JournalError> {
        self.ask().await?;
        if let Some((node, lasts)) = present {
            self.note_present(node, after, lasts);
            // At the authority, between one step and the next.
            self.world.sim().delay(1000, MS / 10).await;
        }
        let seen = self.sequence().await;
        // Fewer than asked for, as when records are large.
        let limit = if self.world.sim().chance(0.3) { limit.min(3) } else { limit };
        let page = self.world.authority().page(self.rt.node, after, limit);
        let page = page.map(|page| as_of(page, after, seen));
        if page.as_ref().is_err_and(JournalError::is_compacted) {
            self.world.authority().lose_track(self.rt.node, self.world.sim().now());
            self.world.journal_has_changed(None);
        }
        if let Ok(page) = &page
            && let (Some(first), Some(last)) = (page.records.first(), page.records.last())
        {
            let (first, last) = (first.link.position, last.link.position);
            self.world.note(self.rt.node, || format!("journal answers records {first} to {last}"));
        }
        self.answer().await?;
        page
    }

    fn note_present(&self, node: NodeId, applied: Link, lasts: Duration) {
        let now = self.world.sim().now();
        self.world.authority().attend(self.rt.node, node, applied, nanos(lasts), now);
    }
}

/// What a session sees of a page whose snapshot ends at this position.
fn as_of(mut page: Page, after: Link, seen: u64) -> Page {
    if page.head.position > seen {
        page.records.retain(|record| record.link.position <= seen);
        page.head = page.records.last().map_or(after, |record| record.link);
    }
    page
}

impl Journal for JournalPort {
    fn history<'a>(&'a self, _namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move {
            self.ask().await?;
            self.sequence().await;
            let history = self.world.authority().history(self.rt.node);
            self.answer().await?;
            Ok(history)
        })
    }

    fn read<'a>(
        &'a self,
        _namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.page(after, limit, None))
    }

    fn read_attending<'a>(
        &'a self,
        _namespace: &'a str,
        node: NodeId,
        lasts: Duration,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.page(after, limit, Some((node, lasts))))
    }

    fn attend<'a>(
        &'a self,
        _namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.ask().await?;
            self.note_present(node, applied, lasts);
            self.answer().await
        })
    }

    fn attendance<'a>(
        &'a self,
        _namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(async move {
            self.ask().await?;
            let attendance = self.world.authority().attendance(self.rt.node, self.world.sim().now());
            self.answer().await?;
            Ok(Some(attendance))
        })
    }

    fn record<'a>(
        &'a self,
        _namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move {
            self.ask().await?;
            // Nobody can tell a question that was lost from an answer that was.
            if self.world.strikes(Fault::JournalLostAnswer, 0.03) {
                return Err(JournalError::indeterminate("the question was lost", "simulated"));
            }
            let (node, sim) = (self.rt.node, self.world.sim());
            let (after, record) =
                self.world.authority().append(node, act, targets.to_vec(), cause.clone(), sim);
            let link = record.link;
            self.world.note(node, || format!("appends {}: {act:?} {targets:?}", link.position));
            let brings = self.world.options().journal == JournalKind::Redis;
            let hint = if brings { Hint::Record { after, record: Box::new(record) } } else { Hint::Look };
            self.world.hint_all(node, &hint);
            self.answer().await?;
            Ok(Appended { link, after: Some(after) })
        })
    }

    fn roll<'a>(&'a self, _namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.ask().await?;
            let node = self.rt.node;
            let rolled = self.world.authority().roll(node, seen, self.world.sim());
            self.world.note(node, || format!("asks for another epoch than {seen}: {rolled}"));
            if rolled {
                self.world.journal_has_changed(None);
            }
            self.world.hint_all(node, &Hint::Look);
            self.answer().await
        })
    }

    fn changed<'a>(&'a self, _namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(self.ear.heard())
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
