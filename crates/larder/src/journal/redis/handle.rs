//! The journal as its users hold it: options, the port, hints.

use super::codec::{self, Answer};
use super::durability::{self, Durability};
use super::names::Names;
use super::scripts::Scripts;
use crate::journal::limits::{self, INTENTS_MAX, RECORD_BYTES_MAX, RECORDS_MAX_DEFAULT};
use crate::redis::{Heard, Listener, Redis, RedisError, Script};
use arc_swap::ArcSwapOption;
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Link, NodeId, Target};
use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes of records kept of each namespace unless told otherwise.
const BYTES_MAX_DEFAULT: u64 = 64 << 20;

/// Bytes of records in one answer, and of what is sent, on connections that others wait for.
const ORDINARY_BYTES_MAX: usize = 256 << 10;

/// The longest time a node is kept without a word, in milliseconds: ten years.
const FOREVER_MS: u128 = 315_360_000_000;

/// How often an append begins, when the history it would go on is missing.
const TRIES: usize = 4;

/// How a [`RedisJournal`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct RedisJournalOptions {
    records_max: u64,
    bytes_max: u64,
}

impl RedisJournalOptions {
    /// Keeps at least the newest `records_max` (at least 1) records of each namespace, and at most some 128 more, as far
    /// as [`RedisJournalOptions::bytes_max`] lets it. 100,000 unless set. Whoever appends decides, so set the same in
    /// every process.
    #[must_use]
    pub fn records_max(mut self, records_max: u64) -> Self {
        self.records_max = records_max.max(1);
        self
    }

    /// How many bytes of records are kept of each namespace, at least one largest record; 64 MiB unless set. Up to
    /// 32 MiB more are kept for a moment when records are large. The server needs about as much again for its own
    /// bookkeeping when records are small.
    #[must_use]
    pub fn bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max.max(RECORD_BYTES_MAX as u64);
        self
    }
}

impl Default for RedisJournalOptions {
    fn default() -> Self {
        RedisJournalOptions { records_max: RECORDS_MAX_DEFAULT, bytes_max: BYTES_MAX_DEFAULT }
    }
}

/// The journal on Redis or Valkey. Clones share the connections and hear hints each for itself.
///
/// What it claims, and what it does not, is in `docs/concepts/redis-journal.md`. It never repeats an append that may have
/// taken effect: the cache does that, and a record that is there twice does no harm.
pub struct RedisJournal {
    redis: Redis,
    scripts: Arc<Scripts>,
    options: RedisJournalOptions,
    names: ArcSwapOption<Names>,
    /// What the server was found to keep; looked at once.
    durability: Arc<OnceLock<Durability>>,
    /// One subscription a namespace, made when somebody waits for hints.
    hints: Mutex<HashMap<Box<str>, Arc<Listener>>>,
    closed: AtomicBool,
}

impl RedisJournal {
    /// Connects to what a URL names; see [`crate::redis::RedisOptions::parse`] for its forms. A server that is down is no
    /// error: it is tried for as long as it takes.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub async fn connect(url: &str) -> Result<Self, JournalError> {
        let redis = Redis::connect(url).await.map_err(|e| JournalError::failed(e.to_string(), e))?;
        Ok(Self::on(&redis))
    }

    /// A journal on connections that others may use too.
    pub fn on(redis: &Redis) -> Self {
        Self::with(redis, RedisJournalOptions::default())
    }

    /// [`RedisJournal::on`] with options.
    pub fn with(redis: &Redis, options: RedisJournalOptions) -> Self {
        RedisJournal {
            redis: redis.clone(),
            scripts: Arc::new(Scripts::new()),
            options,
            names: ArcSwapOption::empty(),
            durability: Arc::default(),
            hints: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// What the server was found to keep through restarts and failovers, once it has been reached. What speaks against a
    /// journal there is in [`Durability::risks`], and was logged as a warning.
    pub fn durability(&self) -> Option<&Durability> {
        self.durability.get()
    }

    fn open(&self) -> Result<(), JournalError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(JournalError::refused("the Redis journal is closed"));
        }
        Ok(())
    }

    async fn run(&self, script: &Script, names: &Names, args: &[&[u8]]) -> Result<Vec<u8>, RedisError> {
        let bytes: usize = args.iter().map(|arg| arg.len()).sum();
        if bytes > ORDINARY_BYTES_MAX {
            self.redis.run_large(script, &names.keys(), args).await
        } else {
            self.redis.run(script, &names.keys(), args).await
        }
    }

    async fn look_at_durability(&self) {
        if self.durability.get().is_none()
            && let Some(found) = durability::of(&self.redis).await
        {
            let found = self.durability.get_or_init(|| found);
            for risk in found.risks() {
                tracing::warn!(risk, "the journal is on a server that may lose it");
            }
        }
    }

    /// The names of a namespace's keys, made when another than last time is asked for: a handle mostly has one.
    fn names(&self, namespace: &str) -> Arc<Names> {
        let last = self.names.load_full().filter(|names| &*names.namespace == namespace);
        last.unwrap_or_else(|| {
            let names = Arc::new(Names::of(namespace));
            self.names.store(Some(Arc::clone(&names)));
            names
        })
    }

    fn listener(&self, namespace: &str) -> Arc<Listener> {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = hints.get(namespace) {
            return Arc::clone(listener);
        }
        let listener = Arc::new(self.redis.listen(&self.names(namespace).channel));
        hints.insert(namespace.into(), Arc::clone(&listener));
        listener
    }

    /// The records after a place; `attending`, after noting that this node is there, and for how long.
    async fn page(
        &self,
        namespace: &str,
        attending: Option<(NodeId, Duration)>,
        after: Link,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.open()?;
        let names = self.names(namespace);
        let (epoch, position, nonce, limit) = (
            codec::hex_epoch(after.epoch),
            after.position.to_string(),
            codec::hex_nonce(after.nonce),
            limit.max(1).to_string(),
        );
        let room = ORDINARY_BYTES_MAX.to_string();
        let args = [&epoch, &position, &nonce, &limit, &room].map(String::as_bytes);
        let (read, keys) = (&self.scripts.read, names.keys());
        let asked = match attending {
            None => self.redis.run(read, &keys, &args).await,
            Some((node, lasts)) => {
                let [head, log, large] = keys;
                let (node, lasts_ms) = (codec::node_field(node), in_ms(lasts));
                let [epoch, position, nonce, limit, room] = args;
                let args = [epoch, position, nonce, limit, room, node.as_bytes(), lasts_ms.as_bytes()];
                let keys = [head, log, large, &names.nodes];
                self.redis.run(&self.scripts.read_attending, &keys, &args).await
            }
        };
        let mut answer: Answer = asked.map_err(unread)?;
        if is(&answer, b"large") {
            // One record that is too large to be waited for by others, alone.
            let args = [&epoch, &position, &nonce, "1", "-1"].map(str::as_bytes);
            answer = self.redis.run_large(read, &keys, &args).await.map_err(unread)?;
        }
        if is(&answer, b"ok") { codec::page(&answer, after) } else { Err(codec::refusal(&answer, after)) }
    }

    async fn append_now(
        &self,
        namespace: &str,
        act: Act,
        targets: &[Target],
        cause: &Cause,
    ) -> Result<Appended, JournalError> {
        let targets = limits::encode(targets)?;
        self.open()?;
        let nonce = limits::random_nonce().map_err(limits::no_random)?;
        let names = self.names(namespace);
        let hex_nonce = codec::hex_nonce(nonce);
        let body = codec::body(act, cause, &targets);
        let RedisJournalOptions { records_max, bytes_max } = self.options;
        let numbers = [records_max, bytes_max, INTENTS_MAX as u64].map(|n| n.to_string());
        let mut args: Vec<&[u8]> = vec![
            hex_nonce.as_bytes(),
            &body,
            numbers[0].as_bytes(),
            numbers[1].as_bytes(),
            self.redis.publishing().as_bytes(),
            &names.channel,
        ];
        let (field, kept) = match act {
            Act::Invalidate => (String::new(), Vec::new()),
            Act::Open { intent, lasts } => {
                (codec::intent_field(intent), codec::intent_value(lasts, intent, &targets))
            }
            Act::Close { intent } => (codec::intent_field(intent), Vec::new()),
        };
        if !field.is_empty() {
            args.extend([field.as_bytes(), &kept, numbers[2].as_bytes()]);
        }
        for _ in 0..TRIES {
            let answer = self.run(&self.scripts.append, &names, &args).await.map_err(unwritten)?;
            match answer.as_slice() {
                b"none" => drop(self.history_now(namespace).await?),
                b"open" => return Err(limits::not_opened()),
                // The log cannot go on as somebody left it. Another history can.
                b"meddled" => self.roll_now(namespace, self.history_now(namespace).await?.head.epoch).await?,
                b"form" => return Err(codec::refusal(&vec![answer], codec::NOWHERE)),
                follows => {
                    let after = codec::follows(follows).ok_or_else(|| {
                        JournalError::indeterminate("the answer to an append is not understood", "malformed")
                    })?;
                    let link = Link { position: after.position + 1, nonce, ..after };
                    return Ok(Appended { link, after: Some(after) });
                }
            }
        }
        Err(JournalError::refused("the journal's keys vanish as soon as they are there"))
    }

    async fn roll_now(&self, namespace: &str, seen: Epoch) -> Result<(), JournalError> {
        self.open()?;
        let (epoch, nonce) = (limits::random_epoch(), limits::random_nonce());
        let (epoch, nonce) = (epoch.map_err(limits::no_random)?, nonce.map_err(limits::no_random)?);
        let names = self.names(namespace);
        let (seen, epoch, nonce) = (codec::hex_epoch(seen), codec::hex_epoch(epoch), codec::hex_nonce(nonce));
        let args: [&[u8]; 5] = [
            seen.as_bytes(),
            epoch.as_bytes(),
            nonce.as_bytes(),
            self.redis.publishing().as_bytes(),
            &names.channel,
        ];
        let answer = self.run(&self.scripts.roll, &names, &args).await.map_err(unwritten)?;
        if answer == b"ok" { Ok(()) } else { Err(codec::refusal(&vec![answer], codec::NOWHERE)) }
    }

    async fn attend_now(
        &self,
        namespace: &str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> Result<(), JournalError> {
        self.open()?;
        let names = self.names(namespace);
        let (node, lasts_ms, applied) = (codec::node_field(node), in_ms(lasts), codec::written(applied));
        let args = [&node, &lasts_ms, &applied].map(String::as_bytes);
        let noted: Result<Vec<u8>, RedisError> =
            self.redis.run(&self.scripts.attend, &[&names.nodes], &args).await;
        noted.map(drop).map_err(unwritten)
    }

    async fn attendance_now(&self, namespace: &str) -> Result<Option<Attendance>, JournalError> {
        self.open()?;
        let names = self.names(namespace);
        let answer: Answer =
            self.redis.run(&self.scripts.attendance, &[&names.nodes], &[]).await.map_err(unread)?;
        let attendance = codec::attendance(&answer);
        attendance.map(Some).ok_or_else(|| JournalError::refused("the attendance is not understood"))
    }

    async fn history_now(&self, namespace: &str) -> Result<History, JournalError> {
        self.open()?;
        let epoch = codec::hex_epoch(limits::random_epoch().map_err(limits::no_random)?);
        let names = self.names(namespace);
        // What is open may be much.
        let (keys, args) = (names.keys(), [epoch.as_bytes()]);
        let answer: Answer =
            self.redis.run_large(&self.scripts.history, &keys, &args).await.map_err(unread)?;
        let history = codec::history(&answer)?;
        self.look_at_durability().await;
        Ok(history)
    }
}

fn in_ms(lasts: Duration) -> String {
    lasts.as_nanos().div_ceil(1_000_000).min(FOREVER_MS).to_string()
}

fn is(answer: &Answer, word: &[u8]) -> bool {
    answer.first().is_some_and(|first| first == word)
}

/// A question that was not answered changed nothing that matters.
fn unread(error: RedisError) -> JournalError {
    JournalError::failed(error.to_string(), error)
}

fn unwritten(error: RedisError) -> JournalError {
    if error.is_indeterminate() {
        JournalError::indeterminate(error.to_string(), error)
    } else {
        JournalError::failed(error.to_string(), error)
    }
}

impl Journal for RedisJournal {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(self.history_now(namespace))
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.page(namespace, None, after, limit))
    }

    /// One question.
    fn read_attending<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        lasts: Duration,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.page(namespace, Some((node, lasts)), after, limit))
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(self.append_now(namespace, act, targets, cause))
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.roll_now(namespace, seen))
    }

    fn attend<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.attend_now(namespace, node, applied, lasts))
    }

    fn attendance<'a>(
        &'a self,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(self.attendance_now(namespace))
    }

    /// Completes at each hint, and whenever one may have been missed. Small records come along with theirs. A closed
    /// journal's never completes.
    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move {
            if self.open().is_err() {
                pending::<()>().await;
            }
            match self.listener(namespace).heard().await {
                Heard::Gap => Hint::Look,
                Heard::Message(message) => match codec::hint(&message) {
                    Some((after, record)) => Hint::Record { after, record: Box::new(record) },
                    None => Hint::Look,
                },
            }
        })
    }

    fn is_listening(&self, namespace: &str) -> Option<bool> {
        let hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        Some(hints.get(namespace).is_some_and(|listener| listener.is_subscribed()))
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    /// Closes this handle; its clones, and others on the same connections, go on.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        self.hints.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Box::pin(ready(()))
    }
}

impl Clone for RedisJournal {
    fn clone(&self) -> Self {
        RedisJournal {
            redis: self.redis.clone(),
            scripts: Arc::clone(&self.scripts),
            options: self.options,
            names: ArcSwapOption::empty(),
            durability: Arc::clone(&self.durability),
            hints: Mutex::default(),
            closed: AtomicBool::new(self.closed.load(Ordering::Relaxed)),
        }
    }
}
