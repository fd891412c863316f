//! Announcing invalidations: appending them to the journal, fencing this node at once, and trying again later what
//! could not be appended.

use super::Engine;
use super::follow::JOURNAL_DEADLINE;
use crate::error::Error;
use larder_core::port::JournalError;
use larder_core::{Cause, Target};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Targets kept for another try; beyond this an invalidation fails instead of being queued.
const QUEUE_MAX: usize = 10_000;

/// What became of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidated {
    /// Recorded at this position of the journal, and applied on this node.
    Applied {
        /// Its position.
        position: u64,
    },
    /// The journal could not be reached, or its answer was lost. This node has fenced the targets; it will go on trying
    /// to record them for as long as the process lives. Other processes do not know yet.
    Queued,
}

/// Invalidations waiting for another try, each target once.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    targets: HashSet<Target>,
    causes: VecDeque<Cause>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().targets.len()
    }

    /// Takes the targets in, all or none.
    fn add(&self, targets: &[Target], cause: &Cause) -> bool {
        let mut waiting = self.lock();
        let new = targets.iter().filter(|target| !waiting.targets.contains(*target)).count();
        if waiting.targets.len() + new > QUEUE_MAX {
            return false;
        }
        waiting.targets.extend(targets.iter().cloned());
        if waiting.causes.back() != Some(cause) && waiting.causes.len() < 8 {
            waiting.causes.push_back(cause.clone());
        }
        true
    }

    fn peek(&self) -> Option<(Vec<Target>, Cause)> {
        let waiting = self.lock();
        if waiting.targets.is_empty() {
            return None;
        }
        let words: Vec<&str> = waiting.causes.iter().map(Cause::as_str).collect();
        Some((
            waiting.targets.iter().cloned().collect(),
            Cause::new(&format!("retried: {}", words.join("; "))),
        ))
    }

    fn done(&self, targets: &[Target]) {
        let mut waiting = self.lock();
        targets.iter().for_each(|target| {
            waiting.targets.remove(target);
        });
        if waiting.targets.is_empty() {
            waiting.causes.clear();
        }
    }
}

impl Engine {
    /// Records an invalidation and applies it here. Once begun, it is carried through even if the caller goes away
    /// after the journal has it; the follower applies it then.
    pub(crate) async fn announce(&self, targets: &[Target], cause: &Cause) -> Result<Invalidated, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::closed());
        }
        // At once, and whatever the journal says: the caller has written, so this node's entries are suspect.
        self.fences.fence(targets);
        let appended =
            tokio::time::timeout(JOURNAL_DEADLINE, self.journal.append(&self.namespace, targets, cause));
        match appended
            .await
            .unwrap_or_else(|late| Err(JournalError::indeterminate("no answer within 5 s", late)))
        {
            Ok(link) => {
                // The record is safe; if it cannot be applied now, the fence above stands until it is.
                let _ = self.catch_up().await;
                Ok(Invalidated::Applied { position: link.position })
            }
            Err(error) if self.queue.add(targets, cause) => {
                tracing::warn!(namespace = %self.namespace, %error, "an invalidation is queued");
                Ok(Invalidated::Queued)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tries once more to record what is queued.
    pub(crate) async fn drain_queue(&self) {
        let Some((targets, cause)) = self.queue.peek() else { return };
        let appended =
            tokio::time::timeout(JOURNAL_DEADLINE, self.journal.append(&self.namespace, &targets, &cause));
        if let Ok(Ok(_)) = appended.await {
            self.queue.done(&targets);
        }
    }
}
