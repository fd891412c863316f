//! The store as its users hold it: the port, on a [`Redis`].

use super::failed;
use super::flights::Flights;
use super::gossip::Gossip;
use super::known::KnownLarge;
use super::layout::{ENTRY, Found, LARGE, LARGE_BYTES, get, get_each, get_one, is_large, name, put, unlink};
use crate::redis::{Redis, RedisError, slot};
use crate::store::room::Room;
use larder_core::port::{
    BoxFuture, Browse, Claim, Claimed, Holder, Leaf, Left, News, SharedFlights, Store, StoreError, Stored,
    Told, Use,
};
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks for what is dead.
const RECLAIM_EVERY: Duration = Duration::from_secs(60);
/// How long reading a large half may take, in deadlines.
const LARGE_PATIENCE: u32 = 3;
/// Keys in one MGET: a server does nothing else while it answers.
const KEYS_MAX: usize = 500;

/// A store on Redis or Valkey, shared by all the nodes that name the same servers.
///
/// It is a cache: servers may lose, evict or roll back what it put, and nothing is ever older than the rule allows.
/// Entries are given their lifetime (`PX`), so servers drop them by themselves. Its keys begin with `larder:`.
/// Clones are the same store.
#[derive(Clone)]
pub struct RedisStore {
    flights: Arc<Flights>,
    known_large: Arc<KnownLarge>,
    pub(super) redis: Redis,
    pub(super) gossip: Arc<Gossip>,
    reclaim_every: Duration,
    room: Room,
    closed: Arc<AtomicBool>,
}

impl RedisStore {
    /// Connects to what a URL names, in one of the forms of [`RedisOptions::parse`](crate::redis::RedisOptions::parse).
    /// A server that is down is no error: attempts go on in the background, and until one succeeds the store has
    /// nothing.
    ///
    /// # Errors
    /// [`RedisError::is_unusable`] when the URL cannot be used.
    pub async fn connect(url: &str) -> Result<Self, RedisError> {
        Ok(Self::on(&Redis::connect(url).await?))
    }

    /// A store on connections that a journal, or others, use as well. Must be called on a runtime of tokio's.
    pub fn on(redis: &Redis) -> Self {
        RedisStore {
            flights: Arc::new(Flights::on(redis)),
            gossip: Arc::new(Gossip::on(redis)),
            known_large: Arc::default(),
            redis: redis.clone(),
            reclaim_every: RECLAIM_EVERY,
            room: Room::new(),
            closed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// How long to rest between two looks, at a thousand entries a second, for entries that were invalidated and that
    /// nobody has asked for since. One node looks at a time. Default 60 s.
    #[must_use]
    pub fn reclaim_every(mut self, rest: Duration) -> Self {
        self.reclaim_every = rest.clamp(Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self
    }

    fn open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::refused("the Redis store is closed"));
        }
        Ok(())
    }

    /// Groups of names that one command may carry, each name with its place among those asked for.
    fn groups(&self, names: Vec<Vec<u8>>) -> Vec<(Vec<usize>, Vec<Vec<u8>>)> {
        let mut groups: Vec<(Vec<usize>, Vec<Vec<u8>>)> = Vec::new();
        let mut of_slot: HashMap<u16, usize> = HashMap::new();
        for (at, name) in names.into_iter().enumerate() {
            let slot = if self.redis.is_cluster() { slot(&name) } else { 0 };
            let open = of_slot.get(&slot).copied().filter(|group| groups[*group].0.len() < KEYS_MAX);
            let group = open.unwrap_or_else(|| {
                groups.push((Vec::new(), Vec::new()));
                of_slot.insert(slot, groups.len() - 1);
                groups.len() - 1
            });
            groups[group].0.push(at);
            groups[group].1.push(name);
        }
        groups
    }

    /// The places of keys that one command may ask for.
    fn places(&self, keys: &[Vec<u8>]) -> Vec<Vec<usize>> {
        if self.redis.is_cluster() {
            let names = keys.iter().map(|key| name(ENTRY, key)).collect();
            return self.groups(names).into_iter().map(|(places, _)| places).collect();
        }
        let first = (0..keys.len()).step_by(KEYS_MAX);
        first.map(|first| (first..keys.len().min(first + KEYS_MAX)).collect()).collect()
    }

    /// What stands in the place of each key. A part of a cluster that fails is a part that has nothing, unless all do.
    async fn read(&self, keys: &[Vec<u8>]) -> Result<Vec<Found>, StoreError> {
        let groups = self.places(keys);
        let cmds: Vec<Cmd> =
            groups.iter().map(|places| get_each(places.iter().map(|at| &keys[*at]))).collect();
        let answers = self.redis.ask_each(&cmds).await;
        let mut found: Vec<Found> = keys.iter().map(|_| Found::Nothing).collect();
        let mut error = None;
        let mut answered = false;
        for (places, answer) in groups.iter().zip(answers) {
            let values = match answer {
                Ok(Value::Array(values)) if places.len() > 1 => values,
                Ok(value) => vec![value],
                Err(failure) => {
                    error = Some(failure);
                    continue;
                }
            };
            answered = true;
            for (place, value) in places.iter().zip(values) {
                found[*place] = Found::of(value).unwrap_or(Found::Nothing);
            }
        }
        match error {
            Some(error) if !answered => Err(failed(&self.redis, error)),
            _ => Ok(found),
        }
    }

    /// The entries, of which some are elsewhere.
    async fn read_large(
        &self,
        keys: &[impl AsRef<[u8]>],
        found: Vec<Found>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let elsewhere = found.iter().zip(keys).filter(|(found, _)| **found == Found::Elsewhere);
        let cmds: Vec<Cmd> = elsewhere.map(|(_, key)| get(&[name(LARGE, key.as_ref())])).collect();
        let within = self.redis.deadline() * LARGE_PATIENCE;
        let mut large = self.redis.ask_each_large(&cmds, Some(within)).await.into_iter();
        let entries = found.into_iter().map(|found| match found {
            Found::Elsewhere => {
                let half = large.next().transpose().map_err(|error| failed(&self.redis, error))?;
                Ok(half.and_then(Found::of).and_then(Found::into_entry))
            }
            found => Ok(found.into_entry()),
        });
        entries.collect()
    }

    /// An entry that was large when last seen: both halves at once, so that it takes one round trip.
    async fn read_both(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (small, large) = (get_one(key), [get(&[name(LARGE, key)])]);
        let within = self.redis.deadline() * LARGE_PATIENCE;
        let (answer, half) =
            tokio::join!(self.redis.answer(&small), self.redis.ask_each_large(&large, Some(within)));
        match Found::of(answer.map_err(|error| failed(&self.redis, error))?) {
            Some(Found::Elsewhere) => {
                let half = half.into_iter().next().transpose();
                let half = half.map_err(|error| failed(&self.redis, error))?;
                Ok(half.and_then(Found::of).and_then(Found::into_entry))
            }
            found => {
                self.known_large.note(key, false);
                Ok(found.and_then(Found::into_entry))
            }
        }
    }

    /// The first failure, if there is one.
    fn all(&self, answers: Vec<Result<Value, RedisError>>) -> Result<(), StoreError> {
        let failure = answers.into_iter().find_map(Result::err);
        failure.map_or(Ok(()), |error| Err(failed(&self.redis, error)))
    }

    async fn write(&self, entries: Vec<Stored>) -> Result<(), StoreError> {
        let bytes: usize = entries.iter().map(|entry| entry.key.len() + entry.bytes.len()).sum();
        let _room = self.room.take(&entries)?;
        // A batch of small ones is as long on the way as one large entry.
        let together = bytes >= LARGE_BYTES;
        let now_ms = wall_ms();
        let mut large = Vec::new();
        let mut cmds = Vec::with_capacity(entries.len());
        for entry in last_of_each(entries) {
            self.known_large.note(&entry.key, is_large(&entry));
            let put = put(entry, now_ms);
            large.extend(put.large);
            cmds.push(put.entry);
        }
        self.all(match (&cmds[..], together) {
            ([cmd], false) => vec![self.redis.answer(cmd).await],
            (_, false) => self.redis.ask_each(&cmds).await,
            (_, true) => self.redis.ask_each_large(&cmds, None).await,
        })?;
        // After what points to them: a large half that nothing points to is freed in the background.
        if large.is_empty() { Ok(()) } else { self.all(self.redis.ask_each_large(&large, None).await) }
    }
}

impl Store for RedisStore {
    fn get_many<'a>(
        &'a self,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            self.open()?;
            let found = self.read(keys).await?;
            if found.contains(&Found::Elsewhere) {
                return Box::pin(self.read_large(keys, found)).await;
            }
            Ok(found.into_iter().map(Found::into_entry).collect())
        })
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            self.open()?;
            // What is rare is boxed, so that others are not as large as it.
            if self.known_large.has(key) {
                return Box::pin(self.read_both(key)).await;
            }
            let answer = self.redis.answer(&get_one(key)).await;
            let answer = answer.map_err(|error| failed(&self.redis, error))?;
            match Found::of(answer) {
                Some(Found::Elsewhere) => {
                    self.known_large.note(key, true);
                    let found = Box::pin(self.read_large(&[key], vec![Found::Elsewhere])).await?;
                    Ok(found.into_iter().next().flatten())
                }
                found => Ok(found.and_then(Found::into_entry)),
            }
        })
    }

    fn read_deadline(&self) -> Option<Duration> {
        Some(self.redis.deadline() * (1 + LARGE_PATIENCE))
    }

    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.open()?;
            if entries.is_empty() { Ok(()) } else { self.write(entries).await }
        })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.open()?;
            let names = keys.iter().flat_map(|key| [name(ENTRY, key), name(LARGE, key)]).collect();
            let cmds: Vec<Cmd> = self.groups(names).into_iter().map(|(_, names)| unlink(names)).collect();
            self.all(self.redis.ask_each(&cmds).await)
        })
    }

    /// Keys in the database and bytes of data on the servers, whoever put them there; a large entry is two keys.
    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        Box::pin(async move {
            self.open()?;
            let failed = |error| failed(&self.redis, error);
            let keys: Vec<u64> = self.redis.ask_all(&redis::cmd("DBSIZE")).await.map_err(failed)?;
            let infos: Vec<String> =
                self.redis.ask_all(redis::cmd("INFO").arg("memory")).await.map_err(failed)?;
            let bytes = infos.iter().filter_map(|info| dataset_bytes(info));
            Ok((keys.iter().sum(), bytes.sum()))
        })
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    fn tell(&self, of: Use, news: News) {
        self.gossip.tell(of, news);
    }

    fn told(&self, of: Use) -> Option<Told> {
        self.gossip.told(of)
    }

    fn flights(&self) -> Option<&dyn SharedFlights> {
        Some(self)
    }

    fn browsable(&self) -> Option<&dyn Browse> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            // All of the room is free once nothing is on its way; each write has a deadline.
            self.room.all_free().await;
        })
    }
}

impl SharedFlights for RedisStore {
    fn claim_many<'a>(
        &'a self,
        claims: &'a [Claim],
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            self.open()?;
            self.flights.claim(claims, lasts).await
        })
    }

    fn leave_many<'a>(
        &'a self,
        flights: &'a [(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.open()?;
            self.flights.leave(flights, left, remembered).await
        })
    }

    fn watch(&self, key: &[u8]) -> BoxFuture<'static, ()> {
        self.flights.watch(key)
    }
}

impl Browse for RedisStore {
    fn browse<'a>(
        &'a self,
        prefix: &'a [u8],
        from: u128,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Leaf>, StoreError>> {
        Box::pin(async move {
            self.open()?;
            self.leaf(prefix, from, limit).await.map_err(|error| failed(&self.redis, error))
        })
    }

    fn rest(&self) -> Duration {
        self.reclaim_every
    }
}

/// The last entry of each key: large ones travel apart, and might otherwise arrive in another order.
fn last_of_each(entries: Vec<Stored>) -> Vec<Stored> {
    if entries.len() < 2 || !entries.iter().any(is_large) {
        return entries;
    }
    let mut last: HashMap<Vec<u8>, Stored> = HashMap::with_capacity(entries.len());
    for entry in entries {
        last.insert(entry.key.clone(), entry);
    }
    last.into_values().collect()
}

/// `used_memory_dataset`, out of `INFO memory`.
fn dataset_bytes(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"))?.trim().parse().ok()
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::dataset_bytes;

    #[test]
    fn what_info_says_of_the_data() {
        let info =
            "# Memory\r\nused_memory:900\r\nused_memory_dataset:123\r\nused_memory_dataset_perc:1%\r\n";
        assert_eq!(dataset_bytes(info), Some(123));
        assert_eq!(dataset_bytes("used_memory:900\r\n"), None);
    }
}
