//! Flights: the running load of each key, and those who wait for it.
//!
//! A flight is run by the reader that began it, inside that reader's own task. If the reader goes away, or will not
//! wait any longer, what is left of the flight moves to a task of its own: nobody's cancellation is another's error.

use crate::error::Error;
use crate::memory::{Carried, Entry, Key};
use crate::outcome::Source;
use larder_core::Birth;
use larder_core::plan::FlightPlan;
use larder_core::port::{Holder, Nanos};
use larder_core::seeded_bug;
use larder_core::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, OnceLock};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

#[cfg(all(test, larder_shuttle))]
mod schedules;

/// How a load ended: an entry (kept or not), or an error all who waited share.
pub(crate) type Landed = Result<Arc<Entry>, Error>;

/// The moment a loader was started.
#[derive(Clone, Copy)]
pub(crate) struct Began {
    /// What the load was born with.
    pub(crate) born: Option<Birth>,
    /// When; read before the loader was called.
    pub(crate) at: Nanos,
}

/// One running load of one key.
pub(crate) struct Flight {
    plan: Mutex<FlightPlan>,
    /// Set when the loader begins; a flight that still waits for its turn has none and is never too old.
    began: OnceLock<Began>,
    /// The birth, in local numbers, of the load of another node that this one waits for; 0 when it waits for none.
    awaits: AtomicU64,
    /// The load's name among nodes, once it has one.
    holder: OnceLock<Holder>,
    /// That of the flight whose place it took.
    displaced: Option<Holder>,
    /// The key was expired while the flight ran: what it brings is expired too.
    expired: AtomicBool,
    landed: OnceLock<Landed>,
    ended: Notify,
}

impl Flight {
    fn new(displaced: Option<Holder>) -> Arc<Self> {
        Arc::new(Flight {
            plan: Mutex::default(),
            began: OnceLock::new(),
            awaits: AtomicU64::new(0),
            holder: OnceLock::new(),
            displaced,
            expired: AtomicBool::new(false),
            landed: OnceLock::new(),
            ended: Notify::new(),
        })
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, FlightPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, born: Option<Birth>, at: Nanos) {
        let _ = self.began.set(Began { born, at });
    }

    /// How the load began, once it has.
    pub(crate) fn began(&self) -> Option<Began> {
        self.began.get().copied()
    }

    /// The load's name among nodes, drawn at the first call, and that of the load of this process that it no longer counts.
    pub(crate) fn named(&self, draw: impl FnOnce() -> Holder) -> (Holder, Option<Holder>) {
        let holder = self.holder.get().copied().unwrap_or_else(|| {
            let drawn = draw();
            let _ = self.holder.set(drawn);
            drawn
        });
        (holder, self.displaced)
    }

    /// It waits for a load of another node that was born so; `None`: for none, or nobody here can tell how.
    pub(crate) fn awaits(&self, local: Option<u64>) {
        self.awaits.store(local.unwrap_or(0), Ordering::SeqCst);
    }

    /// How the load of another node was born that this one waits for.
    pub(crate) fn awaited(&self) -> Option<u64> {
        Some(self.awaits.load(Ordering::SeqCst)).filter(|local| *local != 0)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::SeqCst)
    }

    /// What this flight is to the reader that ran it: its loader, unless another node had loaded the key.
    pub(crate) fn source(&self) -> Source {
        if self.began.get().is_some() { Source::Loader } else { Source::Flight }
    }

    /// Ends the flight and wakes everybody. The first end counts.
    pub(crate) fn settle(&self, landed: Landed) {
        self.plan().settle();
        if seeded_bug!("lost_wakeup") {
            self.ended.notify_waiters();
            let _ = self.landed.set(landed);
            return;
        }
        let _ = self.landed.set(landed);
        self.ended.notify_waiters();
    }

    /// Waits for the end. Dropping the future leaves the flight as it is.
    pub(crate) async fn landed(&self) -> Landed {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            if let Some(landed) = self.landed.get() {
                return landed.clone();
            }
            ended.await;
        }
    }

    pub(crate) fn peek(&self) -> Option<&Landed> {
        self.landed.get()
    }
}

const SHARDS: usize = 64;

type Shard = Mutex<HashMap<Key, Arc<Flight>, Carried>>;

/// All running flights, by key.
pub(crate) struct Flights(Box<[Shard]>);

impl Default for Flights {
    fn default() -> Self {
        Flights((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

impl Flights {
    /// The flight of this key that `may_follow` accepts, or a new one to run (true), which takes its place.
    pub(crate) fn join(&self, key: &Key, may_follow: impl FnOnce(&Flight) -> bool) -> (Arc<Flight>, bool) {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key)
            && may_follow(flight)
        {
            return (flight.clone(), false);
        }
        let displaced = shard.get(key).and_then(|flight| flight.holder.get().copied());
        let flight = Flight::new(displaced);
        shard.insert(key.clone(), flight.clone());
        (flight, true)
    }

    /// A new flight, unless one runs: for refreshes, which nobody waits for.
    pub(crate) fn start(&self, key: &Key) -> Option<Arc<Flight>> {
        let (flight, is_new) = self.join(key, |_| true);
        is_new.then_some(flight)
    }

    /// What the flight of this key brings, if there is one, is expired when it comes.
    pub(crate) fn expire(&self, key: &Key) {
        if let Some(flight) = self.shard(key).get(key) {
            flight.expired.store(true, Ordering::SeqCst);
        }
    }

    /// A flight that nobody else can find: for a load inside a load of the same key.
    pub(crate) fn alone() -> Arc<Flight> {
        Flight::new(None)
    }

    /// Takes a flight off the table, if it is still the key's.
    pub(crate) fn remove(&self, key: &Key, flight: &Arc<Flight>) {
        let mut shard = self.shard(key);
        let any = seeded_bug!("any_flight_is_removed");
        if shard.get(key).is_some_and(|current| any || Arc::ptr_eq(current, flight)) {
            shard.remove(key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight>, Carried>> {
        let at = (key.hash >> 40) as usize % SHARDS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A flight's work, run by whoever polls it, and by a task of its own once they stop before it is done.
pub(crate) struct Driven {
    work: Option<Work>,
    on_detach: Option<Box<dyn FnOnce(Work) + Send>>,
}

impl Driven {
    /// `on_detach` gets what is left of the work.
    pub(crate) fn new(work: Work, on_detach: Box<dyn FnOnce(Work) + Send>) -> Self {
        Driven { work: Some(work), on_detach: Some(on_detach) }
    }
}

impl Future for Driven {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = self.work.as_mut() else { return Poll::Ready(()) };
        std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(())
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if let (Some(work), Some(on_detach)) = (self.work.take(), self.on_detach.take()) {
            on_detach(work);
        }
    }
}
