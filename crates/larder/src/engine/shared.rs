//! Loads among nodes: leading a key's flight at the store that nodes share, and waiting for the node that leads it.
//!
//! The core's shared plan decides; this asks the store, waits and looks. What another node's load brought comes out of
//! the store and is judged like everything that does. Nothing here may make a load fail: at worst it begins late.

use super::flights::Flight;
use super::nested;
use super::{Engine, Scope};
use crate::memory::{Entry, Key};
use crate::observe::Count;
use larder_core::expiry::nanos;
use larder_core::plan::{Looked, SharedPlan, SharedStep};
use larder_core::port::{BoxFuture, Claim, Claimed, Holder, Left, Nanos};
use larder_core::{Life, Stamp, Verdict, seeded_bug};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a flight is led without being prolonged: after so long, the death of the node that leads it is noticed.
const LEADS_FOR: Duration = Duration::from_secs(1);
/// How long the end of a flight is remembered: longer than it takes until whoever was not woken asks again.
const REMEMBERED_FOR: Duration = Duration::from_secs(2);

/// A key's flight that a load of this node leads. To be left at its end; forgotten, it ends when its time is up.
pub(crate) struct Led {
    tier: usize,
    claim: Claim,
}

/// A flight to be left once its entry is stored; dropped before, it is left with nothing to share.
pub(super) struct Leaving {
    engine: Arc<Engine>,
    led: Option<Led>,
}

impl Leaving {
    pub(super) fn new(engine: &Arc<Engine>, led: Option<Led>) -> Self {
        Leaving { engine: engine.clone(), led }
    }

    pub(super) async fn leave(mut self, left: Left) {
        if let Some(led) = self.led.take() {
            self.engine.leave(led, left).await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.engine.leave_later(self.led.take(), Left::Empty);
    }
}

/// One key of a load that may be another node's to run.
struct Sharing {
    /// Its place among the flights of the load.
    at: usize,
    flight: Arc<Flight>,
    claim: Claim,
    plan: SharedPlan,
    step: SharedStep,
    /// Completes when the flight of another node may be over.
    ended: Option<BoxFuture<'static, ()>>,
    found: Option<Arc<Entry>>,
    has_waited: bool,
}

/// What is to be done about one key: its place, and an entry to serve, or `None` to load it, leading its flight or not.
pub(super) enum Due {
    Serve(usize, Arc<Entry>),
    Load(usize, Option<Led>),
}

/// The keys of one load, on their way to be loaded or to be served with what other nodes loaded.
pub(super) struct Shared {
    tier: usize,
    keys: Vec<Sharing>,
    now: Nanos,
}

/// Whether a load that is begun here and now may wait for other nodes. One inside another load must not: it may hold
/// what those wait for.
pub(super) fn may_wait() -> bool {
    !nested::is_loading() || seeded_bug!("nested_load_waits_for_nodes")
}

impl Engine {
    /// The store at which loads of this region are shared with other nodes, if any is.
    fn shared_tier(&self, scope: &Scope) -> Option<usize> {
        if scope.policy.own_flights {
            return None;
        }
        (0..self.stores_of(scope)).find(|at| self.tiers[*at].shares_flights())
    }

    /// How long the longest flight takes, from when it was begun.
    pub(super) fn flight_lasts(&self, scope: &Scope) -> Duration {
        let hard = scope.policy.hard_timeout;
        let waits = if self.shared_tier(scope).is_some() { hard } else { Duration::ZERO };
        hard.saturating_add(waits).saturating_add(scope.source.queue_deadline())
    }

    /// These flights, before they are loaded. `None` when there is nothing to share them with: to be loaded at once.
    pub(super) fn share(
        &self,
        scope: &Scope,
        flights: &[(Key, Arc<Flight>)],
        may_wait: bool,
    ) -> Option<Shared> {
        let tier = self.shared_tier(scope).filter(|tier| self.tiers[*tier].is_well())?;
        let now = self.time.now();
        // Before any history was adopted nothing is kept, so there is nothing to share.
        let stamp = self.birth(scope)?.stamp;
        let hard = nanos(scope.policy.hard_timeout);
        let keys = flights.iter().enumerate().map(|(at, (key, flight))| {
            let (holder, displaced) = flight.named(|| self.holder());
            let plan = SharedPlan::new(may_wait, now.saturating_add(hard), displaced);
            Sharing {
                at,
                flight: flight.clone(),
                claim: Claim { key: self.store_key(scope, key), holder, stamp, past: None },
                step: plan.begin(),
                plan,
                ended: None,
                found: None,
                has_waited: false,
            }
        });
        Some(Shared { tier, keys: keys.collect(), now })
    }

    fn holder(&self) -> Holder {
        Holder::new(u128::from(self.random_bits()) << 64 | u128::from(self.random_bits()))
    }

    /// Runs a load and goes on leading these flights until it has ended.
    pub(super) async fn while_leading<'a, T>(
        &self,
        led: impl IntoIterator<Item = &'a Led>,
        load: impl Future<Output = T>,
    ) -> T {
        let mut led = led.into_iter().peekable();
        let Some(tier) = led.peek().map(|led| led.tier) else { return load.await };
        let mut claims: Vec<Claim> = led.map(|led| led.claim.clone()).collect();
        let prolong = async {
            loop {
                self.runtime.sleep(LEADS_FOR / 3).await;
                if claims.is_empty() || seeded_bug!("shared_flight_not_prolonged") {
                    return std::future::pending().await;
                }
                if let Some(answers) = self.claim(tier, &claims).await {
                    let mut answers = answers.into_iter();
                    // What another took over is the other's.
                    claims.retain(|_| answers.next() == Some(Claimed::Leads));
                }
            }
        };
        tokio::select! {
            biased;
            done = load => done,
            never = prolong => never,
        }
    }

    async fn claim(&self, tier: usize, claims: &[Claim]) -> Option<Vec<Claimed>> {
        let answers = self.tiers[tier].claim(self, claims, LEADS_FOR).await.ok()?;
        // Whatever the store is thinking of, it did not understand the question.
        (answers.len() == claims.len()).then_some(answers)
    }

    /// Ends a flight that was led, and wakes the nodes that wait for it.
    pub(super) async fn leave(&self, led: Led, left: Left) {
        let flights = [(led.claim.key, led.claim.holder)];
        self.tiers[led.tier].leave(self, &flights, left, REMEMBERED_FOR).await;
    }

    /// [`Engine::leave`] in the background.
    pub(super) fn leave_later(self: &Arc<Self>, led: Option<Led>, left: Left) {
        if let Some(led) = led {
            let engine = self.clone();
            self.spawn(async move { engine.leave(led, left).await });
        }
    }

    /// What the rule says, for the key itself, of a load of another node that was born with this stamp.
    fn judge_stamp(&self, scope: &Scope, key: &Key, stamp: Stamp) -> (Verdict, Option<u64>) {
        match self.fences.locate(stamp) {
            Some(birth) => (self.judge_birth(scope, key, birth.local), Some(birth.local)),
            // Ahead of this node, or of another history: known when it comes.
            None => (Verdict::Unconfirmed, None),
        }
    }
}

impl Shared {
    /// Claims and looks, until each key is to be loaded, served, or waited for.
    pub(super) async fn advance(&mut self, engine: &Arc<Engine>, scope: &Scope, keys: &[(Key, Arc<Flight>)]) {
        loop {
            let (mut claiming, mut looking) = (Vec::new(), Vec::new());
            for (place, sharing) in self.keys.iter_mut().enumerate() {
                match sharing.step {
                    SharedStep::Claim(past) => {
                        sharing.claim.past = past;
                        claiming.push(place);
                    }
                    SharedStep::Look => looking.push(place),
                    SharedStep::Wait(_) | SharedStep::Load(_) | SharedStep::Serve => {}
                }
            }
            if claiming.is_empty() && looking.is_empty() {
                return;
            }
            self.claim(engine, scope, keys, &claiming).await;
            self.look(engine, scope, keys, &looking).await;
        }
    }

    async fn claim(
        &mut self,
        engine: &Arc<Engine>,
        scope: &Scope,
        keys: &[(Key, Arc<Flight>)],
        places: &[usize],
    ) {
        if places.is_empty() {
            return;
        }
        let mut claims = Vec::with_capacity(places.len());
        // A load that waited is born when it has.
        let born = engine.birth(scope).filter(|_| !seeded_bug!("claim_keeps_its_stamp"));
        for place in places {
            let sharing = &mut self.keys[*place];
            sharing.claim.stamp = born.map_or(sharing.claim.stamp, |born| born.stamp);
            // Before the claim, so that an end after its answer is not missed.
            if sharing.ended.is_none() && !seeded_bug!("watch_after_claim") {
                sharing.ended = engine.tiers[self.tier].watch(&sharing.claim.key);
            }
            claims.push(sharing.claim.clone());
        }
        let answers = engine.claim(self.tier, &claims).await;
        self.now = self.now.max(engine.time.now());
        for (n, place) in places.iter().enumerate() {
            let sharing = &mut self.keys[*place];
            let answer = answers.as_ref().map(|answers| answers[n]);
            let (verdict, local) = match answer {
                Some(Claimed::Waits { stamp, .. } | Claimed::Landed { stamp, .. }) => {
                    engine.judge_stamp(scope, &keys[sharing.at].0, stamp)
                }
                _ => (Verdict::Fresh, None),
            };
            sharing.step = sharing.plan.claimed(answer, verdict, self.now);
            let waits = matches!(sharing.step, SharedStep::Wait(_));
            sharing.flight.awaits(local.filter(|_| waits));
            if waits && !sharing.has_waited {
                sharing.has_waited = true;
                scope.stats.add(Count::LoadAwaited);
            }
            if waits && seeded_bug!("watch_after_claim") {
                sharing.ended = engine.tiers[self.tier].watch(&sharing.claim.key);
            }
        }
    }

    /// Looks for what other nodes brought; if this node is behind what they stamped it with, once more after catching up.
    async fn look(
        &mut self,
        engine: &Arc<Engine>,
        scope: &Scope,
        keys: &[(Key, Arc<Flight>)],
        places: &[usize],
    ) {
        let mut left = places.to_vec();
        for may_confirm in [true, false] {
            if left.is_empty() {
                return;
            }
            let asked: Vec<&Key> = left.iter().map(|place| &keys[self.keys[*place].at].0).collect();
            let confirmed = engine.fences.lease().load();
            let rows = engine.fetch(scope, self.tier, &asked).await;
            let mut again = Vec::new();
            for (n, place) in left.iter().enumerate() {
                let sharing = &mut self.keys[*place];
                let looked = match &rows {
                    Err(_) => Looked::Failed,
                    Ok(rows) => match &rows[n] {
                        None => Looked::Nothing,
                        Some(entry) => {
                            let (verdict, now) = engine.judge(scope, asked[n], entry, confirmed);
                            let is_ahead = entry.born.is_none() || verdict == Verdict::Unconfirmed;
                            if is_ahead && may_confirm {
                                again.push(*place);
                                continue;
                            }
                            let serves = verdict.is_fresh() || seeded_bug!("landed_elsewhere_skips_rule");
                            sharing.found = Some(entry.clone());
                            match verdict {
                                Verdict::Unconfirmed => Looked::Failed,
                                _ if serves && entry.times.life(now) == Life::Fresh => Looked::Serves,
                                _ => Looked::Nothing,
                            }
                        }
                    },
                };
                sharing.step = sharing.plan.looked(looked);
            }
            if !again.is_empty() && !engine.confirm_lease().await {
                for place in again.drain(..) {
                    let sharing = &mut self.keys[place];
                    sharing.step = sharing.plan.looked(Looked::Failed);
                }
            }
            left = again;
        }
    }

    /// Takes the keys that are to be served or loaded now.
    pub(super) fn due(&mut self, scope: &Scope) -> Vec<Due> {
        let tier = self.tier;
        let mut due = Vec::new();
        self.keys.retain_mut(|sharing| match (sharing.step, sharing.found.take()) {
            (SharedStep::Serve, Some(entry)) => {
                scope.stats.add(Count::LoadSpared);
                due.push(Due::Serve(sharing.at, entry));
                false
            }
            (SharedStep::Load(leads), _) => {
                sharing.flight.awaits(None);
                let claim = Claim { past: None, ..sharing.claim.clone() };
                due.push(Due::Load(sharing.at, leads.then_some(Led { tier, claim })));
                false
            }
            _ => true,
        });
        due
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.keys.is_empty()
    }

    /// Waits until the flight of one of the keys may be over.
    pub(super) async fn wait(&mut self, engine: &Engine) {
        let wakes = |sharing: &Sharing| match sharing.step {
            SharedStep::Wait(until) => Some(until),
            _ => None,
        };
        let Some(until) = self.keys.iter().filter_map(wakes).min() else { return };
        let pause = Duration::from_nanos(until.saturating_sub(self.now));
        let keys = &mut self.keys;
        let any_ended = poll_fn(|context| {
            let mut any = false;
            for sharing in keys.iter_mut() {
                if let Some(ended) = &mut sharing.ended
                    && ended.as_mut().poll(context).is_ready()
                {
                    sharing.ended = None;
                    any = true;
                }
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        });
        let is_over = engine.runtime.timeout(pause, any_ended).await.is_err();
        // A timer that has run stands for the time it was set for, whatever the clock says.
        self.now = engine.time.now().max(if is_over { until } else { self.now });
        for sharing in &mut self.keys {
            let Some(until) = wakes(sharing) else { continue };
            let woken = sharing.ended.is_none();
            if woken || self.now >= until {
                sharing.step = sharing.plan.waited(woken, self.now);
            }
        }
    }
}
