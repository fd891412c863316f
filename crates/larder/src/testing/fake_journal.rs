//! Any journal, with faults.
//!
//! What it may do wrong is what a real one may: not answer, answer an error, apply an append and say it does not
//! know, give no hints. It never invents records and never answers from an old state.

use super::gate::{Gate, Hold};
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Link, NodeId, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A journal around another. Clones share the faults and the counters, so a test keeps one and hands the cache
/// another.
pub struct FakeJournal<J> {
    inner: Arc<J>,
    faults: Arc<Faults>,
}

struct Faults {
    failing_reads: AtomicU64,
    failing_appends: AtomicU64,
    indeterminate_applied: AtomicU64,
    indeterminate_lost: AtomicU64,
    unreachable: AtomicBool,
    deaf: AtomicBool,
    reads_gate: Gate,
    appends_gate: Gate,
    attendance_gate: Gate,
    held_answers: AtomicU64,
    answers_gate: Gate,
    histories: AtomicU64,
    reads: AtomicU64,
    appends: AtomicU64,
    rolls: AtomicU64,
}

/// How often each method was called, failures included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCalls {
    /// [`Journal::history`].
    pub histories: u64,
    /// [`Journal::read`].
    pub reads: u64,
    /// [`Journal::record`], and [`Journal::append`], which calls it.
    pub appends: u64,
    /// [`Journal::roll`].
    pub rolls: u64,
}

impl<J: Journal> FakeJournal<J> {
    /// Wraps a journal; without faults until told.
    pub fn new(inner: J) -> Self {
        let faults = Faults {
            failing_reads: AtomicU64::new(0),
            failing_appends: AtomicU64::new(0),
            indeterminate_applied: AtomicU64::new(0),
            indeterminate_lost: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            reads_gate: Gate::open(),
            appends_gate: Gate::open(),
            attendance_gate: Gate::open(),
            held_answers: AtomicU64::new(0),
            answers_gate: Gate::open(),
            histories: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            rolls: AtomicU64::new(0),
        };
        FakeJournal { inner: Arc::new(inner), faults: Arc::new(faults) }
    }

    /// The journal inside, for what happens behind the cache's back.
    pub fn inner(&self) -> &J {
        &self.inner
    }

    /// The next `calls` of `history` and `read` fail.
    pub fn fail_reads(&self, calls: u64) {
        self.faults.failing_reads.store(calls, Ordering::SeqCst);
    }

    /// The next `calls` of `record` (and `append`) fail and append nothing.
    pub fn fail_appends(&self, calls: u64) {
        self.faults.failing_appends.store(calls, Ordering::SeqCst);
    }

    /// The next `calls` of `record` (and `append`) take effect, and answer that they may or may not have.
    pub fn indeterminate_applied(&self, calls: u64) {
        self.faults.indeterminate_applied.store(calls, Ordering::SeqCst);
    }

    /// The next `calls` of `record` (and `append`) take no effect, and answer that they may or may not have.
    pub fn indeterminate_lost(&self, calls: u64) {
        self.faults.indeterminate_lost.store(calls, Ordering::SeqCst);
    }

    /// While set, every call fails, and nothing takes effect.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.faults.unreachable.store(unreachable, Ordering::SeqCst);
    }

    /// While set, `changed` never completes.
    pub fn set_deaf(&self, deaf: bool) {
        self.faults.deaf.store(deaf, Ordering::SeqCst);
    }

    /// `history` and `read` wait, before they ask, until the hold is dropped.
    pub fn hold_reads(&self) -> Hold {
        self.faults.reads_gate.hold()
    }

    /// `record`, `append` and `roll` wait, before they take effect, until the hold is dropped.
    pub fn hold_appends(&self) -> Hold {
        self.faults.appends_gate.hold()
    }

    /// `attend` takes effect, and answers when the hold is dropped.
    pub fn hold_attendance(&self) -> Hold {
        self.faults.attendance_gate.hold()
    }

    /// The next `calls` of `record` (and `append`) wait, after they have taken effect, until the hold is dropped.
    pub fn hold_answers(&self, calls: u64) -> Hold {
        self.faults.held_answers.store(calls, Ordering::SeqCst);
        self.faults.answers_gate.hold()
    }

    /// How often it was called.
    pub fn calls(&self) -> JournalCalls {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        JournalCalls {
            histories: read(&self.faults.histories),
            reads: read(&self.faults.reads),
            appends: read(&self.faults.appends),
            rolls: read(&self.faults.rolls),
        }
    }

    async fn before_read(&self) -> Result<(), JournalError> {
        self.faults.reads_gate.pass().await;
        self.faults.reachable()?;
        if take(&self.faults.failing_reads) {
            Err(JournalError::refused("a fault for tests"))
        } else {
            Ok(())
        }
    }

    async fn before_write(&self) -> Result<(), JournalError> {
        self.faults.appends_gate.pass().await;
        self.faults.reachable()
    }
}

impl Faults {
    fn reachable(&self) -> Result<(), JournalError> {
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(JournalError::refused("unreachable, for tests"));
        }
        Ok(())
    }
}

/// Counts down; `true` while there was something left.
fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

fn unknown() -> JournalError {
    JournalError::indeterminate("a fault for tests", "the answer was lost")
}

impl<J: Journal> Journal for FakeJournal<J> {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move {
            count(&self.faults.histories);
            self.before_read().await?;
            self.inner.history(namespace).await
        })
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move {
            count(&self.faults.reads);
            self.before_read().await?;
            self.inner.read(namespace, after, limit).await
        })
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move {
            count(&self.faults.appends);
            self.before_write().await?;
            if take(&self.faults.failing_appends) {
                return Err(JournalError::refused("a fault for tests"));
            }
            if take(&self.faults.indeterminate_lost) {
                return Err(unknown());
            }
            let appended = self.inner.record(namespace, act, targets, cause).await?;
            if take(&self.faults.held_answers) {
                self.faults.answers_gate.pass().await;
            }
            if take(&self.faults.indeterminate_applied) { Err(unknown()) } else { Ok(appended) }
        })
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            count(&self.faults.rolls);
            self.before_write().await?;
            self.inner.roll(namespace, seen).await
        })
    }

    fn attend<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.faults.reachable()?;
            let attended = self.inner.attend(namespace, node, applied, lasts).await;
            self.faults.attendance_gate.pass().await;
            attended
        })
    }

    fn attendance<'a>(
        &'a self,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(async move {
            self.faults.reachable()?;
            self.inner.attendance(namespace).await
        })
    }

    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move {
            if self.faults.deaf.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            self.inner.changed(namespace).await
        })
    }

    fn is_listening(&self, namespace: &str) -> Option<bool> {
        self.inner.is_listening(namespace)
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

impl<J> Clone for FakeJournal<J> {
    fn clone(&self) -> Self {
        FakeJournal { inner: Arc::clone(&self.inner), faults: Arc::clone(&self.faults) }
    }
}
