//! Reads of many keys at once: memory, then one question to each store, then one call of the loader for what nobody
//! is loading yet; keys that other reads are loading are waited for, not loaded again.

use super::flights::{Driven, Flight};
use super::load::Landing;
use super::nested::LoadState;
use super::read::{Fallback, Next, Seen};
use super::shared::{self, Due, Led};
use super::{Answer, Engine, Scope};
use crate::error::{Error, LoadError};
use crate::memory::{Entry, Key};
use crate::observe::Count;
use crate::outcome::{Freshness, Served, Source};
use larder_core::expiry::nanos;
use larder_core::plan::{Step, Want};
use larder_core::seeded_bug;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Answers by place in the batch; a key without one is absent from the origin.
pub(crate) type BatchAnswers = HashMap<usize, Answer>;
pub(crate) type BatchFuture = Pin<Box<dyn Future<Output = Result<BatchAnswers, LoadError>> + Send>>;
/// May be called more than once: a load that was overtaken by an invalidation is loaded again.
pub(crate) type BatchLoader =
    Arc<dyn Fn(Arc<LoadState>, Vec<Option<Arc<Entry>>>) -> BatchFuture + Send + Sync>;
pub(crate) type BatchRead = Vec<Result<Served, Error>>;

type Slot = Option<Result<Option<Served>, Error>>;

/// What each key of a batch is waiting for.
enum Waiting {
    Own,
    Other(Arc<Flight>),
}

/// The flights that a batch runs.
struct OwnFlights {
    landing: Landing,
    previous: Vec<Option<Arc<Entry>>>,
    loader: BatchLoader,
}

impl Engine {
    /// Reads distinct keys; results in their order.
    pub(crate) async fn read_many(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        keys: Vec<Key>,
        loader: BatchLoader,
    ) -> BatchRead {
        if self.is_stopped() {
            return keys.iter().map(|_| Err(Error::closed())).collect();
        }
        let began = self.time.trusted();
        let mut seen: Vec<Seen> =
            keys.iter().map(|_| Seen::new(Want::Load, self.stores_of(scope), scope, began)).collect();
        let mut slots: Vec<Slot> = keys.iter().map(|_| None).collect();
        let mut due = Vec::new();
        let missing = self.look_for_many(scope, &keys, &mut seen, &mut slots, &mut due).await;
        self.load_many(scope, &keys, &mut seen, &mut slots, missing, due, loader).await;
        self.note_reads(scope, began, keys.len());
        let results = slots.into_iter().zip(&keys).map(|(slot, key)| {
            let served = slot.unwrap_or_else(|| Err(Error::abandoned()))?.ok_or_else(Error::abandoned)?;
            self.given(scope, key, served)
        });
        results.collect()
    }

    /// Goes through the tiers; returns the places of the keys that are in none, and notes those due for a refresh.
    async fn look_for_many(
        self: &Arc<Self>,
        scope: &Scope,
        keys: &[Key],
        seen: &mut [Seen],
        slots: &mut [Slot],
        due: &mut Vec<usize>,
    ) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut steps: Vec<(usize, Step)> = (0..keys.len()).map(|at| (at, Step::Memory)).collect();
        while !steps.is_empty() {
            let mut next = Vec::new();
            let mut unconfirmed = Vec::new();
            let mut at_store: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (at, step) in steps {
                match step {
                    Step::Memory => next.push((at, self.look_in_memory(scope, &keys[at], &mut seen[at]))),
                    Step::Confirm => unconfirmed.push(at),
                    Step::Store(tier) => at_store.entry(tier).or_default().push(at),
                    Step::Load | Step::Serve(_) => match self.end_look(scope, &mut seen[at], step) {
                        Next::Done(result) => slots[at] = Some(result),
                        Next::Refresh(served) => {
                            // What is refreshed is what was served; memory may have held something older.
                            seen[at].previous = Some(served.entry.clone());
                            slots[at] = Some(Ok(Some(served)));
                            due.push(at);
                        }
                        Next::Load => missing.push(at),
                    },
                }
            }
            if !unconfirmed.is_empty() {
                // Once for all of them: a journal that hangs makes a batch wait as long as a single read.
                let renewed = self.confirm_lease().await;
                next.extend(unconfirmed.into_iter().map(|at| (at, seen[at].confirmed(renewed))));
            }
            for (tier, places) in at_store {
                let asked: Vec<&Key> = places.iter().map(|at| &keys[*at]).collect();
                let confirmed = self.fences.lease().load();
                let rows = self.fetch(scope, tier, &asked).await;
                let rows = rows.unwrap_or_else(|_| vec![None; asked.len()]);
                for (at, row) in places.into_iter().zip(rows) {
                    let step = self.found_in_store(scope, &keys[at], &mut seen[at], tier, row, confirmed);
                    next.push((at, step));
                }
            }
            steps = next;
        }
        missing
    }

    /// Loads what is missing, following flights that are under way; what is only due for a refresh rides along.
    #[allow(clippy::too_many_arguments)]
    async fn load_many(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        keys: &[Key],
        seen: &mut [Seen],
        slots: &mut [Slot],
        missing: Vec<usize>,
        due: Vec<usize>,
        loader: BatchLoader,
    ) {
        let mut own: Vec<(usize, Arc<Flight>)> = Vec::new();
        let mut waiting: Vec<(usize, Waiting)> = Vec::new();
        for at in missing {
            let shut = |(entry, _): &mut Fallback| entry.gate.is_shut(self.time.now());
            if let Some(fallback) = seen[at].fallback.take_if(shut) {
                slots[at] = Some(Ok(Some(self.fall_back(scope, fallback, Freshness::OriginFailed))));
                continue;
            }
            match self.join(scope, &keys[at]) {
                (flight, true) => {
                    if let Some(entry) = self.landed_meanwhile(scope, &keys[at]) {
                        self.flights.remove(&keys[at], &flight);
                        flight.settle(Ok(entry.clone()));
                        slots[at] = Some(Ok(Some(self.served(entry, Source::Flight))));
                        continue;
                    }
                    own.push((at, flight));
                    waiting.push((at, Waiting::Own));
                }
                (flight, false) => {
                    scope.stats.add(Count::Followed);
                    waiting.push((at, Waiting::Other(flight)));
                }
            }
        }
        // One deadline for all that can be answered without the load.
        let deadline =
            scope.policy.soft_timeout.map(|patience| self.time.now().saturating_add(nanos(patience)));
        let awaited = !own.is_empty();
        for at in due {
            if let Some(flight) = self.flights.start(&keys[at]) {
                scope.stats.add(Count::Refresh);
                own.push((at, flight));
            }
        }
        let flights: HashMap<usize, Arc<Flight>> = own.iter().cloned().collect();
        let driven = (!own.is_empty()).then(|| {
            let previous = own.iter().map(|(at, _)| seen[*at].previous.clone()).collect();
            let flights = own.iter().map(|(at, flight)| (keys[*at].clone(), flight.clone())).collect();
            self.lead_many(scope, flights, previous, loader.clone())
        });
        match driven {
            Some(driven) if awaited => self.drive_many(scope, driven, seen, &waiting).await,
            Some(driven) => self.spawn(driven),
            None => {}
        }
        for (at, waiting) in waiting {
            let (landed, source) = match waiting {
                Waiting::Own => {
                    let flight = flights.get(&at);
                    let source = flight.map_or(Source::Loader, |flight| flight.source());
                    (self.own_landed(flight).await, source)
                }
                Waiting::Other(flight) => {
                    let following = self.follow_or_load(scope, &keys[at], &seen[at], flight, &loader);
                    let landed = match deadline.filter(|_| seen[at].fallback.is_some()) {
                        Some(deadline) => {
                            let left = Duration::from_nanos(deadline.saturating_sub(self.time.now()));
                            self.runtime.timeout(left, following).await.ok()
                        }
                        None => Some(following.await),
                    };
                    (landed, Source::Flight)
                }
            };
            slots[at] = Some(self.served_or_fallback(scope, &keys[at], &mut seen[at], landed, source));
        }
    }

    /// Runs the batch's own load, for no longer than the soft timeout when every key that waits for it has a fallback.
    async fn drive_many(&self, scope: &Scope, driven: Driven, seen: &[Seen], waiting: &[(usize, Waiting)]) {
        let all_have_fallback = waiting.iter().all(|(at, _)| seen[*at].fallback.is_some());
        match scope.policy.soft_timeout.filter(|_| all_have_fallback) {
            // Dropped when the time is up, the rest goes on in the background.
            Some(patience) => drop(self.runtime.timeout(patience, driven).await),
            None => driven.await,
        }
    }

    async fn own_landed(&self, flight: Option<&Arc<Flight>>) -> Option<Result<Arc<Entry>, Error>> {
        let flight = flight?;
        // Not landed: the soft timeout has passed.
        flight.peek().cloned()
    }

    /// Follows another read's flight; when that was overtaken by an invalidation, loads the key itself.
    async fn follow_or_load(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        seen: &Seen,
        mut flight: Arc<Flight>,
        loader: &BatchLoader,
    ) -> Result<Arc<Entry>, Error> {
        loop {
            if let Some(landed) = self.follow_flight(scope, key, seen.began, &flight).await {
                return landed;
            }
            let (next, leads) = self.join(scope, key);
            flight = next;
            if leads {
                let flights = vec![(key.clone(), flight.clone())];
                self.lead_many(scope, flights, vec![seen.previous.clone()], loader.clone()).await;
                return flight.landed().await;
            }
        }
    }

    fn served_or_fallback(
        &self,
        scope: &Scope,
        key: &Key,
        seen: &mut Seen,
        landed: Option<Result<Arc<Entry>, Error>>,
        source: Source,
    ) -> Result<Option<Served>, Error> {
        match (landed, self.still_fit(scope, key, seen.fallback.take())) {
            (Some(Ok(entry)), _) => Ok(Some(self.served(entry, source))),
            (None, Some(fallback)) => Ok(Some(self.fall_back(scope, fallback, Freshness::OriginSlow))),
            (Some(Err(_)), Some(fallback)) => {
                Ok(Some(self.fall_back(scope, fallback, Freshness::OriginFailed)))
            }
            (Some(Err(error)), None) => Err(error),
            (None, None) => Err(Error::abandoned()),
        }
    }

    fn served(&self, entry: Arc<Entry>, source: Source) -> Served {
        Served { entry, source, freshness: Freshness::Fresh, now: self.time.now() }
    }

    /// The work of a batch's own flights: one call of the loader, then each key on its own.
    fn lead_many(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        flights: Vec<(Key, Arc<Flight>)>,
        previous: Vec<Option<Arc<Entry>>>,
        loader: BatchLoader,
    ) -> Driven {
        let landing = Landing::new(self, flights.iter().cloned());
        let (engine, scope) = (self.clone(), scope.clone());
        let stats = scope.stats.clone();
        let carried = flights.into_iter().map(|(_, flight)| flight).collect();
        let may_wait = shared::may_wait();
        let work = async move {
            let batch = OwnFlights { landing, previous, loader };
            let all = 0..batch.landing.flights().len();
            let Some(mut shared) = engine.share(&scope, batch.landing.flights(), may_wait) else {
                return engine.load_flights(&scope, &batch, all.map(|at| (at, None)).collect()).await;
            };
            // What nobody else loads first; what other nodes bring, or leave to be loaded, as it comes.
            loop {
                shared.advance(&engine, &scope, batch.landing.flights()).await;
                let mut due = Vec::new();
                for key in shared.due(&scope) {
                    match key {
                        Due::Serve(at, entry) => engine.land_found(&scope, &batch.landing, at, entry),
                        Due::Load(at, led) => due.push((at, led)),
                    }
                }
                if !due.is_empty() {
                    engine.load_flights(&scope, &batch, due).await;
                }
                if shared.is_done() {
                    return;
                }
                shared.wait(&engine).await;
            }
        };
        self.driven(stats, carried, Box::pin(work))
    }

    /// Calls the loader for the flights at these places, leading those that are led, and lands them.
    async fn load_flights(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        batch: &OwnFlights,
        due: Vec<(usize, Option<Led>)>,
    ) {
        let (places, led): (Vec<usize>, Vec<Option<Led>>) = due.into_iter().unzip();
        let flights = || places.iter().map(|at| &batch.landing.flights()[*at]);
        let keys = flights().map(|(key, _)| key.clone()).collect();
        let source = scope.source.identity();
        let state = LoadState::new(self.identity(), scope.tenant_path.clone(), source, keys);
        let begin = |born, at| flights().for_each(|(_, flight)| flight.begin(born, at));
        let previous = places.iter().map(|at| batch.previous[*at].clone()).collect();
        let load = self.run_loader(scope, state.clone(), begin, |state| (batch.loader)(state, previous));
        let loaded = match self.while_leading(led.iter().flatten(), load).await {
            Ok((_, answers)) if seeded_bug!("stamp_after_load_batch") => Ok((self.fences.birth(), answers)),
            loaded => loaded,
        };
        self.land_many(scope, batch, &state, loaded, places.into_iter().zip(led));
    }

    fn land_many(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        batch: &OwnFlights,
        state: &LoadState,
        loaded: Result<(Option<larder_core::Birth>, BatchAnswers), Error>,
        places: impl Iterator<Item = (usize, Option<Led>)>,
    ) {
        let OwnFlights { landing, previous, .. } = batch;
        let (born, mut answers) = match loaded {
            Ok((born, answers)) => (born, Ok(answers)),
            Err(error) => (None, Err(error)),
        };
        for (asked, (at, led)) in places.enumerate() {
            let key = &landing.flights()[at].0;
            let composed = match &mut answers {
                Ok(answers) => {
                    let answer = answers.remove(&asked).unwrap_or(Answer::Absent);
                    self.compose(scope, key, born, &mut state.gathered(asked), answer, previous[at].as_ref())
                }
                Err(error) => Err(error.clone()),
            };
            self.land(scope, landing, at, previous[at].as_ref(), composed, led);
        }
    }
}
