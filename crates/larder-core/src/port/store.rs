//! The store port: a tier below memory. Bytes in, bytes out.

use super::{BoxFuture, Browse, SharedFlights, Source};
use std::fmt;
use std::time::Duration;

/// What a store is used for; it may be well for the one and fail at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `get_many`.
    Reads,
    /// `put_many`, `remove_many`.
    Writes,
}

/// What a node has found out about a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It keeps failing; this node leaves it alone for a while.
    Failing,
    /// This node is trying it, after a while.
    Trying,
    /// It works again.
    Well,
}

/// What another node said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it said.
    pub news: News,
    /// Which message it was; they count upwards.
    pub number: u64,
    /// How long ago it was heard.
    pub ago: Duration,
}

/// What a store is asked to keep: an encoded envelope and when it may be dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The key, encoded; any bytes.
    pub key: Vec<u8>,
    /// The envelope.
    pub bytes: Vec<u8>,
    /// Milliseconds since 1970 after which the store may reclaim it.
    pub expires_ms: u64,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor the value: what is printed ends up in logs.
        let (key, bytes) = (self.key.len(), self.bytes.len());
        write!(f, "Stored {{ key: {key} bytes, envelope: {bytes} bytes, expires_ms: {} }}", self.expires_ms)
    }
}

/// A tier of bytes. It knows nothing of validity: the rule decides that about whatever it returns.
///
/// So it may lose, delay, duplicate or roll back what it holds, and the worst it can cause is a miss. What it
/// must not do is panic, or block the runtime's threads.
pub trait Store: Send + Sync + 'static {
    /// The bytes last put under each key, in the order asked; `None` for those it does not hold. May return
    /// what has expired.
    fn get_many<'a>(&'a self, keys: &'a [Vec<u8>])
    -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>>;

    /// [`Store::get_many`] of one key.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let key = [key.to_vec()];
            Ok(self.get_many(&key).await?.pop().flatten())
        })
    }

    /// After how long a read has ended at the latest, if the store sees to that by itself: whoever reads need not then.
    fn read_deadline(&self) -> Option<Duration> {
        None
    }

    /// Keeps these, replacing what the keys held; of one key twice, the last. All of them are there for every read
    /// that begins after it completed, unless the store loses them. Refused, rather than made to wait, when the store
    /// has too much to write already. Dropped, it may still take effect.
    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets these keys, and whatever was put under them before.
    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// How many entries and bytes it holds, as far as it knows cheaply.
    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>>;

    /// A short name for messages and metrics: `sqlite`, `redis`.
    fn name(&self) -> &'static str;

    /// Tells the other nodes that use this store how it fares with this one. Best effort: it does not wait, and what was
    /// said may be lost, most of all when the store fails altogether.
    fn tell(&self, _of: Use, _news: News) {}

    /// What another node said last about this store, if there are others and anything was heard.
    fn told(&self, _of: Use) -> Option<Told> {
        None
    }

    /// What keeps one key from being loaded by several nodes at once, if nodes share this store and it can.
    fn flights(&self) -> Option<&dyn SharedFlights> {
        None
    }

    /// The way to look through it for what is dead, if it is worth it.
    fn browsable(&self) -> Option<&dyn Browse> {
        None
    }

    /// Finishes what was accepted, then stops background work. Later calls fail.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Why a store could not do what was asked. Never fatal to a read: it becomes a miss and a counter.
#[derive(Debug)]
pub struct StoreError {
    message: String,
    source: Option<Source>,
}

impl StoreError {
    /// An operation that failed.
    pub fn new(message: impl Into<String>, source: impl Into<Source>) -> Self {
        StoreError { message: message.into(), source: Some(source.into()) }
    }

    /// An operation that was refused: closed, or over a limit. Says nothing about the store's health.
    pub fn refused(message: impl Into<String>) -> Self {
        StoreError { message: message.into(), source: None }
    }
}

impl StoreError {
    /// Whether the operation was refused, rather than tried and failed.
    pub fn is_refused(&self) -> bool {
        self.source.is_none()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: {}", self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
