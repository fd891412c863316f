//! A store in memory that does whatever the port allows a store to do, on command.
//!
//! It may lose entries, go back to an earlier state, hand out one key's bytes under another, damage bytes, fail,
//! and answer late. It never expires anything by itself, and has no size cap. It knows who leads which flight, unless
//! told to forget, to grant a flight to everybody, or to wake nobody; leads lapse by tokio's time.

use super::fake_flights::FakeFlights;
use super::gate::{Gate, Hold};
use larder_core::port::{BoxFuture, Claim, Claimed, Holder, Left, SharedFlights, Store, StoreError, Stored};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Entries = BTreeMap<Vec<u8>, Stored>;

/// A store for tests. Clones share everything, so a test keeps one and hands the cache another.
#[derive(Clone)]
pub struct FakeStore {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Mutex<Entries>,
    failing: AtomicBool,
    failing_calls: AtomicU64,
    closed: AtomicBool,
    gets_gate: Gate,
    puts_gate: Gate,
    claims_gate: Gate,
    flights: Mutex<FakeFlights>,
    calls: Mutex<StoreCalls>,
}

/// What a [`FakeStore`] held at one time.
#[derive(Clone, Debug)]
pub struct Snapshot(Entries);

/// How often each method was called, failures included, and with how many keys in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCalls {
    /// [`Store::get_many`].
    pub gets: u64,
    /// Keys asked for.
    pub keys_asked: u64,
    /// [`Store::put_many`].
    pub puts: u64,
    /// Entries put.
    pub entries_put: u64,
    /// [`Store::remove_many`].
    pub removes: u64,
    /// [`SharedFlights::claim_many`].
    pub claims: u64,
    /// [`SharedFlights::leave_many`].
    pub leaves: u64,
}

impl FakeStore {
    /// An empty store without faults.
    pub fn new() -> Self {
        FakeStore {
            shared: Arc::new(Shared {
                entries: Mutex::default(),
                failing: AtomicBool::new(false),
                failing_calls: AtomicU64::new(0),
                closed: AtomicBool::new(false),
                gets_gate: Gate::open(),
                puts_gate: Gate::open(),
                claims_gate: Gate::open(),
                flights: Mutex::default(),
                calls: Mutex::default(),
            }),
        }
    }

    /// Loses everything.
    pub fn lose_all(&self) {
        self.entries().clear();
    }

    /// Loses one key; says whether it was there.
    pub fn lose(&self, key: &[u8]) -> bool {
        self.entries().remove(key).is_some()
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.entries().clone())
    }

    /// Goes back to what it held then.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.entries().clone_from(&snapshot.0);
    }

    /// Exchanges the bytes of two keys; says whether both were there.
    pub fn swap(&self, one: &[u8], other: &[u8]) -> bool {
        let mut entries = self.entries();
        let (Some(a), Some(b)) = (entries.get(one).cloned(), entries.get(other).cloned()) else {
            return false;
        };
        entries.insert(one.to_vec(), Stored { key: one.to_vec(), ..b });
        entries.insert(other.to_vec(), Stored { key: other.to_vec(), ..a });
        true
    }

    /// Changes the bytes of a key; says whether it was there.
    pub fn corrupt(&self, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return false };
        change(&mut entry.bytes);
        true
    }

    /// Changes the bytes of every key.
    pub fn corrupt_all(&self, mut change: impl FnMut(&mut Vec<u8>)) {
        self.entries().values_mut().for_each(|entry| change(&mut entry.bytes));
    }

    /// The keys it holds, in order.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.entries().keys().cloned().collect()
    }

    /// What it holds under a key.
    pub fn peek(&self, key: &[u8]) -> Option<Stored> {
        self.entries().get(key).cloned()
    }

    /// While set, every call fails and changes nothing.
    pub fn set_failing(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// The next `calls` that get, put or remove fail and change nothing.
    pub fn fail_next(&self, calls: u64) {
        self.shared.failing_calls.store(calls, Ordering::SeqCst);
    }

    /// `get_many` waits, before it looks, until the hold is dropped.
    pub fn hold_gets(&self) -> Hold {
        self.shared.gets_gate.hold()
    }

    /// `put_many` and `remove_many` wait, before they change anything, until the hold is dropped.
    pub fn hold_puts(&self) -> Hold {
        self.shared.puts_gate.hold()
    }

    /// Claims of flights wait, before they are decided, until the hold is dropped.
    pub fn hold_claims(&self) -> Hold {
        self.shared.claims_gate.hold()
    }

    /// Forgets who leads which flight. Whoever waits is not told.
    pub fn forget_flights(&self) {
        self.flights_known().forget();
    }

    /// While set, whoever claims a flight leads it.
    pub fn set_grants_to_all(&self, grants: bool) {
        self.flights_known().grants_to_all = grants;
    }

    /// While set, the end of a flight wakes nobody.
    pub fn set_drops_wakes(&self, drops: bool) {
        self.flights_known().drops_wakes = drops;
    }

    /// How many flights are led now.
    pub fn flights_led(&self) -> usize {
        self.flights_known().led()
    }

    /// How many flights somebody listens for the end of.
    pub fn flights_watched(&self) -> usize {
        self.flights_known().watched()
    }

    fn flights_known(&self) -> MutexGuard<'_, FakeFlights> {
        self.shared.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it was called.
    pub fn calls(&self) -> StoreCalls {
        *self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: impl FnOnce(&mut StoreCalls)) {
        count(&mut self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn open(&self) -> Result<(), StoreError> {
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(StoreError::refused("the fake store is closed"));
        }
        Ok(())
    }

    fn usable(&self) -> Result<(), StoreError> {
        self.reachable()?;
        let countdown = |n: u64| n.checked_sub(1);
        match self.shared.failing_calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, countdown) {
            Ok(_) => Err(fault()),
            Err(_) => Ok(()),
        }
    }

    fn reachable(&self) -> Result<(), StoreError> {
        self.open()?;
        if self.shared.failing.load(Ordering::SeqCst) { Err(fault()) } else { Ok(()) }
    }
}

fn fault() -> StoreError {
    StoreError::new("a fault for tests", std::io::Error::other("fault"))
}

impl Default for FakeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for FakeStore {
    fn get_many<'a>(
        &'a self,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            self.count(|calls| {
                calls.gets += 1;
                calls.keys_asked += keys.len() as u64;
            });
            self.shared.gets_gate.pass().await;
            self.usable()?;
            let entries = self.entries();
            Ok(keys.iter().map(|key| entries.get(key).map(|entry| entry.bytes.clone())).collect())
        })
    }

    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.count(|calls| {
                calls.puts += 1;
                calls.entries_put += entries.len() as u64;
            });
            self.shared.puts_gate.pass().await;
            self.usable()?;
            self.entries().extend(entries.into_iter().map(|entry| (entry.key.clone(), entry)));
            Ok(())
        })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.count(|calls| calls.removes += 1);
            self.shared.puts_gate.pass().await;
            self.usable()?;
            let mut entries = self.entries();
            keys.iter().for_each(|key| {
                entries.remove(key);
            });
            Ok(())
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        Box::pin(async move {
            // Faults are not meant for this: the cache asks by itself, at any time.
            self.open()?;
            let entries = self.entries();
            let bytes = entries.iter().map(|(key, entry)| key.len() + entry.bytes.len()).sum::<usize>();
            Ok((entries.len() as u64, bytes as u64))
        })
    }

    fn name(&self) -> &'static str {
        "fake"
    }

    fn flights(&self) -> Option<&dyn SharedFlights> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.closed.store(true, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

impl SharedFlights for FakeStore {
    fn claim_many<'a>(
        &'a self,
        claims: &'a [Claim],
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            self.count(|calls| calls.claims += 1);
            self.shared.claims_gate.pass().await;
            self.reachable()?;
            let mut flights = self.flights_known();
            Ok(claims.iter().map(|claim| flights.claim(claim, lasts)).collect())
        })
    }

    fn leave_many<'a>(
        &'a self,
        left_flights: &'a [(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.count(|calls| calls.leaves += 1);
            self.reachable()?;
            let mut flights = self.flights_known();
            left_flights.iter().for_each(|(key, holder)| flights.leave(key, *holder, left, remembered));
            Ok(())
        })
    }

    fn watch(&self, key: &[u8]) -> BoxFuture<'static, ()> {
        self.flights_known().watch(key)
    }
}
