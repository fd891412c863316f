//! Following the journal: applying its records, renewing the lease, and starting over when history does not fit.
//!
//! One task does this at a time, whoever asks for it: the follower in the background, a reader whose lease has
//! lapsed, a writer that wants to see its own write applied. Hints only make the follower look sooner.

use super::Engine;
use super::hints::heard;
use larder_core::port::{BoxFuture, Hint, History, JournalError, Nanos};
use larder_core::{Epoch, Link, Record, Target, seeded_bug};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records read at once.
const PAGE: usize = 1024;
/// Starts over in one renewal before it is given up until the next.
const RESYNCS_MAX: usize = 4;
/// How long one question to the journal may take.
pub(crate) const JOURNAL_DEADLINE: Duration = Duration::from_secs(5);
/// How long a reader waits for a renewal, its turn included, before it goes to the origin instead.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(1);

/// Records that came with hints, applied before the journal's turn to be asked is looked at again.
const HINTS_MAX: usize = 64;

/// Histories remembered as left.
const LEFT_MAX: usize = 1024;

/// What is known of the journal's health.
#[derive(Default)]
pub(crate) struct Following {
    pub(crate) applied: AtomicU64,
    pub(crate) renewals: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) resyncs: AtomicU64,
    pub(crate) last_error: Mutex<Option<String>>,
    /// Histories that had lost something this node knew of. An old copy of the journal may bring one back.
    left: Mutex<VecDeque<Epoch>>,
    /// Whether a history was taken up that may lack what this node knows, and has not been applied to its head since.
    is_strange: AtomicBool,
}

impl Following {
    fn leave(&self, epoch: Epoch) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.contains(&epoch) {
            return;
        }
        if left.len() >= LEFT_MAX {
            left.pop_front();
        }
        left.push_back(epoch);
    }

    fn has_left(&self, epoch: Epoch) -> bool {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).contains(&epoch)
    }
}

impl Engine {
    /// Applies everything acknowledged before this call began, and renews the lease.
    ///
    /// # Errors
    /// When the journal cannot be asked; the lease stays as it is, and lapses.
    pub(crate) async fn catch_up(&self) -> Result<Link, JournalError> {
        let asked = self.time.now();
        // A journal that hangs must not make callers wait one after the other.
        let turn = self.runtime.timeout(JOURNAL_DEADLINE, self.turn.lock()).await;
        let _turn = turn.map_err(|late| JournalError::indeterminate("no answer to others for 5 s", late))?;
        // Whoever had the turn may have begun after this call: then that answers it. Strictly after: of two readings
        // of the clock that are the same, nobody knows which came first.
        if let (Some(since), Some(head)) = (self.fences.lease().load().since(), self.fences.head())
            && since > asked
        {
            return Ok(head);
        }
        let renewed = self.renew().await;
        let following = &self.following;
        let mut last_error = following.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match &renewed {
            Ok(_) => {
                following.renewals.fetch_add(1, Ordering::Relaxed);
                *last_error = None;
            }
            Err(error) => {
                following.failed.fetch_add(1, Ordering::Relaxed);
                if last_error.is_none() {
                    tracing::warn!(namespace = %self.namespace, %error, "the journal cannot be followed");
                }
                *last_error = Some(error.to_string());
            }
        }
        renewed
    }

    /// [`Engine::catch_up`] for a reader whose lease has lapsed; whether it succeeded in time.
    pub(crate) async fn confirm_lease(self: &Arc<Self>) -> bool {
        // In a task of its own: a reader that is no longer polled must not keep the turn.
        let engine = self.clone();
        let renewing = self.carry_through(async move { engine.catch_up().await.is_ok() });
        matches!(self.runtime.timeout(CONFIRM_DEADLINE, renewing).await, Ok(Ok(true)))
    }

    /// Follows the journal in the background from now on.
    pub(crate) fn start_following(self: &Arc<Self>) {
        self.runtime.spawn(&self.tasks, follow(Arc::downgrade(self), self.stop.clone()));
    }

    async fn renew(&self) -> Result<Link, JournalError> {
        if !self.time.verify() && !seeded_bug!("doubtful_clock_believed") {
            self.fences.lease().revoke();
            // Entries' ages were measured with it too.
            self.fences.fence(&[Target::Everything]);
        }
        let mut problem = None;
        for _ in 0..=RESYNCS_MAX {
            let t0 = self.time.now();
            // Before the journal is asked: its answer must have these.
            let awaited = self.fences.awaited();
            match self.apply_all().await.and_then(|head| self.none_lost(&awaited, head)) {
                Ok(head) => {
                    self.settle_in();
                    self.note_birth();
                    let t0 = if seeded_bug!("lease_from_reply") { self.time.now() } else { t0 };
                    // A node that is closing has said, or is about to say, that it is gone.
                    if !self.is_stopped() {
                        self.fences.lease().extend(t0);
                    }
                    self.own_may_follow(true);
                    return Ok(head);
                }
                Err(error) if error.is_diverged() || error.is_compacted() => {
                    self.fences.lease().revoke();
                    self.following.resyncs.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(namespace = %self.namespace, %error, "taking up the journal's history anew");
                    self.start_over(&error).await?;
                    problem = Some(error);
                }
                Err(error) => {
                    if seeded_bug!("apply_error_ignored") {
                        self.fences.lease().extend(t0);
                    }
                    return Err(error);
                }
            }
        }
        Err(problem.unwrap_or_else(|| JournalError::refused("history changed too often while it was read")))
    }

    /// Whether the journal still has the records it had taken from this node, as far as everything it has been applied.
    fn none_lost(&self, awaited: &[Link], head: Link) -> Result<Link, JournalError> {
        if let Some(link) = self.fences.skipped() {
            return Err(JournalError::diverged(format!(
                "{link} was appended, and what stood there has been dropped"
            )));
        }
        match awaited.iter().find(|link| self.fences.has_lost(**link)) {
            Some(lost) => Err(JournalError::diverged(format!("{lost} was appended and is not there"))),
            None => {
                self.leave_all(self.fences.forget_foreign(awaited, head));
                Ok(head)
            }
        }
    }

    /// Applies records until the node stands where the journal's head was at the first answer.
    async fn apply_all(&self) -> Result<Link, JournalError> {
        let mut goal = None;
        loop {
            let at = match self.fences.head() {
                Some(head) => head,
                None => self.adopt_history().await?.oldest,
            };
            // Whoever appends a record that is not in the answer finds this node present.
            let page = if seeded_bug!("reads_without_attending") {
                self.ask(self.journal.read(&self.namespace, at, PAGE)).await?
            } else {
                let lasts = self.attends_for();
                self.ask(self.journal.read_attending(&self.namespace, self.node, lasts, at, PAGE)).await?
            };
            for record in &page.records {
                self.fences.apply(record).map_err(|gap| JournalError::diverged(gap.to_string()))?;
                self.following.applied.fetch_add(1, Ordering::Relaxed);
            }
            let goal = *goal.get_or_insert(page.head);
            let Some(head) = self.fences.head() else { continue };
            // Beyond the goal is as good: everything up to it has been applied.
            if head.position >= goal.position || seeded_bug!("lease_before_head") {
                if head.epoch != goal.epoch {
                    return Err(JournalError::diverged("the epoch changed while its records were read"));
                }
                return Ok(head);
            }
            if page.records.is_empty() {
                return Err(JournalError::diverged("the journal has a head beyond its records"));
            }
        }
    }

    /// Applies a record that the journal did not give as an answer to a question about what came after it, if it follows
    /// what has been applied. Should the journal have lost it since, the next renewal finds out, as with any other. Renews
    /// nothing. Whether it has been applied.
    pub(super) fn apply_told(&self, after: Link, record: &Record) -> bool {
        if self.fences.has_reached(record.link) {
            return true;
        }
        let is_applied = self.fences.apply_after(after, record);
        if is_applied {
            self.following.applied.fetch_add(1, Ordering::Relaxed);
        }
        is_applied
    }

    /// A history taken up for another may have begun long before it was found: there may have been two, or it is an old
    /// one. What others had put into stores before that is of a time when they did not know all that this node knows,
    /// its own writes among that.
    fn settle_in(&self) {
        if self.following.is_strange.swap(false, Ordering::Relaxed)
            && !seeded_bug!("strange_history_believed")
        {
            self.fences.fence(&[Target::Everything]);
        }
    }

    async fn adopt_history(&self) -> Result<History, JournalError> {
        let mut history = self.ask(self.journal.history(&self.namespace)).await?;
        // It was left because it had lost records; stores hold entries that those made stale.
        if self.following.has_left(history.head.epoch) && !seeded_bug!("left_epoch_adopted") {
            self.roll(history.head.epoch).await?;
            history = self.ask(self.journal.history(&self.namespace)).await?;
            if self.following.has_left(history.head.epoch) {
                return Err(JournalError::refused("the journal goes back to a history that was left"));
            }
        }
        self.leave_all(self.fences.adopt(history.oldest, &history.open));
        self.strangers.forget();
        Ok(history)
    }

    /// Histories that took a record from this node and were over before it had come to that: it has never followed them,
    /// and knows all the same what an old copy of one would lack.
    fn leave_all(&self, over: Vec<Epoch>) {
        if !seeded_bug!("unfollowed_epoch_not_left") {
            over.into_iter().for_each(|epoch| self.following.leave(epoch));
        }
    }

    /// Has the journal begin another history, if it still is in this one, and tells the others that there is something new.
    pub(super) async fn roll(&self, seen: Epoch) -> Result<(), JournalError> {
        self.ask(self.journal.roll(&self.namespace, seen)).await?;
        self.hint_others();
        Ok(())
    }

    /// History does not fit what this node has applied. If the journal lost what the node saw, its epoch must change; if it
    /// has only dropped what stood there, nobody can tell whether that was what the node saw.
    async fn start_over(&self, why: &JournalError) -> Result<(), JournalError> {
        if let Some(head) = self.fences.head() {
            if why.is_diverged() && !seeded_bug!("roll_not_asked") {
                self.roll(head.epoch).await?;
                self.following.leave(head.epoch);
            }
            if why.is_diverged() || !seeded_bug!("compacted_history_believed") {
                self.following.is_strange.store(true, Ordering::Relaxed);
            }
        }
        let history = self.adopt_history().await?;
        if self.following.is_strange.load(Ordering::Relaxed) && !seeded_bug!("strange_history_believed") {
            // Until all of it has been applied; not every level waits for that.
            self.fences.fence_until(Arc::new([Target::Everything]), history.head);
        }
        Ok(())
    }

    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        match self.runtime.timeout(JOURNAL_DEADLINE, answer).await {
            Ok(answer) => answer,
            Err(late) => Err(JournalError::indeterminate("no answer within 5 s", late)),
        }
    }

    /// How often the lease is renewed: a third of the tightest bound of any region.
    pub(crate) fn renewal_interval(&self) -> Duration {
        Duration::from_nanos(self.bound_min.load(Ordering::Relaxed) / 3)
    }

    /// A region with this bound exists from now on.
    pub(crate) fn tighten(&self, bound: Nanos) {
        self.bound_min.fetch_min(bound, Ordering::Relaxed);
        // The follower may be asleep for a third of a longer bound.
        self.tightened.notify_one();
    }
}

/// Follows the journal until the engine is gone or told to stop.
async fn follow(engine: Weak<Engine>, stop: CancellationToken) {
    // Since when the journal has not been asked, if hints have brought records meanwhile: those renew nothing, and must not
    // put off what does.
    let mut unasked_since = None;
    loop {
        let Some((journal, backplane, namespace, tightened, runtime, since, pause)) =
            engine.upgrade().map(|engine| {
                let now = engine.time.now();
                let since = unasked_since.take().unwrap_or(now);
                let unasked = Duration::from_nanos(now.saturating_sub(since));
                let pause = engine.renewal_interval().saturating_sub(unasked);
                let (journal, backplane) = (engine.journal.clone(), engine.backplane.clone());
                let (namespace, tightened) = (engine.namespace.clone(), engine.tightened.clone());
                (journal, backplane, namespace, tightened, engine.runtime.clone(), since, pause)
            })
        else {
            return;
        };
        let hint = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            hint = journal.changed(&namespace) => Some(hint),
            () = heard(backplane, &namespace) => Some(Hint::Look),
            () = tightened.notified() => Some(Hint::Look),
            () = runtime.sleep(pause) => None,
        };
        let Some(engine) = engine.upgrade() else { return };
        let mut hint = hint;
        // Hints often come several at a time.
        let mut applied = 0;
        while let Some(Hint::Record { after, record }) = &hint
            && !pause.is_zero()
            && engine.apply_told(*after, record)
        {
            applied += 1;
            hint = if applied < HINTS_MAX { at_once(journal.changed(&namespace)) } else { None };
        }
        if applied > 0 {
            if seeded_bug!("hint_renews_lease") {
                engine.fences.lease().extend(engine.time.now());
            }
            engine.own_may_follow(true);
            engine.tell_progress();
            if hint.is_none() {
                unasked_since = Some(since);
                continue;
            }
        }
        let is_told = hint.is_some();
        if !is_told && seeded_bug!("lease_renewed_by_silence") {
            engine.fences.lease().extend(engine.time.now());
            continue;
        }
        let failed = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = follow_once(&engine) => outcome.is_err(),
        };
        drop(engine);
        if failed {
            // A journal that fails at once must not keep a core busy; its hint may be what completes at once.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = runtime.sleep(pause.clamp(Duration::from_millis(10), Duration::from_secs(1))) => {}
            }
        }
    }
}

/// What a future has already.
fn at_once<T>(mut future: BoxFuture<'_, T>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

async fn follow_once(engine: &Arc<Engine>) -> Result<(), JournalError> {
    engine.ask_usage();
    engine.drain_queue().await;
    engine.catch_up().await?;
    engine.tell_progress();
    engine.close_orphans().await;
    Ok(())
}
