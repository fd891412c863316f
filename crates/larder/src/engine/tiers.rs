//! The tiers below memory: envelopes in and out of stores, each store behind a deadline and a breaker.
//!
//! What a store returns is bytes of unknown worth: checked, decoded, located in this node's history, and then
//! judged like any other entry. Promotion keeps age, expiries and stamp; it never stamps anew.

mod reclaim;

use super::breaker::{Breaker, Leave};
use super::shared::{Leaving, Led};
use super::{Engine, Scope};
use crate::codec::{Codec, Compression};
use crate::memory::{Entry, Head, Key, Rest, Value};
use crate::observe::{Count, StoreCount, StoreSnapshot, StoreStats};
use larder_core::expiry::{Times, nanos};
use larder_core::port::{
    BoxFuture, Claim, Claimed, Holder, Leaf, Left, Nanos, News, Store, StoreError, Stored, Use,
};
use larder_core::{Content, Envelope, EnvelopeHead, Limits, seeded_bug};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// How long one operation of a store may take.
const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// How long a load waits to hear whether another node is loading the same. It may take longer than that to load, or not.
const CLAIM_DEADLINE: Duration = Duration::from_millis(500);
const MS: Nanos = 1_000_000;

/// Whose turn it is to write a key to the stores: a store may carry out two writes of one key in any order.
pub(crate) struct Turns(Box<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Self {
        Turns((0..64).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// Waits for those who came before.
    async fn of(&self, key: &Key) -> MutexGuard<'_, ()> {
        self.0[(key.hash >> 48) as usize % self.0.len()].lock().await
    }
}

/// One store with what is known of its health.
pub(crate) struct Tier {
    store: Arc<dyn Store>,
    /// A store that takes no writes may still answer reads, and the other way round.
    reads: Breaker,
    writes: Breaker,
    /// Who loads what among nodes: without it each node loads for itself.
    claims: Breaker,
    stats: StoreStats,
    usage: Usage,
    /// A deadline for reads; `None` when the store has one that is as short.
    reads_within: Option<Duration>,
}

/// What a store held when it was last asked.
#[derive(Default)]
struct Usage {
    asked: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// Readings of both clocks, one after the other.
#[derive(Clone, Copy)]
struct Clocks {
    now: Nanos,
    wall: Nanos,
}

/// How often stores are asked what they hold.
const USAGE_EVERY_NS: Nanos = 5_000_000_000;

impl Tier {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let is_bounded = store.read_deadline().is_some_and(|deadline| deadline <= STORE_DEADLINE);
        Tier {
            store,
            reads_within: (!is_bounded).then_some(STORE_DEADLINE),
            reads: Breaker::shared(Use::Reads),
            writes: Breaker::shared(Use::Writes),
            claims: Breaker::default(),
            stats: StoreStats::default(),
            usage: Usage::default(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.store.name()
    }

    pub(crate) fn snapshot(&self) -> StoreSnapshot {
        let (counts, gets) = (self.stats.counts(), self.stats.gets.snapshot());
        let (entries, bytes) = (&self.usage.entries, &self.usage.bytes);
        let (entries, bytes) = (entries.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
        StoreSnapshot {
            name: self.name(),
            entries,
            bytes,
            counts,
            gets,
            degraded: self.reads.is_open() || self.writes.is_open(),
        }
    }

    pub(crate) async fn close(&self) {
        self.store.close().await;
    }

    /// How long to rest between two looks for what is dead; `None` when the store cannot be looked through.
    pub(super) fn reclaim_rest(&self) -> Option<Duration> {
        Some(self.store.browsable()?.rest())
    }

    /// Some of what it holds; nothing while it has been failing.
    pub(super) async fn browse(
        &self,
        prefix: &[u8],
        from: u128,
        limit: usize,
    ) -> Result<Option<Leaf>, StoreError> {
        match self.store.browsable() {
            Some(store) if !self.reads.is_open() => store.browse(prefix, from, limit).await,
            _ => Ok(None),
        }
    }

    /// Removes what was found dead. Whoever puts one of them meanwhile may lose it: a miss.
    pub(super) async fn forget(&self, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.store.remove_many(keys).await?;
        self.stats.add(StoreCount::Reclaimed, keys.len() as u64);
        Ok(())
    }

    /// Whether nodes share flights at this store.
    pub(super) fn shares_flights(&self) -> bool {
        self.store.flights().is_some()
    }

    /// Whether it answered the last read; only then is it worth asking who loads.
    pub(super) fn is_well(&self) -> bool {
        !self.reads.is_failing()
    }

    /// See [`SharedFlights::claim_many`](larder_core::port::SharedFlights::claim_many).
    pub(super) async fn claim(
        &self,
        engine: &Engine,
        claims: &[Claim],
        lasts: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        let Some(flights) = self.store.flights() else { return Ok(Vec::new()) };
        self.run(engine, &self.claims, Some(CLAIM_DEADLINE), flights.claim_many(claims, lasts)).await
    }

    /// See [`SharedFlights::leave_many`](larder_core::port::SharedFlights::leave_many). What is not left ends by itself.
    pub(super) async fn leave(
        &self,
        engine: &Engine,
        led: &[(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) {
        let Some(flights) = self.store.flights() else { return };
        let leave = flights.leave_many(led, left, remembered);
        let _ = self.run(engine, &self.claims, Some(STORE_DEADLINE), leave).await;
    }

    /// See [`SharedFlights::watch`](larder_core::port::SharedFlights::watch).
    pub(super) fn watch(&self, key: &[u8]) -> Option<BoxFuture<'static, ()>> {
        self.store.flights().map(|flights| flights.watch(key))
    }

    /// Runs one operation, unless the store has been failing.
    async fn run<T>(
        &self,
        engine: &Engine,
        breaker: &Breaker,
        deadline: Option<Duration>,
        operation: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let told = || self.store.told(breaker.subject()?);
        let tell = |news| {
            if let Some(of) = breaker.subject() {
                self.store.tell(of, news);
            }
        };
        let leave = if breaker.is_open() {
            breaker.allows(engine.time.now(), deadline.unwrap_or(STORE_DEADLINE), told)
        } else {
            Leave::Granted
        };
        if leave == Leave::Refused {
            self.stats.add(StoreCount::ShortCircuited, 1);
            return Err(StoreError::refused(format!("{} is left alone after failing", self.name())));
        }
        if leave == Leave::ToTry {
            tell(News::Trying);
        }
        let result = match deadline {
            None => operation.await,
            Some(deadline) => match engine.runtime.timeout(deadline, operation).await {
                Ok(result) => result,
                Err(late) => {
                    Err(StoreError::new(format!("{}: no answer within {deadline:?}", self.name()), late))
                }
            },
        };
        let was_open = breaker.is_open();
        // What the store refused (too large, too many waiting) it was well enough to refuse.
        let is_well = result.as_ref().map_or_else(StoreError::is_refused, |_| true);
        if !is_well || !breaker.is_clear() {
            let jitter = if is_well { 0.0 } else { engine.random() };
            if let Some(news) = breaker.record(leave, is_well, engine.time.now(), jitter, told) {
                tell(news);
            }
        }
        if let Err(error) = &result {
            self.stats.add(StoreCount::Error, 1);
            if !was_open && breaker.is_open() {
                tracing::warn!(store = self.name(), %error, "a store keeps failing; the cache goes on without it");
            }
        } else if was_open {
            tracing::info!(store = self.name(), "a store that had been failing works again");
        }
        result
    }
}

impl Engine {
    /// Asks the stores what they hold, now and then, for the statistics. In tasks of its own: a store that hangs must not
    /// keep the follower from renewing the lease.
    pub(crate) fn ask_usage(self: &Arc<Self>) {
        let now = self.time.now();
        for at in 0..self.tiers.len() {
            let asked = &self.tiers[at].usage.asked;
            let last = asked.load(Ordering::Relaxed);
            if last != 0 && now < last.saturating_add(USAGE_EVERY_NS) {
                continue;
            }
            asked.store(now, Ordering::Relaxed);
            let engine = self.clone();
            self.spawn(async move {
                let tier = &engine.tiers[at];
                if let Ok(Ok((entries, bytes))) =
                    engine.runtime.timeout(STORE_DEADLINE, tier.store.usage()).await
                {
                    tier.usage.entries.store(entries, Ordering::Relaxed);
                    tier.usage.bytes.store(bytes, Ordering::Relaxed);
                }
            });
        }
    }

    /// How many stores a region's reads may go to.
    pub(crate) fn stores_of(&self, scope: &Scope) -> usize {
        if scope.policy.memory_only { 0 } else { self.tiers.len() }
    }

    /// Looks keys up in one store. `Err` when it could not be asked.
    pub(crate) async fn fetch(
        &self,
        scope: &Scope,
        tier: usize,
        keys: &[&Key],
    ) -> Result<Vec<Option<Arc<Entry>>>, StoreError> {
        let tier = &self.tiers[tier];
        let names: Vec<Vec<u8>> = keys.iter().map(|key| self.store_key(scope, key)).collect();
        let began = self.time.now();
        tier.stats.add(StoreCount::Get, names.len() as u64);
        let rows = tier.run(self, &tier.reads, tier.reads_within, tier.store.get_many(&names)).await?;
        let clocks = self.arrived(tier, began, rows.iter().flatten().count());
        let entries = keys.iter().zip(&names).zip(rows);
        Ok(entries.map(|((key, name), row)| self.revive(scope, key, name, &row?, clocks)).collect())
    }

    /// [`Engine::fetch`] of one key.
    pub(crate) async fn fetch_one(
        &self,
        scope: &Scope,
        tier: usize,
        key: &Key,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let tier = &self.tiers[tier];
        let name = self.store_key(scope, key);
        let began = self.time.now();
        tier.stats.add(StoreCount::Get, 1);
        let row = tier.run(self, &tier.reads, tier.reads_within, tier.store.get(&name)).await?;
        let clocks = self.arrived(tier, began, usize::from(row.is_some()));
        Ok(row.and_then(|bytes| self.revive(scope, key, &name, &bytes, clocks)))
    }

    /// Notes that a store has answered, and reads the clocks by which what it held is as old as it is.
    fn arrived(&self, tier: &Tier, began: Nanos, found: usize) -> Clocks {
        let clocks = Clocks { now: self.time.now(), wall: self.time.wall_ms().saturating_mul(MS) };
        tier.stats.gets.record(Duration::from_nanos(clocks.now.saturating_sub(began)));
        tier.stats.add(StoreCount::Found, found as u64);
        clocks
    }

    /// The entry in these bytes. `None` when they are not a sound envelope of this key and schema.
    fn revive(
        &self,
        scope: &Scope,
        key: &Key,
        name: &[u8],
        bytes: &[u8],
        clocks: Clocks,
    ) -> Option<Arc<Entry>> {
        let entry = self.decoded(scope, key, name, bytes, clocks);
        if entry.is_none() {
            scope.stats.add(Count::RejectedStored);
        }
        entry
    }

    fn decoded(
        &self,
        scope: &Scope,
        key: &Key,
        name: &[u8],
        bytes: &[u8],
        clocks: Clocks,
    ) -> Option<Arc<Entry>> {
        let limits = Limits {
            raw_bytes_max: scope.policy.value_bytes_max,
            stored_bytes_max: scope.policy.value_bytes_max.saturating_add(64 << 20),
            ..Limits::default()
        };
        let envelope = Envelope::decode(bytes, name, &limits).ok()?;
        envelope.check_schema(scope.schema).ok()?;
        let EnvelopeHead { stamp, tags, also, .. } = &envelope.head;
        // Not in the history this node follows: born below every floor, so the rule refuses it.
        let born = self.fences.locate(*stamp);
        let born = if seeded_bug!("promotion_restamps") { self.fences.birth().or(born) } else { born };
        // The name is the key's path after the namespace.
        let path = name.get(self.namespace_key.as_bytes().len()..)?;
        let dependencies = self.fences.dependencies_of(path, tags, also);
        let rest = Rest {
            dependencies,
            times: local_times(scope, &envelope.head, envelope.content, clocks)?,
            gate: Default::default(),
            born,
            tags: if tags.is_empty() { Arc::default() } else { tags.as_slice().into() },
            unnamable: false,
            value_bytes: envelope.content.raw_bytes(),
        };
        match &envelope.content {
            Content::Absent => Some(Value::Absent.file(key, rest)),
            Content::Value { codec, packing, body } => {
                let raw = Compression::unpack(*packing, body, limits.raw_bytes_max).ok()?;
                scope.codec.decode(Codec::from_id(*codec)?, &raw, Head::new(key, rest)).ok()
            }
        }
    }

    /// Writes an entry to all stores in the background. Entries that cannot be stored, or do not fit into the
    /// queue, are not: a miss later.
    ///
    /// Leaves the flight after that, if the load led one: whoever it wakes looks there.
    pub(crate) fn store_later(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        entry: &Arc<Entry>,
        led: Option<Led>,
    ) {
        if self.stores_of(scope) == 0 || entry.unnamable {
            return self.leave_later(led, Left::Empty);
        }
        let led = if seeded_bug!("woken_before_stored") {
            self.leave_later(led, Left::Landed);
            None
        } else {
            led
        };
        let leaving = Leaving::new(self, led);
        let (engine, scope, key, entry) = (self.clone(), scope.clone(), key.clone(), entry.clone());
        self.write_later(async move {
            // Memory may hold another by now: expired by the application, or loaded since. That one is written too.
            let replaced = |there: Arc<Entry>| !Arc::ptr_eq(&there, &entry);
            if engine.memory.peek(&key).is_some_and(replaced) && engine.is_superseded(&key, &entry) {
                return leaving.leave(Left::Landed).await;
            }
            let is_stored = engine.store_now(&scope, &key, &*entry).await.unwrap_or(false);
            leaving.leave(if is_stored { Left::Landed } else { Left::Empty }).await;
        });
    }

    /// Removes a key from all stores in the background, under the same bound as writes.
    pub(crate) fn unstore_later(self: &Arc<Self>, scope: &Arc<Scope>, key: &Key) {
        if self.stores_of(scope) == 0 {
            return;
        }
        let (engine, scope, key) = (self.clone(), scope.clone(), key.clone());
        self.write_later(async move {
            let _ = engine.unstore(&scope, &key).await;
        });
    }

    fn write_later(&self, write: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = self.store_writes.clone().try_acquire_owned() else {
            self.tiers.iter().for_each(|tier| tier.stats.add(StoreCount::Dropped, 1));
            return;
        };
        self.spawn(async move {
            write.await;
            drop(place);
        });
    }

    /// Writes an entry to all stores; the first error, if any, after all were tried. `false` when it cannot be stored.
    pub(crate) async fn store_now(
        &self,
        scope: &Scope,
        key: &Key,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let Some(stored) = self.envelop(scope, key, entry) else { return Ok(false) };
        let _turn = self.store_turns.of(key).await;
        let mut result = Ok(());
        for tier in &self.tiers {
            tier.stats.add(StoreCount::Put, 1);
            let put = tier.store.put_many(vec![stored.clone()]);
            result = result.and(tier.run(self, &tier.writes, Some(STORE_DEADLINE), put).await);
        }
        result.map(|()| true)
    }

    fn envelop(&self, scope: &Scope, key: &Key, entry: &Entry) -> Option<Stored> {
        let late = seeded_bug!("store_restamps").then(|| self.fences.birth()).flatten();
        let stamp = late.or(entry.born)?.stamp;
        let (packing, body);
        let content = match entry.value() {
            None => Content::Absent,
            Some(value) => {
                let Ok(raw) = scope.codec.encode(value) else {
                    scope.stats.add(Count::Unencodable);
                    return None;
                };
                if raw.len() as u64 > scope.policy.value_bytes_max {
                    scope.stats.add(Count::TooLarge);
                    return None;
                }
                (packing, body) = scope.policy.compression.pack(raw);
                Content::Value { codec: scope.policy.codec.id(), packing, body: &body }
            }
        };
        let wall = entry.times.on_clock(self.time.now(), self.time.wall_ms().saturating_mul(MS));
        let name = self.store_key(scope, key);
        let head = EnvelopeHead {
            schema: scope.schema,
            stamp,
            created_ms: wall.created / MS,
            soft_ms: wall.soft / MS,
            hard_ms: wall.hard / MS,
            keep_ms: wall.end / MS,
            tags: entry.tags.to_vec(),
            also: entry.dependencies.also().to_vec(),
        };
        let expires_ms = head.keep_ms;
        let bytes = Envelope { key: &name, head, content }.encode();
        Some(Stored { key: name, bytes, expires_ms })
    }

    /// Removes a key from all stores; the first error, if any, after all were tried.
    pub(crate) async fn unstore(&self, scope: &Scope, key: &Key) -> Result<(), StoreError> {
        let names = [self.store_key(scope, key)];
        let _turn = self.store_turns.of(key).await;
        let mut result = Ok(());
        for tier in &self.tiers {
            let remove = tier.store.remove_many(&names);
            result = result.and(tier.run(self, &tier.writes, Some(STORE_DEADLINE), remove).await);
        }
        result
    }

    /// The key in stores: the namespace, then the path.
    pub(super) fn store_key(&self, scope: &Scope, key: &Key) -> Vec<u8> {
        [self.namespace_key.as_bytes(), scope.path.as_bytes(), key.segments.as_bytes()].concat()
    }
}

/// The entry's times on this node's clock. `None` when its age is anybody's guess.
fn local_times(scope: &Scope, head: &EnvelopeHead, content: Content<'_>, clocks: Clocks) -> Option<Times> {
    let Clocks { now, wall } = clocks;
    let ns = |ms: u64| ms.saturating_mul(MS);
    let (created, soft) = (ns(head.created_ms), ns(head.soft_ms));
    // Absence is not refreshed ahead, wherever it is remembered.
    let is_value = content != Content::Absent;
    let refresh = match scope.policy.expiry.refresh_ahead.filter(|_| is_value) {
        Some(fraction) => created.saturating_add((soft.saturating_sub(created) as f64 * fraction) as u64),
        None => soft,
    };
    let times = Times { created, refresh, soft, hard: ns(head.hard_ms), end: ns(head.keep_ms) };
    let times = times.on_clock(wall, now);
    // A wall clock that was set back must not prolong a life: nothing is younger than now.
    let late = times.created.saturating_sub(now);
    // Further ahead than it may live: read again and again, it would begin to live anew each time.
    if late > times.soft.saturating_sub(times.created) && !seeded_bug!("wall_clock_prolongs_life") {
        return None;
    }
    let back = |t: Nanos| t.saturating_sub(late);
    Some(Times {
        created: back(times.created),
        refresh: back(times.refresh),
        soft: back(times.soft),
        hard: back(times.hard),
        end: back(times.end),
    })
}

/// Whether a duration is worth keeping anything for.
pub(crate) fn is_worth_keeping(times: &Times, now: Nanos) -> bool {
    times.end > now && times.soft.saturating_sub(times.created) >= nanos(Duration::from_nanos(1))
}
