//! Hints: that the journal may have something new, on their way to every node; on Redis with the record itself.
//!
//! Dropped, late by minutes, repeated, out of order; nobody hears those of another server than his own, nor what was said
//! while he was cut off from it. Whoever does not keep up is told that he missed something.

use crate::fault::Fault;
use crate::options::JournalKind;
use crate::sched::{MS, NodeId, SECOND};
use crate::world::{Service, World};
use larder_core::port::Hint;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Hints that wait to be heard.
const UNHEARD_MAX: usize = 64;

/// One process that listens.
pub(crate) struct Ear {
    node: NodeId,
    said: Mutex<VecDeque<Hint>>,
    /// What it heard last.
    last: Mutex<Option<Hint>>,
    some: Notify,
}

impl Ear {
    fn said(&self) -> MutexGuard<'_, VecDeque<Hint>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, hint: Hint) {
        let mut said = self.said();
        if said.len() >= UNHEARD_MAX {
            said.clear();
            said.push_back(Hint::Look);
        } else if hint != Hint::Look || said.back() != Some(&Hint::Look) {
            said.push_back(hint);
        }
        drop(said);
        self.some.notify_one();
    }

    /// The next hint. Dropped before that, nothing is lost.
    pub(crate) async fn heard(&self) -> Hint {
        loop {
            if let Some(hint) = self.said().pop_front() {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(hint.clone());
                return hint;
            }
            self.some.notified().await;
        }
    }
}

impl World {
    /// A new listener to hints.
    pub(crate) fn listen(&self, node: NodeId) -> Arc<Ear> {
        let ear = Arc::new(Ear { node, said: Mutex::default(), last: Mutex::default(), some: Notify::new() });
        let mut ears = self.ears();
        // Nobody hears what is said to a process that has died: an hour of crashes would have it said a hundred times.
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        drop(ears);
        ear
    }

    /// What a node heard last comes once more.
    pub(crate) fn repeat_hint(&self, node: NodeId) {
        let ears: Vec<_> = self.ears().iter().filter_map(Weak::upgrade).collect();
        for ear in ears.iter().filter(|ear| ear.node == node) {
            let last = ear.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            last.into_iter().for_each(|hint| ear.say(hint));
        }
    }

    /// Tells every node that the journal may have something new; or not, or late, or twice.
    pub(crate) fn hint_all(&self, from: NodeId, hint: &Hint) {
        let on_redis = self.options().journal == JournalKind::Redis;
        let ears = self.ears().clone();
        for ear in ears {
            let Some(node) = ear.upgrade().map(|ear| ear.node) else { continue };
            if on_redis && !self.authority().are_together(from, node) {
                continue;
            }
            if self.strikes(Fault::HintDrop, 0.3) {
                continue;
            }
            let late = self.strikes(Fault::HintDelay, 0.1);
            let again = self.strikes(Fault::HintRepeat, 0.1);
            let (world, hint) = (self.clone(), hint.clone());
            self.sim().spawn_world(async move {
                let sim = world.sim();
                let most = if late { 120 * SECOND } else { MS };
                sim.delay(50_000, most).await;
                if !on_redis || !world.is_cut(node, Service::Journal) {
                    ear.upgrade().inspect(|ear| ear.say(hint.clone()));
                }
                if again {
                    sim.delay(50_000, 100 * MS).await;
                    ear.upgrade().inspect(|ear| ear.say(hint));
                }
            });
        }
    }
}
