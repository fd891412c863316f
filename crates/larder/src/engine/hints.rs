//! Hints: telling the other nodes that there is something new, over a backplane, and hearing that there is.
//!
//! Nobody waits for a hint, and nothing rests on one. A fill is no change, and is not hinted at.

use super::Engine;
use larder_core::Link;
use larder_core::port::JournalError;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const UNDER_WAY: u8 = 1;
const ONE_MORE: u8 = 2;

/// At most one hint is under way; what happens meanwhile is hinted at by one more.
#[derive(Default)]
pub(super) struct Hinting(AtomicU8);

impl Hinting {
    /// Whether the caller has to hint.
    pub(super) fn begin(&self) -> bool {
        let next = |state| Some(if state == IDLE { UNDER_WAY } else { ONE_MORE });
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(IDLE)
    }

    /// Whether there is one more to give.
    pub(super) fn goes_on(&self) -> bool {
        let next = |state| Some(if state == ONE_MORE { UNDER_WAY } else { IDLE });
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(ONE_MORE)
    }
}

impl Engine {
    /// [`Engine::catch_up`] for an application that has committed records of its own: others are hinted at what they may not
    /// have seen, once.
    ///
    /// # Errors
    /// As there; nobody is hinted then.
    pub(crate) async fn sync(&self) -> Result<Link, JournalError> {
        let head = self.catch_up().await?;
        // Not whether this node knew it before: its follower may have been quicker than whoever asks.
        if self.synced.swap(head.position, Ordering::Relaxed) != head.position {
            self.hint_others();
        }
        Ok(head)
    }

    /// Hints the other nodes at what this one has just appended, in the background.
    pub(super) fn hint_others(&self) {
        let Some(backplane) = &self.backplane else { return };
        if !self.hinting.begin() {
            return;
        }
        let (backplane, namespace, hinting) =
            (Arc::clone(backplane), Arc::clone(&self.namespace), Arc::clone(&self.hinting));
        self.spawn(async move {
            loop {
                backplane.hint(&namespace).await;
                if !hinting.goes_on() {
                    return;
                }
            }
        });
    }

    /// Whether all hints there could be come in; `None` when none needs a connection.
    pub(super) fn is_listening(&self) -> Option<bool> {
        let journal = self.journal.is_listening(&self.namespace);
        let backplane = self.backplane.as_ref().map(|backplane| backplane.is_listening(&self.namespace));
        journal.into_iter().chain(backplane).reduce(|one, other| one && other)
    }
}

/// Completes when another node has hinted at this namespace.
pub(super) async fn heard(backplane: Option<Arc<dyn larder_core::port::Backplane>>, namespace: &str) {
    match backplane {
        Some(backplane) => backplane.changed(namespace).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::Hinting;

    #[test]
    fn however_much_happens_during_a_hint_one_more_follows() {
        let hinting = Hinting::default();
        assert!(hinting.begin());
        assert!(!hinting.begin() && !hinting.begin());
        assert!(hinting.goes_on());
        assert!(!hinting.goes_on());
        assert!(hinting.begin());
    }
}
