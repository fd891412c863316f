//! Running a load: its turn at the source, its stamp, its deadlines, its panics; and what becomes of its answer.

use super::flights::{Driven, Flight, Landed, Work};
use super::nested::{self, Gathered, LoadState};
use super::shared::{self, Due, Led};
use super::{Engine, Scope};
use crate::error::{Error, LoadError};
use crate::memory::{Entry, Key, Value};
use crate::observe::{Count, RegionStats};
use larder_core::port::Left;
use larder_core::{Birth, seeded_bug};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a loader answered about one key.
pub(crate) enum Answer {
    Value(Value),
    Absent,
    NotModified,
    Failed(String),
}

impl Answer {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Answer::Absent)
    }
}

pub(crate) type LoadFuture = Pin<Box<dyn Future<Output = Result<Answer, LoadError>> + Send>>;
pub(crate) type Loader = Box<dyn FnOnce(Arc<LoadState>, Option<Arc<Entry>>) -> LoadFuture + Send>;

impl Engine {
    /// A flight's work, to be polled by the reader that leads it.
    pub(crate) fn lead(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: Key,
        flight: Arc<Flight>,
        previous: Option<Arc<Entry>>,
        loader: Loader,
    ) -> Driven {
        let (engine, scope) = (self.clone(), scope.clone());
        let landing = Landing::new(self, [(key.clone(), flight.clone())]);
        let carried = vec![flight.clone()];
        let stats = scope.stats.clone();
        let may_wait = shared::may_wait();
        let work = async move {
            let led = match engine.clear(&scope, &landing, may_wait).await {
                Due::Serve(_, entry) => return engine.land_found(&scope, &landing, 0, entry),
                Due::Load(_, led) => led,
            };
            let load = engine.fly(&scope, &key, &flight, previous.as_ref(), loader);
            let composed = engine.while_leading(&led, load).await;
            engine.land(&scope, &landing, 0, previous.as_ref(), composed, led);
        };
        self.driven(stats, carried, Box::pin(work))
    }

    /// Whether the one flight of this landing is to be loaded, after waiting for another node that loads it.
    async fn clear(self: &Arc<Self>, scope: &Scope, landing: &Landing, may_wait: bool) -> Due {
        let Some(mut shared) = self.share(scope, landing.flights(), may_wait) else {
            return Due::Load(0, None);
        };
        loop {
            shared.advance(self, scope, landing.flights()).await;
            match shared.due(scope).pop() {
                Some(due) => return due,
                None if shared.is_done() => return Due::Load(0, None),
                None => shared.wait(self).await,
            }
        }
    }

    /// Ends one flight with what another node's load brought.
    pub(super) fn land_found(&self, scope: &Scope, landing: &Landing, at: usize, entry: Arc<Entry>) {
        let (key, flight) = &landing.flights[at];
        self.keep_landed(scope, key, flight, &entry);
        landing.land(at, Ok(entry));
    }

    /// The work that carries these flights: run by whoever polls it, and in the background once they stop.
    pub(super) fn driven(
        self: &Arc<Self>,
        stats: Arc<RegionStats>,
        flights: Vec<Arc<Flight>>,
        work: Work,
    ) -> Driven {
        let engine = self.clone();
        let on_detach = move |rest| {
            let running = flights.iter().filter(|flight| flight.plan().detach()).count();
            if running > 0 {
                stats.add(Count::Detached);
                engine.spawn(rest);
            }
        };
        Driven::new(work, Box::new(on_detach))
    }

    /// Ends one flight with what its load came to: memory first, so that whoever is not woken finds it there; the
    /// stores last, since nobody waits for them.
    pub(super) fn land(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        landing: &Landing,
        at: usize,
        previous: Option<&Arc<Entry>>,
        composed: Result<(Arc<Entry>, bool), Error>,
        led: Option<Led>,
    ) {
        let (key, flight) = &landing.flights[at];
        let mut stored = None;
        match (&composed, previous) {
            (Ok((entry, true)), _) => stored = self.keep_landed(scope, key, flight, entry),
            (Ok((entry, false)), _) => self.forget_if_gone(scope, key, flight, entry, previous),
            (Err(_), Some(previous)) => previous.gate.failed(self.time.now(), &scope.policy.expiry),
            (Err(_), None) => {}
        }
        let overtaken = matches!(composed, Ok((_, true)));
        landing.land(at, composed.map(|(entry, _)| entry));
        match stored {
            Some(entry) => self.store_later(scope, key, &entry, led),
            None => self.leave_later(led, if overtaken { Left::Landed } else { Left::Empty }),
        }
    }

    /// Loads; returns the entry and whether it is to be kept.
    async fn fly(
        &self,
        scope: &Scope,
        key: &Key,
        flight: &Flight,
        previous: Option<&Arc<Entry>>,
        loader: Loader,
    ) -> Result<(Arc<Entry>, bool), Error> {
        let (source, previous_given) = (scope.source.identity(), previous.cloned());
        let state = LoadState::new(self.identity(), scope.tenant_path.clone(), source, vec![key.clone()]);
        let load = self.run_loader(
            scope,
            state.clone(),
            |born, at| flight.begin(born, at),
            |state| loader(state, previous_given),
        );
        let (born, answer) = load.await?;
        let late = flight.plan().is_detached() && seeded_bug!("stamp_after_load_background");
        let born = if late { self.fences.birth() } else { born };
        let mut gathered = state.gathered(0);
        self.compose(scope, key, born, &mut gathered, answer, previous)
    }

    /// Waits for a turn at the source, takes the stamp, and runs the loader under its hard timeout.
    pub(crate) async fn run_loader<A, F>(
        &self,
        scope: &Scope,
        state: Arc<LoadState>,
        begin: impl FnOnce(Option<Birth>, u64),
        loader: impl FnOnce(Arc<LoadState>) -> F,
    ) -> Result<(Option<Birth>, A), Error>
    where
        F: Future<Output = Result<A, LoadError>>,
    {
        let stats = &scope.stats;
        let place = if seeded_bug!("load_without_place") {
            Ok(None)
        } else {
            scope.source.place(&self.runtime).await
        };
        state.take_place(place.inspect_err(|_| stats.add(Count::LoadOverloaded))?);
        // The mistake: a clock that had jumped ahead, and was set right since, has a load begin after those who came later.
        let jumps = seeded_bug!("flight_began_on_the_cheap_clock");
        let began = if jumps { self.time.now() } else { self.time.trusted() };
        // Before the loader is so much as called: its snapshot may be taken in its first instruction.
        let born = self.birth(scope);
        begin(born, began);
        stats.add(Count::Load);
        let hard = scope.policy.hard_timeout;
        let (given, asked) = (state.clone(), state.clone());
        let work = nested::within(state, CatchPanic(Box::pin(async move { loader(given).await })));
        let ended = self.runtime.timeout(hard, work).await;
        stats.loads.record(Duration::from_nanos(self.time.trusted().saturating_sub(began)));
        let born = if seeded_bug!("stamp_after_load") { self.fences.birth() } else { born };
        let born = if asked.lags() { self.birth_of_lagging(born) } else { born };
        let (count, error) = match ended {
            Ok(Ok(Ok(answer))) => return Ok((born, answer)),
            Ok(Ok(Err(error))) => (Count::LoadFailed, Error::load(error)),
            Ok(Err(message)) => (Count::LoadFailed, Error::panicked(message)),
            Err(_) => (Count::LoadTimedOut, Error::timed_out(hard)),
        };
        stats.add(count);
        Err(error)
    }

    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Gathered {
    /// What the load, and everything it was built from, was born with.
    pub(crate) fn oldest_birth(&self, born: Option<Birth>) -> Option<Birth> {
        match self.oldest {
            None => born,
            Some(oldest) => Some(oldest?.min(born?)),
        }
    }
}

/// Flights that must end, whatever happens to the work that carries them: dropped with one still open (a runtime
/// shutting down, a panic outside the loader), it ends it with an error, and followers load for themselves.
pub(crate) struct Landing {
    engine: Arc<Engine>,
    flights: Vec<(Key, Arc<Flight>)>,
}

impl Landing {
    pub(crate) fn new(engine: &Arc<Engine>, flights: impl IntoIterator<Item = (Key, Arc<Flight>)>) -> Self {
        Landing { engine: engine.clone(), flights: flights.into_iter().collect() }
    }

    /// Ends the flight at this place: off the table first, so that whoever is not woken does not join it.
    pub(crate) fn land(&self, at: usize, landed: Landed) {
        let (key, flight) = &self.flights[at];
        self.engine.flights.remove(key, flight);
        flight.settle(landed);
    }

    pub(crate) fn flights(&self) -> &[(Key, Arc<Flight>)] {
        &self.flights
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        for at in 0..self.flights.len() {
            if self.flights[at].1.peek().is_none() {
                self.land(at, Err(Error::abandoned()));
            }
        }
    }
}

/// Turns a panic of the inner future into its message.
struct CatchPanic<F>(F);

impl<F: Future> Future for CatchPanic<Pin<Box<F>>> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                Poll::Ready(Err(text.unwrap_or_else(|| "no message".to_owned())))
            }
        }
    }
}
