//! Records this node has appended and not applied yet, because others lie before them.
//!
//! The answers to appends that are under way together come to their callers in any order; records are applied in one.
//! So a record waits here until what it followed has been applied, by whoever does that. Should that not happen soon, its
//! caller asks the journal: nothing rests on what is here.

use super::Engine;
use larder_core::sync::{AtomicBool, Mutex, MutexGuard};
use larder_core::{Expected, Link, Record};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a record waits for those before it: as long as a few answers take.
const PATIENCE: Duration = Duration::from_millis(5);

/// Records that wait; a further one does not.
const WAITING_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Own {
    /// By the position of what each followed.
    waiting: Mutex<BTreeMap<u64, (Link, Record)>>,
    any: AtomicBool,
    news: Notify,
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Link, Record)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits for this place, without what others have applied, or another history has no place for.
    fn next(&self, head: Link) -> Option<(Link, Record)> {
        let mut waiting = self.lock();
        if waiting.first_key_value().is_some_and(|(followed, _)| *followed < head.position) {
            *waiting = waiting.split_off(&head.position);
        }
        let next = waiting.remove(&head.position);
        self.any.store(!waiting.is_empty(), Ordering::SeqCst);
        next
    }

    fn wait(&self, after: Link, record: Record) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.insert(after.position, (after, record));
        self.any.store(true, Ordering::SeqCst);
        true
    }
}

/// While a record's caller waits for it. What nobody waits for must not be applied: the journal may have lost it by then.
struct Waits<'a>(&'a Own, Link);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Waits(own, link) = self;
        let mut waiting = own.lock();
        let followed = link.position.saturating_sub(1);
        if waiting.get(&followed).is_some_and(|(_, record)| record.link == *link) {
            waiting.remove(&followed);
        }
        own.any.store(!waiting.is_empty(), Ordering::SeqCst);
    }
}

impl Engine {
    /// Applies a record just appended, without asking the journal again, once this node has applied all that is before it.
    /// Whether it has been applied; if not, that did not come to be soon.
    pub(super) async fn apply_own(&self, after: Link, record: Record) -> bool {
        let link = record.link;
        if self.apply_told(after, &record) {
            self.own_may_follow(true);
            return true;
        }
        // Should another record come in its place meanwhile, or that place be passed over, this must not look like having
        // applied it.
        if self.fences.expect(link) != Expected::ToCome || !self.own.wait(after, record) {
            return false;
        }
        let _waits = Waits(&self.own, link);
        let applied = async {
            loop {
                let mut news = pin!(self.own.news.notified());
                // Registered before the look, so that what is applied in between is not missed.
                news.as_mut().enable();
                self.own_may_follow(false);
                if self.fences.has_reached(link) {
                    return;
                }
                news.await;
            }
        };
        self.runtime.timeout(PATIENCE, applied).await.is_ok()
    }

    /// Applies what waits for what has been applied, and tells those whose records wait: when others have been applied before
    /// this call, or some were in it.
    pub(super) fn own_may_follow(&self, has_moved: bool) {
        if !self.own.any.load(Ordering::SeqCst) {
            return;
        }
        let mut moves = has_moved;
        // Not under the lock: in the middle of applying one, whoever does may be overtaken by another who looks here.
        while let Some((after, record)) = self.fences.head().and_then(|head| self.own.next(head)) {
            if !self.apply_told(after, &record) {
                break;
            }
            moves = true;
        }
        if moves {
            self.own.news.notify_waiters();
        }
    }
}
