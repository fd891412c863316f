//! Who leads which flight, kept in Redis: one small key a flight, with a lifetime, changed by scripts alone.
//!
//! Whoever waits leaves a mark on it, so that its end is published only when somebody is to hear of it. Servers may lose
//! all of this; it costs loads. Knows nothing of entries.

use super::failed;
use super::layout::name;
use crate::redis::{Heard, Redis, RedisError, Script};
use larder_core::port::{BoxFuture, Claim, Claimed, Holder, Left, StoreError};
use larder_core::{Epoch, Link, Stamp};
use redis::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use xxhash_rust::xxh3::xxh3_128;

/// Where flights are.
const FLIGHT: &[u8] = b"larder:f:";
/// Where the ends of those that somebody waits for are told. Its slot is that of nothing else.
const CHANNEL: &[u8] = b"larder:flights";

// What is under a flight's key: one byte of state, the holder, the stamp, and a mark when somebody waits.
const LEADS: u8 = b'L';
const LANDED: u8 = b'D';
const EMPTY: u8 = b'E';
const HOLDER_BYTES: usize = 16;
const STAMP_BYTES: usize = 32;
const KNOWN_BYTES: usize = 1 + HOLDER_BYTES + STAMP_BYTES;

/// Nothing when the flight is the claimer's, else what is known of it and for how many milliseconds yet.
const CLAIM: &str = "\
local known = redis.call('GET', KEYS[1])
local mark = ''
if known then
  local leads, holder = known:sub(1, 1) == 'L', known:sub(2, 17)
  if not (leads and holder == ARGV[1]) and holder ~= ARGV[4] then
    if leads and #known == 49 then redis.call('APPEND', KEYS[1], 'w') end
    return {known, redis.call('PTTL', KEYS[1])}
  end
  if leads then mark = known:sub(50) end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1] .. ARGV[2] .. mark, 'PX', ARGV[3])
return false";

/// Whether somebody waits for the end of this flight, which was this holder's.
const LEAVE: &str = "\
local known = redis.call('GET', KEYS[1])
if not known or known:sub(1, 17) ~= 'L' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. known:sub(2, 49), 'PX', ARGV[3])
return #known - 49";

/// The flights of one store.
pub(super) struct Flights {
    redis: Redis,
    claim: Script,
    leave: Script,
    waiting: Arc<Waiting>,
    ear: OnceLock<AbortOnDropHandle<()>>,
}

impl Flights {
    pub(super) fn on(redis: &Redis) -> Self {
        Flights {
            redis: redis.clone(),
            claim: Script::new(CLAIM),
            leave: Script::new(LEAVE),
            waiting: Arc::default(),
            ear: OnceLock::new(),
        }
    }

    pub(super) async fn claim(&self, claims: &[Claim], lasts: Duration) -> Result<Vec<Claimed>, StoreError> {
        let lasts = lasts.as_millis().max(1).to_string();
        let calls = claims.iter().map(|claim| {
            let past = claim.past.map(holder_bytes).map_or(Vec::new(), Vec::from);
            let args = vec![
                holder_bytes(claim.holder).to_vec(),
                stamp_bytes(claim.stamp).to_vec(),
                lasts.clone().into_bytes(),
                past,
            ];
            (name(FLIGHT, &claim.key), args)
        });
        let answers = self.redis.run_each(&self.claim, calls.collect()).await;
        answers
            .into_iter()
            .map(|answer| claimed(answer.map_err(|error| failed(&self.redis, error))?))
            .collect()
    }

    pub(super) async fn leave(
        &self,
        flights: &[(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) -> Result<(), StoreError> {
        let state = match left {
            Left::Landed => LANDED,
            Left::Empty => EMPTY,
        };
        let remembered = remembered.as_millis().max(1).to_string();
        let calls = flights.iter().map(|(key, holder)| {
            let args = vec![holder_bytes(*holder).to_vec(), vec![state], remembered.clone().into_bytes()];
            (name(FLIGHT, key), args)
        });
        let answers = self.redis.run_each(&self.leave, calls.collect()).await;
        let awaited = answers.iter().zip(flights).filter_map(|(answer, (key, _))| match answer {
            Ok(Value::Int(waiting)) if *waiting > 0 => Some(message(key)),
            _ => None,
        });
        // Commands of their own: on a cluster the channel lives elsewhere. Whoever waits is told whatever became of others.
        let told = awaited.map(|message| self.redis.publication(CHANNEL, &message));
        let told = self.redis.ask_each(&told.collect::<Vec<_>>()).await;
        match answers.into_iter().chain(told).find_map(Result::err) {
            Some(error) => Err(failed(&self.redis, error)),
            None => Ok(()),
        }
    }

    pub(super) fn watch(&self, key: &[u8]) -> BoxFuture<'static, ()> {
        self.ear.get_or_init(|| {
            let hearing = hear(self.redis.clone(), Arc::downgrade(&self.waiting));
            AbortOnDropHandle::new(tokio::spawn(hearing))
        });
        self.waiting.watch(xxh3_128(key))
    }
}

/// Those who wait on this node, by the hash of the key.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u128, Ended>>);

struct Ended {
    notify: Arc<Notify>,
    listeners: usize,
}

/// One who waits, until dropped.
struct Listening {
    waiting: Arc<Waiting>,
    key: u128,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(ended) = waiting.get_mut(&self.key) {
            ended.listeners -= 1;
            if ended.listeners == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Ended>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(self: &Arc<Self>, key: u128) -> BoxFuture<'static, ()> {
        let mut waiting = self.lock();
        let ended =
            waiting.entry(key).or_insert_with(|| Ended { notify: Arc::new(Notify::new()), listeners: 0 });
        ended.listeners += 1;
        // Listening from now on, not from when it is first polled.
        let mut notified = Box::pin(ended.notify.clone().notified_owned());
        notified.as_mut().enable();
        drop(waiting);
        let listening = Listening { waiting: self.clone(), key };
        Box::pin(async move {
            notified.await;
            drop(listening);
        })
    }

    fn wake(&self, key: u128) {
        if let Some(ended) = self.lock().get(&key) {
            ended.notify.notify_waiters();
        }
    }

    fn wake_all(&self) {
        self.lock().values().for_each(|ended| ended.notify.notify_waiters());
    }
}

/// Wakes those whom a message is for; all, when messages may have been missed.
async fn hear(redis: Redis, waiting: Weak<Waiting>) {
    let listener = redis.listen(CHANNEL);
    drop(redis);
    loop {
        let heard = listener.heard().await;
        let Some(waiting) = waiting.upgrade() else { return };
        match heard {
            Heard::Message(bytes) => {
                if let Ok(key) = <[u8; 16]>::try_from(bytes) {
                    waiting.wake(u128::from_be_bytes(key));
                }
            }
            Heard::Gap => waiting.wake_all(),
        }
    }
}

fn message(key: &[u8]) -> [u8; 16] {
    xxh3_128(key).to_be_bytes()
}

fn holder_bytes(holder: Holder) -> [u8; HOLDER_BYTES] {
    holder.get().to_be_bytes()
}

fn stamp_bytes(stamp: Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    bytes[..16].copy_from_slice(&stamp.epoch.get().to_be_bytes());
    bytes[16..24].copy_from_slice(&stamp.position.to_be_bytes());
    bytes[24..].copy_from_slice(&stamp.nonce.to_be_bytes());
    bytes
}

/// What the script answered.
fn claimed(answer: Value) -> Result<Claimed, StoreError> {
    let unreadable = || {
        let error = RedisError::unintelligible("a flight, or nothing");
        StoreError::new(error.to_string(), error)
    };
    let parts = match answer {
        Value::Nil => return Ok(Claimed::Leads),
        Value::Array(parts) => parts,
        _ => return Err(unreadable()),
    };
    let Ok([Value::BulkString(known), Value::Int(left)]) = <[Value; 2]>::try_from(parts) else {
        return Err(unreadable());
    };
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    read(&known, left).ok_or_else(unreadable)
}

fn read(known: &[u8], left: Duration) -> Option<Claimed> {
    let known = known.get(..KNOWN_BYTES)?;
    let number = |range: std::ops::Range<usize>| known.get(range)?.try_into().ok().map(u64::from_be_bytes);
    let by = Holder::new(u128::from_be_bytes(known[1..17].try_into().ok()?));
    let epoch = Epoch::new(u128::from_be_bytes(known[17..33].try_into().ok()?));
    let stamp = Link { epoch, position: number(33..41)?, nonce: number(41..49)? };
    match known[0] {
        LEADS => Some(Claimed::Waits { by, stamp, left }),
        LANDED => Some(Claimed::Landed { by, stamp }),
        EMPTY => Some(Claimed::Alone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn known(state: u8) -> Vec<u8> {
        let stamp = Link { epoch: Epoch::new(5), position: 6, nonce: 7 };
        [&[state][..], &holder_bytes(Holder::new(9)), &stamp_bytes(stamp), b"w"].concat()
    }

    #[test]
    fn a_flight_reads_as_it_was_written() {
        let (by, left) = (Holder::new(9), Duration::from_millis(3));
        let stamp = Link { epoch: Epoch::new(5), position: 6, nonce: 7 };
        assert_eq!(read(&known(LEADS), left), Some(Claimed::Waits { by, stamp, left }));
        assert_eq!(read(&known(LANDED), left), Some(Claimed::Landed { by, stamp }));
        assert_eq!(read(&known(EMPTY), left), Some(Claimed::Alone));
        assert_eq!(read(&known(b'?'), left), None);
        assert_eq!(read(&known(LEADS)[..KNOWN_BYTES - 1], left), None);
        assert_eq!(KNOWN_BYTES, 49, "as the scripts have it");
        assert_eq!(claimed(Value::Nil).unwrap(), Claimed::Leads);
        assert!(claimed(Value::Int(1)).is_err() && claimed(Value::Array(Vec::new())).is_err());
    }

    #[tokio::test]
    async fn whoever_listens_is_woken_and_forgotten_when_gone() {
        let waiting = Arc::new(Waiting::default());
        let (one, other) = (waiting.watch(1), waiting.watch(1));
        let third = waiting.watch(2);
        waiting.wake(1);
        one.await;
        other.await;
        assert_eq!(waiting.lock().len(), 1);
        waiting.wake_all();
        third.await;
        drop(waiting.watch(3));
        assert!(waiting.lock().is_empty());
    }
}
