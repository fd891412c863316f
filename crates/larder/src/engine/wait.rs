//! Waiting until no node can serve what it served before.
//!
//! A node that has not applied a record was last confirmed before that record was appended, and no region trusts a
//! confirmation for longer than the namespace's largest bound: so it is enough to wait for so long, whoever the nodes
//! are. Where the journal keeps an attendance, the wait ends as soon as everybody there has the record; that only makes it
//! shorter. Rests on the clock that counts suspend, never on a timer having run for long enough.

use super::Engine;
use super::hints::Hinting;
use crate::error::Error;
use larder_core::port::Nanos;
use larder_core::{Link, outwait, seeded_bug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long until the attendance is asked for again: at first, and at most.
const ASK_LEAST: Duration = Duration::from_millis(1);
const ASK_MOST: Duration = Duration::from_millis(50);

/// How seldom a node says how far it has come, at the most seldom.
const TELL_MOST: Duration = Duration::from_millis(8);

/// What the attendance says.
enum Present {
    AllHave,
    NotYet,
    /// There is none.
    Unknown,
}

/// How far this node has said it has come.
#[derive(Default)]
pub(super) struct Progress {
    telling: Hinting,
    told: Mutex<Option<Link>>,
}

impl Progress {
    fn told(&self) -> Option<Link> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, applied: Link) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(applied);
    }
}

impl Engine {
    /// How long it takes until every node has applied a record or trusts its state no more.
    pub(crate) fn leases_last(&self) -> Nanos {
        outwait(self.bound_max)
    }

    /// Waits until every node has applied what was appended before `since`, or its lease has lapsed in every region that
    /// has a bound; `link` is the newest record of it, if that is known. Dropped, nothing is left behind.
    ///
    /// # Errors
    /// When the cache is closed meanwhile.
    pub(crate) async fn wait_for_all(&self, since: Nanos, link: Option<Link>) -> Result<(), Error> {
        // The mistake: an appended record is taken for an applied one.
        if seeded_bug!("intent_not_waited_for") {
            return Ok(());
        }
        let until = since.saturating_add(self.leases_last());
        let (mut asked_for, mut pause) = (link, ASK_LEAST);
        loop {
            if let Some(link) = asked_for {
                match self.who_has(link).await {
                    Present::AllHave => return Ok(()),
                    Present::NotYet => {}
                    Present::Unknown => asked_for = None,
                }
            }
            let now = self.time.trusted();
            // Strictly: a lease may hold up to the last moment of its bound.
            if now > until {
                return Ok(());
            }
            let left = Duration::from_nanos((until - now).saturating_add(1));
            let rest = if asked_for.is_some() { left.min(pause) } else { left };
            pause = (pause * 2).min(ASK_MOST);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::closed()),
                () = self.runtime.sleep(rest) => {}
            }
        }
    }

    /// [`Engine::wait_for_all`] of everything that is committed by now.
    ///
    /// # Errors
    /// When the cache is closed meanwhile.
    pub(crate) async fn wait_for_all_by_now(&self) -> Result<(), Error> {
        let since = self.time.trusted();
        // If the journal cannot be asked, nobody can say who has what.
        let head = self.catch_up().await.ok();
        self.wait_for_all(since, head).await
    }

    async fn who_has(&self, link: Link) -> Present {
        let Ok(asked) = self.ask(self.journal.attendance(&self.namespace)).await else {
            return Present::NotYet;
        };
        let Some(attendance) = asked else { return Present::Unknown };
        // Others may be ahead of this node, and it must know their places to tell them from those of a lost branch.
        if attendance.nodes.iter().any(|(_, applied)| !self.fences.has_reached(*applied)) {
            let _ = self.catch_up().await;
        }
        let has_it = self.fences.has_reached(link);
        let knows = |applied| self.fences.has_reached(applied);
        if has_it && attendance.all_have(self.node, link, self.leases_last(), knows) {
            Present::AllHave
        } else {
            Present::NotYet
        }
    }

    /// How long a node is kept in the attendance after it last said that it is there: for as long as any lease of its can
    /// hold.
    pub(super) fn attends_for(&self) -> Duration {
        Duration::from_nanos(self.leases_last())
    }

    /// Says how far this node has come, in the background, if it has come further than it said last. Only makes
    /// somebody's wait shorter.
    pub(super) fn tell_progress(self: &Arc<Self>) {
        if self.progress.told() == self.fences.head() || !self.progress.telling.begin() {
            return;
        }
        let engine = self.clone();
        self.spawn(async move {
            let mut pause = ASK_LEAST;
            loop {
                if let Some(applied) = engine.fences.head() {
                    let lasts = engine.attends_for();
                    let told = engine.journal.attend(&engine.namespace, engine.node, applied, lasts);
                    if engine.ask(told).await.is_ok() {
                        engine.progress.tell(applied);
                    }
                }
                engine.runtime.sleep(pause).await;
                // While record follows record, the journal has more to do than to note who has which.
                pause = (pause * 2).min(TELL_MOST);
                if !engine.progress.telling.goes_on() {
                    return;
                }
            }
        });
    }

    /// Says that this node is gone.
    pub(super) async fn be_gone(&self) {
        if let Some(applied) = self.fences.head() {
            let left = self.journal.attend(&self.namespace, self.node, applied, Duration::ZERO);
            let _ = self.ask(left).await;
        }
    }
}
