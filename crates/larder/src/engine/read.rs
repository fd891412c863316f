//! One read, beyond what memory could answer at once: the core's read plan, carried out.

use super::flights::{Driven, Flight, Flights};
use super::land::supersedes;
use super::{Engine, Loader, Scope, nested};
use crate::error::Error;
use crate::memory::{Entry, Head, Key};
use crate::observe::{Count, RegionStats};
use crate::outcome::{Freshness, Served, Source};
use larder_core::plan::{
    Finding, FlightPlan, Followed, Joined, LoadEnd, ReadPlan, Refresh, Serve, Step, Want,
};
use larder_core::port::Nanos;
use larder_core::{Life, Verdict, interleave, seeded_bug};
use std::sync::Arc;
use std::time::Duration;

/// What a read has come across so far.
pub(super) struct Seen {
    plan: ReadPlan,
    pub(super) began: Nanos,
    /// With the moment as of which it was judged.
    found: Option<(Arc<Entry>, Source, Nanos)>,
    pub(super) fallback: Option<Fallback>,
    /// What a loader may say "not modified" about.
    pub(super) previous: Option<Arc<Entry>>,
    miss: Count,
}

/// What may be served if the origin fails, and the tier it was found in.
pub(super) type Fallback = (Arc<Entry>, Source);

/// What a read does after the tiers.
pub(super) enum Next {
    Done(Result<Option<Served>, Error>),
    /// Serve this and refresh it in the background.
    Refresh(Served),
    Load,
}

impl Seen {
    pub(super) fn new(want: Want, stores: usize, scope: &Scope, began: Nanos) -> Self {
        let plan = ReadPlan::new(want, stores, scope.policy.expiry.fail_safe.is_some());
        Seen { plan, began, found: None, fallback: None, previous: None, miss: Count::MissCold }
    }

    /// Takes in whether the lease was renewed: what was seen under the old one counts for nothing.
    pub(super) fn confirmed(&mut self, renewed: bool) -> Step {
        self.fallback = None;
        self.plan.confirmed(renewed)
    }

    /// Takes in what one tier held.
    fn entry(
        &mut self,
        entry: Arc<Entry>,
        source: Source,
        (verdict, now): (Verdict, Nanos),
        life: Life,
        stats: &RegionStats,
    ) -> Step {
        self.miss = match (verdict, life) {
            (Verdict::Invalidated, _) => Count::MissInvalidated,
            (Verdict::BelowFloor, _) => Count::MissBelowFloor,
            (Verdict::Intended, _) => Count::MissIntended,
            (Verdict::Unconfirmed, _) => Count::MissUnconfirmed,
            (Verdict::Fresh, _) => Count::MissExpired,
        };
        if matches!(verdict, Verdict::Invalidated | Verdict::BelowFloor | Verdict::Intended) {
            stats.add(Count::RejectedByRule);
        }
        if entry.value().is_some() && self.previous.is_none() {
            self.previous = Some(entry.clone());
        }
        if self.plan.keeps_fallback(verdict, life) && entry.value().is_some() && self.fallback.is_none() {
            // It remembers failed loads, so it is what the next load is said to replace.
            self.previous = Some(entry.clone());
            self.fallback = Some((entry.clone(), source));
        }
        self.found = Some((entry, source, now));
        self.plan.found(Finding::Entry(verdict, life))
    }
}

impl Engine {
    /// Reads one key. `Ok(None)` only when looked up without a loader.
    pub(crate) async fn read(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: Key,
        loader: Option<Loader>,
    ) -> Result<Option<Served>, Error> {
        if self.is_stopped() {
            return Err(Error::closed());
        }
        let want = if loader.is_some() { Want::Load } else { Want::Lookup };
        let mut seen = Seen::new(want, self.stores_of(scope), scope, self.time.trusted());
        let result = match (self.look(scope, &key, &mut seen).await, loader) {
            (Next::Done(result), _) => result,
            (Next::Refresh(served), Some(loader)) => {
                self.refresh(scope, &key, &served.entry, loader);
                Ok(Some(served))
            }
            (Next::Refresh(served), None) => Ok(Some(served)),
            // Boxed, so that a hit is not as large as all that a load may need.
            (Next::Load, Some(loader)) => Box::pin(self.load(scope, &key, &mut seen, loader)).await.map(Some),
            (Next::Load, None) => Ok(None),
        };
        self.conclude(scope, &key, seen.began, result)
    }

    /// Ends a read.
    fn conclude(
        &self,
        scope: &Scope,
        key: &Key,
        began: Nanos,
        result: Result<Option<Served>, Error>,
    ) -> Result<Option<Served>, Error> {
        self.note_reads(scope, began, 1);
        result?.map(|served| self.given(scope, key, served)).transpose()
    }

    /// Counts and times reads that have ended now.
    pub(super) fn note_reads(&self, scope: &Scope, began: Nanos, n: usize) {
        let took = Duration::from_nanos(self.time.trusted().saturating_sub(began));
        scope.stats.reads.record_n(took, n as u64);
    }

    /// What a reader is given: adds it to the load the read happened in, and tells absence from a value.
    pub(super) fn given(&self, scope: &Scope, key: &Key, served: Served) -> Result<Served, Error> {
        self.note_nested(scope, key, &served.entry, served.now);
        if served.entry.value().is_none() { Err(Error::absent()) } else { Ok(served) }
    }

    /// Adds an entry served inside a load to what that load's entry depends on.
    #[inline]
    pub(crate) fn note_nested(&self, scope: &Scope, key: &Key, entry: &Head, now: Nanos) {
        if nested::is_loading() {
            let remaining = entry.times.remaining(now);
            nested::served(self.identity(), &scope.tenant_path, || scope.path_of(key), entry, remaining);
        }
    }

    /// Goes through the tiers.
    async fn look(self: &Arc<Self>, scope: &Scope, key: &Key, seen: &mut Seen) -> Next {
        let mut step = seen.plan.begin();
        loop {
            step = match step {
                Step::Memory => self.look_in_memory(scope, key, seen),
                Step::Store(tier) => self.look_in_store(scope, key, seen, tier).await,
                Step::Confirm => {
                    // Boxed: it is rare, and every read would carry it along.
                    let renewed = Box::pin(self.confirm_lease()).await;
                    seen.confirmed(renewed)
                }
                Step::Load | Step::Serve(_) => return self.end_look(scope, seen, step),
            }
        }
    }

    /// What a look at the tiers comes to.
    pub(super) fn end_look(&self, scope: &Scope, seen: &mut Seen, step: Step) -> Next {
        if let Step::Serve(serve) = step {
            return self.serve(scope, seen, serve);
        }
        scope.stats.add(seen.miss);
        Next::Load
    }

    pub(super) fn look_in_memory(&self, scope: &Scope, key: &Key, seen: &mut Seen) -> Step {
        // The lease before the entry and the rule; the clock after both.
        let confirmed = self.fences.lease().load();
        let Some(entry) = self.memory.get(key) else { return seen.plan.found(Finding::Nothing) };
        let (verdict, now) = self.judge(scope, key, &entry, confirmed);
        let life = entry.times.life(now);
        seen.entry(entry, Source::Memory, (verdict, now), life, &scope.stats)
    }

    async fn look_in_store(&self, scope: &Scope, key: &Key, seen: &mut Seen, tier: usize) -> Step {
        let confirmed = self.fences.lease().load();
        let entry = match self.fetch_one(scope, tier, key).await {
            Ok(entry) => entry,
            Err(_) => return seen.plan.found(Finding::Failed),
        };
        self.found_in_store(scope, key, seen, tier, entry, confirmed)
    }

    pub(super) fn found_in_store(
        &self,
        scope: &Scope,
        key: &Key,
        seen: &mut Seen,
        tier: usize,
        entry: Option<Arc<Entry>>,
        confirmed: larder_core::Confirmed,
    ) -> Step {
        let Some(entry) = entry else { return seen.plan.found(Finding::Nothing) };
        // A copy of what memory holds, or older: memory knows more about it (failed loads, an early end).
        let there = self.memory.peek(key);
        if there.as_ref().is_some_and(|there| supersedes(&**there, &*entry)) {
            return seen.plan.found(Finding::Nothing);
        }
        let (verdict, now) = self.judge(scope, key, &entry, confirmed);
        let life = entry.times.life(now);
        if life != Life::Over && matches!(verdict, Verdict::Fresh | Verdict::Unconfirmed) {
            self.keep_over(scope, key, &entry, there.as_ref());
        }
        let place = u8::try_from(tier).unwrap_or(u8::MAX);
        seen.entry(entry, Source::Store(place), (verdict, now), life, &scope.stats)
    }

    fn serve(&self, scope: &Scope, seen: &mut Seen, serve: Serve) -> Next {
        let stats = &scope.stats;
        match (serve, seen.found.take()) {
            (Serve::Found(life, refresh), Some((entry, source, now))) => {
                let now = if scope.bound.needs_lease() { now } else { self.time.now() };
                stats.add(if source == Source::Memory { Count::HitMemory } else { Count::HitStore });
                if entry.value().is_none() {
                    stats.add(Count::HitAbsent);
                }
                let stale = life == Life::Stale;
                if stale {
                    stats.add(Count::ServedRevalidating);
                }
                let freshness = if stale { Freshness::Revalidating } else { Freshness::Fresh };
                let start = refresh && entry.gate.on_access(life, now) == Refresh::Start;
                let served = Served { entry, source, freshness, now };
                if start { Next::Refresh(served) } else { Next::Done(Ok(Some(served))) }
            }
            _ => {
                stats.add(seen.miss);
                Next::Done(Ok(None))
            }
        }
    }

    /// Starts a load in the background, unless the key has one.
    pub(super) fn refresh(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        entry: &Arc<Entry>,
        loader: Loader,
    ) {
        let Some(flight) = self.flights.start(key) else { return };
        scope.stats.add(Count::Refresh);
        flight.plan().detach();
        let work = self.lead(scope, key.clone(), flight, Some(entry.clone()), loader);
        self.spawn(work);
    }

    /// Loads, alone or with others, and falls back if that fails.
    async fn load(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        seen: &mut Seen,
        loader: Loader,
    ) -> Result<Served, Error> {
        if let Some(fallback) = seen.fallback.take_if(|(entry, _)| entry.gate.is_shut(self.time.now())) {
            return Ok(self.fall_back(scope, fallback, Freshness::OriginFailed));
        }
        let patience = scope.policy.soft_timeout.filter(|_| seen.fallback.is_some());
        let work = self.load_or_follow(scope, key, seen, loader);
        let (landed, freshness) = match patience {
            None => (Some(work.await), Freshness::OriginFailed),
            Some(patience) => (self.runtime.timeout(patience, work).await.ok(), Freshness::OriginSlow),
        };
        let end = match &landed {
            Some(Ok(_)) => LoadEnd::Served,
            Some(Err(_)) => LoadEnd::Failed,
            None => LoadEnd::Slow,
        };
        let fallback = self.still_fit(scope, key, seen.fallback.take());
        match (seen.plan.loaded(end), landed, fallback) {
            (Step::Serve(Serve::Fallback), None, Some(fallback)) => {
                Ok(self.fall_back(scope, fallback, freshness))
            }
            (Step::Serve(Serve::Fallback), _, Some(fallback)) => {
                Ok(self.fall_back(scope, fallback, Freshness::OriginFailed))
            }
            (_, Some(landed), _) => {
                let (entry, source) = landed?;
                Ok(Served { entry, source, freshness: Freshness::Fresh, now: self.time.now() })
            }
            // The fallback was invalidated while the load, which goes on, took too long: nothing may be served.
            (_, None, _) => Err(Error::timed_out(patience.unwrap_or_default())),
        }
    }

    /// The fallback, unless it was invalidated while the load ran.
    pub(super) fn still_fit(&self, scope: &Scope, key: &Key, fallback: Option<Fallback>) -> Option<Fallback> {
        let confirmed = self.fences.lease().load();
        fallback.filter(|(entry, _)| {
            let (verdict, _now) = self.judge(scope, key, entry, confirmed);
            matches!(verdict, Verdict::Fresh | Verdict::Unconfirmed) || seeded_bug!("fallback_ignores_rule")
        })
    }

    pub(super) fn fall_back(&self, scope: &Scope, (entry, source): Fallback, freshness: Freshness) -> Served {
        scope.stats.add(Count::ServedFallback);
        Served { entry, source, freshness, now: self.time.now() }
    }

    async fn load_or_follow(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        seen: &Seen,
        loader: Loader,
    ) -> Result<(Arc<Entry>, Source), Error> {
        let mut loader = Some(loader);
        loop {
            let (flight, leads) = self.join(scope, key);
            if !leads {
                scope.stats.add(Count::Followed);
                match self.follow_flight(scope, key, seen.began, &flight).await {
                    Some(landed) => return landed.map(|entry| (entry, Source::Flight)),
                    None => continue,
                }
            }
            // A flight may have landed between the look into memory and now; its value is as good as ours would be.
            if let Some(entry) = self.landed_meanwhile(scope, key) {
                self.flights.remove(key, &flight);
                flight.settle(Ok(entry.clone()));
                return Ok((entry, Source::Flight));
            }
            let Some(loader) = loader.take() else { return Err(Error::abandoned()) };
            let driven = self.lead(scope, key.clone(), flight.clone(), seen.previous.clone(), loader);
            return self.drive(driven, &flight).await.map(|entry| (entry, flight.source()));
        }
    }

    /// A reader's own load, begun after its read began, needs no check.
    async fn drive(&self, driven: Driven, flight: &Flight) -> super::flights::Landed {
        driven.await;
        flight.landed().await
    }

    /// The flight to wait for, or a new one to run.
    pub(super) fn join(&self, scope: &Scope, key: &Key) -> (Arc<Flight>, bool) {
        if nested::is_loading_key(key) {
            return (Flights::alone(), true);
        }
        // A flight that has yet to begin may be waiting for the very place this task holds.
        let holds_place = nested::holds_place_at(scope.source.identity());
        self.flights.join(key, |flight| {
            if flight.is_expired() {
                return false;
            }
            let verdict = match flight.began().map(|began| began.born) {
                None if holds_place => return false,
                None => flight.awaited().map_or(Verdict::Fresh, |local| self.judge_birth(scope, key, local)),
                // Begun before any history was adopted: of no use to whoever comes later, but if each of those began
                // a load at once, there would be as many loads as readers. They wait, and then load together.
                Some(None) => Verdict::Unconfirmed,
                Some(Some(born)) => self.judge_birth(scope, key, born.local),
            };
            flight.plan().join(verdict) == Joined::Follow
        })
    }

    /// What the rule says of a load of this key born so, as far as its dependencies are known before it ends.
    pub(super) fn judge_birth(&self, scope: &Scope, key: &Key, local: u64) -> Verdict {
        let dependencies = self.fences.dependencies(&scope.path_of(key), &[], &[]);
        // Called under the lock of the flights.
        interleave::locked(|| {
            self.fences.check_local(|| local, &dependencies, &Default::default(), || scope.path_of(key))
        })
    }

    /// Waits for a flight and judges what it brought. `None`: load again.
    pub(super) async fn follow_flight(
        self: &Arc<Self>,
        scope: &Scope,
        key: &Key,
        read_began: Nanos,
        flight: &Arc<Flight>,
    ) -> Option<Result<Arc<Entry>, Error>> {
        // As long as its own deadlines can take. A reader that neither polls nor drops its read stops those too.
        let Ok(landed) = self.runtime.timeout(self.flight_lasts(scope), flight.landed()).await else {
            self.flights.remove(key, flight);
            return None;
        };
        let entry = match landed {
            Ok(entry) => entry,
            // Nobody ran it to its end; somebody must.
            Err(error) if error.is_closed() && !self.is_stopped() => return None,
            Err(error) => return Some(Err(error)),
        };
        let began_after = flight.began().is_some_and(|began| began.at > read_began);
        let mut confirmed_once = false;
        // The mistake: what a replica said to one reader is good enough for all who wait.
        if seeded_bug!("replica_load_shared") && scope.hold_off.is_some() {
            return Some(Ok(entry));
        }
        loop {
            let confirmed = self.fences.lease().load();
            let (verdict, _now) = self.judge(scope, key, &entry, confirmed);
            match FlightPlan::follow(verdict, began_after) {
                Followed::Take => return Some(Ok(entry)),
                Followed::Confirm if !confirmed_once => {
                    confirmed_once = true;
                    if !self.confirm_lease().await {
                        return None;
                    }
                }
                Followed::Confirm | Followed::Again => {
                    scope.stats.add(Count::RejectedByRule);
                    return None;
                }
            }
        }
    }

    pub(super) fn landed_meanwhile(&self, scope: &Scope, key: &Key) -> Option<Arc<Entry>> {
        let confirmed = self.fences.lease().load();
        let entry = self.memory.peek(key)?;
        let (verdict, now) = self.judge(scope, key, &entry, confirmed);
        let fresh = verdict.is_fresh() && matches!(entry.times.life(now), Life::Fresh | Life::RefreshDue);
        fresh.then_some(entry)
    }
}
