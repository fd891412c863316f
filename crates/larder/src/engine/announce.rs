//! Announcing invalidations: appending them to the journal, fencing this node at once, and trying again later what
//! could not be appended.

use super::Engine;
use super::follow::JOURNAL_DEADLINE;
use crate::error::Error;
use larder_core::port::{Appended, JournalError, Nanos};
use larder_core::{Act, Birth, Cause, Expected, Link, Record, Target, Token, seeded_bug};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Targets kept for another try; beyond this an invalidation fails instead of being queued.
const QUEUE_MAX: usize = 10_000;

/// Targets recorded by one try, encoded, in bytes, if there are several: all that is queued may be too much for one
/// record, and would then be refused for ever.
const RETRY_BYTES_MAX: usize = 1 << 20;

/// An answer that came within this is not asked about again: it takes longer to replace a server that has failed, and
/// until then the record is where the answer said. A loss after the answer is found out by the next renewal.
const PROMPT: Nanos = 50_000_000;

/// What became of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidated {
    /// Recorded at this position of the journal. This node has applied it, or, should the journal have failed right
    /// after, has fenced the targets until it does.
    Applied {
        /// Its position.
        position: u64,
        /// For whoever must see this write from now on, on any node; see `Cache::reach`.
        token: Token,
    },
    /// The journal could not be reached, or its answer was lost. This node has fenced the targets; it will go on trying
    /// to record them until the last handle of the cache is gone; `Cache::close` says what is left then. Other processes
    /// do not know yet.
    Queued,
}

impl Invalidated {
    /// The token of the record; `None` while it is queued.
    pub fn token(&self) -> Option<Token> {
        match self {
            Invalidated::Applied { token, .. } => Some(*token),
            Invalidated::Queued => None,
        }
    }
}

/// What became of an invalidation, and what a value is born with that was announced so: its own record (or fence), not
/// the newest one applied by now. Another put of the key may lie between, and must refuse this value.
pub(crate) struct Announced {
    pub(crate) outcome: Invalidated,
    pub(crate) born: Option<Birth>,
}

/// Invalidations waiting for another try, each target once.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    targets: HashMap<Target, Place>,
    /// Targets added, those added again included.
    added: u64,
    causes: VecDeque<Cause>,
    /// Nobody will try again.
    closed: bool,
}

/// Where a target stands in the queue.
#[derive(Clone, Copy)]
struct Place {
    /// Its turn: one that is added again keeps it, or it might never come.
    first: u64,
    /// When it was last added: while a try is under way that names a later write, which that try's record may have come
    /// too early for.
    newest: u64,
}

impl Waiting {
    /// In the order in which they came.
    fn in_order(&self) -> Vec<&Target> {
        let mut targets: Vec<(u64, &Target)> =
            self.targets.iter().map(|(target, place)| (place.first, target)).collect();
        if !seeded_bug!("queue_drained_in_any_order") {
            targets.sort_unstable_by_key(|(first, _)| *first);
        }
        targets.into_iter().map(|(_, target)| target).collect()
    }
}

/// What one try is to record.
struct Due {
    targets: Vec<Target>,
    cause: Cause,
    /// Everything added up to here is in it, if its target is.
    added: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().targets.len()
    }

    /// Takes nothing in any more; how many targets are left.
    pub(crate) fn close(&self) -> usize {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.targets.len()
    }

    /// Takes the targets in, all or none.
    fn add(&self, targets: &[Target], cause: &Cause) -> bool {
        let mut waiting = self.lock();
        if waiting.closed {
            return false;
        }
        let new = targets.iter().filter(|target| !waiting.targets.contains_key(*target)).count();
        if waiting.targets.len() + new > QUEUE_MAX {
            // The mistake: what finds no room is let go, and nobody is told.
            return seeded_bug!("queue_full_is_queued");
        }
        for target in targets {
            waiting.added += 1;
            let newest = waiting.added;
            let place = waiting.targets.entry(target.clone()).or_insert(Place { first: newest, newest });
            place.newest = newest;
        }
        if waiting.causes.back() != Some(cause) && waiting.causes.len() < 8 {
            waiting.causes.push_back(cause.clone());
        }
        true
    }

    fn due(&self) -> Option<Due> {
        let waiting = self.lock();
        if waiting.targets.is_empty() {
            return None;
        }
        let words: Vec<&str> = waiting.causes.iter().map(Cause::as_str).collect();
        let cause = Cause::new(&format!("retried: {}", words.join("; ")));
        let mut encoded = Vec::new();
        let fits = |target: &&Target| {
            let is_first = encoded.is_empty();
            target.encode(&mut encoded);
            is_first || encoded.len() <= RETRY_BYTES_MAX
        };
        let targets = waiting.in_order().into_iter().take_while(fits).cloned().collect();
        Some(Due { targets, cause, added: waiting.added })
    }

    /// These were recorded; what was added again since stays.
    fn done(&self, due: &Due) {
        let mut waiting = self.lock();
        for target in &due.targets {
            let is_newest = |place: &Place| place.newest <= due.added || seeded_bug!("queued_again_is_done");
            if waiting.targets.get(target).is_some_and(is_newest) {
                waiting.targets.remove(target);
            }
        }
        if waiting.targets.is_empty() {
            waiting.causes.clear();
        }
    }
}

impl Engine {
    /// Records an invalidation and applies it here. Holds nothing that others wait for while it waits itself, so that it may
    /// be carried along by a caller that stops polling.
    pub(crate) async fn announce(
        self: &Arc<Self>,
        targets: &[Target],
        cause: &Cause,
    ) -> Result<Announced, Error> {
        if self.is_stopped() {
            return Err(Error::closed());
        }
        // At once, and whatever the journal says: the caller has written, so this node's entries are suspect.
        let fenced = if seeded_bug!("announce_does_not_fence") {
            self.fences.birth()
        } else {
            self.fences.fence(targets)
        };
        let asked = self.time.now();
        let record = self.journal.record(&self.namespace, Act::Invalidate, targets, cause);
        let appended = self.runtime.timeout(JOURNAL_DEADLINE, record);
        let appended = appended
            .await
            .unwrap_or_else(|late| Err(JournalError::indeterminate("no answer within 5 s", late)));
        let appended = match appended {
            Err(error) if error.is_indeterminate() && seeded_bug!("indeterminate_is_applied") => {
                self.fences.head().map(|link| Appended { link, after: None }).ok_or(error)
            }
            appended => appended,
        };
        let appended = match appended {
            // Lost again: the new history makes everything a miss, on every node. So it is announced all the same.
            Ok(Appended { link, after }) => {
                self.hint_others();
                let follows = after.filter(|_| self.time.now().saturating_sub(asked) <= PROMPT);
                let is_applied = match follows {
                    Some(after) => self.apply_own(after, record_of(link, targets, cause)).await,
                    None => false,
                };
                let taken_in = if is_applied { Ok(true) } else { self.taken_in(link).await };
                // Not applied yet, should the journal have failed right after: what was fenced stays fenced until it is.
                self.fences.fence_until(targets.into(), link);
                taken_in.map(|_kept| link)
            }
            Err(error) => Err(error),
        };
        match appended {
            Ok(link) => {
                let outcome = Invalidated::Applied {
                    position: link.position,
                    token: Token::new(&self.namespace, link),
                };
                Ok(Announced { outcome, born: self.fences.locate(link) })
            }
            Err(error) if self.queue.add(targets, cause) => {
                tracing::warn!(namespace = %self.namespace, %error, "an invalidation is queued");
                self.fence_queued(fenced);
                Ok(Announced { outcome: Invalidated::Queued, born: fenced })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Applies a record just appended. Should the journal have lost it again by now, it must begin another history:
    /// others may have gone on without it, and nobody else may know that it ever was. Whether it was kept.
    pub(super) async fn take_in(&self, link: Link) -> Result<bool, JournalError> {
        // Before anything is applied: that may be so much that its place is forgotten again.
        let expected = self.fences.expect(link);
        let has_caught_up = self.catch_up().await.is_ok();
        let is_lost = match expected {
            Expected::ToCome => has_caught_up && self.fences.has_lost(link),
            Expected::Lost => true,
            Expected::Forgotten => match self.ask(self.journal.read(&self.namespace, link, 1)).await {
                Ok(_) => false,
                Err(error) if error.is_diverged() || error.is_compacted() => true,
                Err(error) => return Err(error),
            },
        };
        if is_lost && !seeded_bug!("lost_append_not_noticed") {
            self.roll(link.epoch).await?;
            let _ = self.catch_up().await;
        }
        Ok(!is_lost)
    }

    /// [`Engine::take_in`] in a task of its own: it has the turn to ask the journal, which others wait for.
    async fn taken_in(self: &Arc<Self>, link: Link) -> Result<bool, JournalError> {
        let engine = self.clone();
        let taking_in = self.carry_through(async move { engine.take_in(link).await });
        taking_in.await.unwrap_or_else(|_| Err(JournalError::refused("the cache is closed")))
    }

    /// Has what is queued fenced from now on, whatever is applied or adopted meanwhile.
    fn fence_queued(&self, fenced: Option<Birth>) {
        if seeded_bug!("queue_forgets_fence") {
            return;
        }
        // Under the queue's lock: what another call adds meanwhile must not be left out by this one.
        let waiting = self.queue.lock();
        self.fences.fence_queued(waiting.in_order().into_iter().cloned().collect(), fenced);
    }

    /// Tries to record all that is queued, until nothing is or no try gets further; how many targets are left.
    pub(crate) async fn drain_all(&self) -> usize {
        loop {
            let before = self.queue.len();
            self.drain_queue().await;
            let left = self.queue.len();
            if left == 0 || left >= before {
                return left;
            }
        }
    }

    /// Tries once more to record what is queued.
    pub(crate) async fn drain_queue(&self) {
        if seeded_bug!("queue_never_drained") {
            return;
        }
        let Some(due) = self.queue.due() else { return };
        let append = self.journal.append(&self.namespace, &due.targets, &due.cause);
        let appended = self.runtime.timeout(JOURNAL_DEADLINE, append).await;
        if !matches!(appended, Ok(Ok(_))) && seeded_bug!("failed_drain_is_done") {
            self.queue.done(&due);
            self.fence_queued(None);
        }
        if let Ok(Ok(link)) = appended {
            self.hint_others();
            self.fences.fence_until(due.targets.as_slice().into(), link);
            // Made again, if nobody can say whether it is still there: a record that is there twice does no harm.
            if self.take_in(link).await.is_ok() {
                self.queue.done(&due);
                self.fence_queued(None);
            }
        }
    }
}

fn record_of(link: Link, targets: &[Target], cause: &Cause) -> Record {
    Record { link, act: Act::Invalidate, targets: targets.to_vec(), cause: cause.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::key;

    #[test]
    fn a_target_queued_again_while_it_is_recorded_is_recorded_again() {
        // A try is under way for a first write. A second write to the same target commits, and cannot be recorded
        // either. The try succeeds: its record may have been read by others before the second write was there.
        let (queue, cause) = (Queue::default(), Cause::new("booked"));
        let target = Target::key("slots", key![1]);
        assert!(queue.add(std::slice::from_ref(&target), &cause));
        let due = queue.due().unwrap();
        assert!(queue.add(&[target.clone(), Target::key("slots", key![2])], &cause));
        queue.done(&due);
        let mut left = queue.due().unwrap();
        left.targets.sort_by_key(ToString::to_string);
        assert_eq!(left.targets, [target, Target::key("slots", key![2])]);
        queue.done(&left);
        assert!(queue.due().is_none());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn more_than_one_record_can_hold_is_recorded_in_several() {
        let (queue, cause) = (Queue::default(), Cause::new("booked"));
        for n in 0..20_u64 {
            assert!(queue.add(&[Target::key("slots", key![n, "x".repeat(RETRY_BYTES_MAX / 3)])], &cause));
        }
        let mut tries = 0;
        while let Some(due) = queue.due() {
            assert!(Target::encode_many(&due.targets).len() <= RETRY_BYTES_MAX);
            queue.done(&due);
            tries += 1;
        }
        assert_eq!(tries, 10);
    }

    /// It was drained in an order of chance: runs of the simulator with one seed differed, and what was added again and
    /// again might have had to wait for ever.
    #[test]
    fn the_queue_is_drained_in_the_order_in_which_it_was_filled() {
        let (queue, cause) = (Queue::default(), Cause::new("booked"));
        let targets: Vec<Target> = (0..100_u64).map(|n| Target::key("slots", key![n])).collect();
        for target in &targets {
            assert!(queue.add(std::slice::from_ref(target), &cause));
        }
        assert!(queue.add(&targets[..50], &cause));
        assert_eq!(queue.due().unwrap().targets, targets);
    }

    #[test]
    fn the_queue_takes_all_targets_of_a_call_or_none() {
        let (queue, cause) = (Queue::default(), Cause::new("booked"));
        let targets: Vec<Target> = (0..=QUEUE_MAX as u64).map(|n| Target::key("slots", key![n])).collect();
        assert!(!queue.add(&targets, &cause));
        assert_eq!(queue.len(), 0);
        assert!(queue.add(&targets[1..], &cause));
        assert!(queue.add(&targets[1..], &cause), "what is in it already takes no room");
        assert!(!queue.add(&targets[..1], &cause));
    }
}
