//! The journal as its users hold it: options, the port, hints.

use super::codec::{self, Outcome};
use super::fault::{unread, unwritten};
use super::listen::Listener;
use crate::journal::limits::{self, INTENTS_MAX, RECORD_BYTES_MAX, RECORDS_MAX_DEFAULT};
use crate::postgres::{DEADLINE, Line, Parameter, Settings};
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Link, NodeId, Target};
use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::types::Type;

/// How long a question may take whose answer, or itself, is large.
const DEADLINE_LARGE: Duration = Duration::from_secs(60);

const BYTES_MAX_DEFAULT: u64 = 64 << 20;

/// The longest time a node is kept without a word, in milliseconds: ten years.
const FOREVER_MS: u128 = 315_360_000_000;

/// How often a question is asked again because the journal was still putting rows into order: each moves 5,000.
const ROUNDS_MAX: usize = 1_000;

const HISTORY: &str = "SELECT * FROM larder.history($1, $2, $3, $4)";
const READ: &str = "SELECT * FROM larder.read($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const RECORD: &str = "SELECT * FROM larder.record($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const ROLL: &str = "SELECT larder.roll($1, $2)";
const ATTEND: &str = "SELECT larder.attend($1, $2, $3, $4, $5, $6)";
const ATTENDANCE: &str = "SELECT * FROM larder.attendance($1)";

/// How a [`PostgresJournal`] behaves. Whoever puts records into order decides what is kept, so set the same in every process.
#[derive(Clone, Copy, Debug)]
pub struct PostgresJournalOptions {
    records_max: u64,
    bytes_max: u64,
}

impl PostgresJournalOptions {
    /// Keeps at least the newest `records_max` (at least 1) records of each namespace, and at most some 128 more, as far
    /// as [`PostgresJournalOptions::bytes_max`] lets it. 100,000 unless set.
    #[must_use]
    pub fn records_max(mut self, records_max: u64) -> Self {
        self.records_max = records_max.clamp(1, i64::MAX as u64);
        self
    }

    /// How many bytes of records are kept of each namespace, at least one largest record; 64 MiB unless set. Up to
    /// 32 MiB more are kept for a moment when records are large.
    #[must_use]
    pub fn bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max.clamp(RECORD_BYTES_MAX as u64, i64::MAX as u64);
        self
    }
}

impl Default for PostgresJournalOptions {
    fn default() -> Self {
        PostgresJournalOptions { records_max: RECORDS_MAX_DEFAULT, bytes_max: BYTES_MAX_DEFAULT }
    }
}

/// The journal on Postgres. Clones share the connections (one that reads, one that writes, one that listens) and hear hints
/// each for itself.
///
/// What it claims is in `docs/concepts/postgres.md`. It never repeats an append that may have taken effect: the cache does
/// that, and a record that is there twice does no harm.
pub struct PostgresJournal {
    shared: Arc<Shared>,
    /// One ear a namespace, made when somebody waits for hints.
    ears: Mutex<HashMap<Box<str>, Arc<Notify>>>,
    closed: AtomicBool,
}

struct Shared {
    settings: Arc<Settings>,
    options: PostgresJournalOptions,
    /// Apart, so that no lease waits behind a commit.
    reading: Line,
    writing: Line,
    listener: OnceLock<Listener>,
    /// How far the database's WAL was when each namespace was last seen, and in which epoch: if it is not as far one day, the
    /// database was put back to an earlier state.
    seen: Mutex<HashMap<Box<str>, (Epoch, i64)>>,
}

impl PostgresJournal {
    /// The journal in the database that a URL names, `postgres://user@host:port/database`. Connects when it is
    /// first asked. A server that is down is no error: it is tried for as long as it takes.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str) -> Result<Self, JournalError> {
        Self::open_with(url, PostgresJournalOptions::default())
    }

    /// [`PostgresJournal::open`] with options.
    ///
    /// # Errors
    /// As [`PostgresJournal::open`].
    pub fn open_with(url: &str, options: PostgresJournalOptions) -> Result<Self, JournalError> {
        let settings = Arc::new(Settings::parse(url).map_err(unread)?);
        let line = || Line::new(Arc::clone(&settings));
        let shared = Shared {
            reading: line(),
            writing: line(),
            listener: OnceLock::new(),
            seen: Mutex::default(),
            options,
            settings,
        };
        Ok(Self::of(Arc::new(shared), false))
    }

    fn of(shared: Arc<Shared>, closed: bool) -> Self {
        PostgresJournal { shared, ears: Mutex::default(), closed: AtomicBool::new(closed) }
    }

    fn open_still(&self) -> Result<&Shared, JournalError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(JournalError::refused("the Postgres journal is closed"));
        }
        Ok(&self.shared)
    }

    fn ear(&self, namespace: &str) -> Arc<Notify> {
        let listener = self.shared.listener.get_or_init(|| Listener::new(Arc::clone(&self.shared.settings)));
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ears.entry(namespace.into()).or_insert_with(|| listener.ear(namespace)))
    }
}

impl Shared {
    fn limits(&self) -> (i64, i64) {
        (self.options.records_max.cast_signed(), self.options.bytes_max.cast_signed())
    }

    async fn history(&self, namespace: &str) -> Result<History, JournalError> {
        let (records_max, bytes_max) = self.limits();
        let mut sequence = true;
        for _ in 0..ROUNDS_MAX {
            let parameters: &[Parameter<'_>] = &[
                (&namespace.as_bytes() as _, Type::BYTEA),
                (&sequence as _, Type::BOOL),
                (&records_max as _, Type::INT8),
                (&bytes_max as _, Type::INT8),
            ];
            let rows = self.reading.ask(HISTORY, parameters, DEADLINE_LARGE).await.map_err(unread)?;
            match codec::outcome(&rows)? {
                Outcome::Again { sequence: more } => sequence = more,
                Outcome::There => {
                    let history = codec::history(&rows)?;
                    self.note(namespace, history.head.epoch, codec::flushed(&rows)?);
                    return Ok(history);
                }
                _ => return Err(JournalError::refused("the namespace vanished as soon as it was there")),
            }
        }
        Err(behind())
    }

    /// The records after a place. When the step moved something, or others could not yet see that the node is there, they
    /// are asked for once more: the answer is then from after that was committed.
    async fn page(
        &self,
        namespace: &str,
        mut attending: Option<(NodeId, Duration)>,
        after: Link,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let Ok(position) = i64::try_from(after.position) else {
            return Err(JournalError::diverged(format!("{after} is beyond any head")));
        };
        let (records_max, bytes_max) = self.limits();
        let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        let (epoch, seen) = (codec::epoch_bytes(after.epoch), self.seen(namespace, after.epoch));
        let mut sequence = true;
        for _ in 0..ROUNDS_MAX {
            let began = Instant::now();
            let node = attending.map(|(node, _)| node.get().to_be_bytes());
            let parameters: &[Parameter<'_>] = &[
                (&namespace.as_bytes() as _, Type::BYTEA),
                (&epoch.as_slice() as _, Type::BYTEA),
                (&position as _, Type::INT8),
                (&after.nonce.cast_signed() as _, Type::INT8),
                (&limit as _, Type::INT8),
                (&sequence as _, Type::BOOL),
                (&node.as_ref().map(|node| node.as_slice()) as _, Type::BYTEA),
                (&attending.map(|(_, lasts)| in_ms(lasts)) as _, Type::INT8),
                (&seen as _, Type::INT8),
                (&records_max as _, Type::INT8),
                (&bytes_max as _, Type::INT8),
            ];
            let rows = self.reading.ask(READ, parameters, DEADLINE).await.map_err(unread)?;
            let outcome = codec::outcome(&rows)?;
            // What the node said before lasts for half of the time from when the server looked; what it says now is committed.
            let was_late = attending.take().is_some_and(|(_, lasts)| began.elapsed() >= lasts / 2);
            match outcome {
                Outcome::Again { sequence: more } => sequence = more,
                Outcome::There if was_late => {}
                Outcome::There => {
                    self.note(namespace, after.epoch, codec::flushed(&rows)?);
                    return codec::page(&rows, after);
                }
                Outcome::Compacted => {
                    return Err(JournalError::compacted(format!("{after} is before the oldest kept")));
                }
                Outcome::NoHistory => {
                    return Err(JournalError::diverged("the database holds no history of this namespace"));
                }
                Outcome::OtherEpoch => {
                    return Err(JournalError::diverged(format!(
                        "epoch {} is not the current one",
                        after.epoch
                    )));
                }
                Outcome::Beyond => return Err(JournalError::diverged(format!("{after} is beyond the head"))),
                Outcome::OtherNonce => {
                    let why = format!("{after} has a nonce that is not in this history");
                    return Err(JournalError::diverged(why));
                }
            }
        }
        Err(behind())
    }

    async fn record(
        &self,
        namespace: &str,
        act: Act,
        targets: &[Target],
        cause: &Cause,
    ) -> Result<Appended, JournalError> {
        let targets = limits::encode(targets)?;
        let (kind, intent, lasts_ms) = act.to_numbers();
        let (records_max, bytes_max) = self.limits();
        let lasts_ms = i64::try_from(lasts_ms).unwrap_or(i64::MAX);
        let deadline = if targets.len() > 1 << 20 { DEADLINE_LARGE } else { DEADLINE };
        let parameters: &[Parameter<'_>] = &[
            (&namespace.as_bytes() as _, Type::BYTEA),
            (&i16::from(kind) as _, Type::INT2),
            (&intent.cast_signed() as _, Type::INT8),
            (&lasts_ms as _, Type::INT8),
            (&targets as _, Type::BYTEA),
            (&cause.as_str().as_bytes() as _, Type::BYTEA),
            (&records_max as _, Type::INT8),
            (&bytes_max as _, Type::INT8),
            (&(INTENTS_MAX as i64) as _, Type::INT8),
        ];
        let rows = self.writing.ask(RECORD, parameters, deadline).await.map_err(unwritten)?;
        let appended = codec::appended(&rows).map_err(|e| JournalError::indeterminate(e.to_string(), e))?;
        let (link, after) = appended.ok_or_else(limits::not_opened)?;
        Ok(Appended { link, after: Some(after) })
    }

    async fn roll(&self, namespace: &str, seen: Epoch) -> Result<(), JournalError> {
        let seen = codec::epoch_bytes(seen);
        let parameters: &[Parameter<'_>] =
            &[(&namespace.as_bytes() as _, Type::BYTEA), (&seen.as_slice() as _, Type::BYTEA)];
        self.writing.ask(ROLL, parameters, DEADLINE).await.map_err(unwritten).map(drop)
    }

    async fn attend(
        &self,
        namespace: &str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> Result<(), JournalError> {
        let (node, epoch) = (node.get().to_be_bytes(), codec::epoch_bytes(applied.epoch));
        let parameters: &[Parameter<'_>] = &[
            (&namespace.as_bytes() as _, Type::BYTEA),
            (&node.as_slice() as _, Type::BYTEA),
            (&epoch.as_slice() as _, Type::BYTEA),
            (&applied.position.cast_signed() as _, Type::INT8),
            (&applied.nonce.cast_signed() as _, Type::INT8),
            (&in_ms(lasts) as _, Type::INT8),
        ];
        self.writing.ask(ATTEND, parameters, DEADLINE).await.map_err(unwritten).map(drop)
    }

    async fn attendance(&self, namespace: &str) -> Result<Option<Attendance>, JournalError> {
        let parameters: &[Parameter<'_>] = &[(&namespace.as_bytes() as _, Type::BYTEA)];
        let rows = self.reading.ask(ATTENDANCE, parameters, DEADLINE).await.map_err(unread)?;
        codec::attendance(&rows).map(Some)
    }

    fn seen(&self, namespace: &str, epoch: Epoch) -> i64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(namespace).filter(|(of, _)| *of == epoch).map_or(0, |(_, flushed)| *flushed)
    }

    fn note(&self, namespace: &str, epoch: Epoch, flushed: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(namespace) {
            Some(noted) if noted.0 == epoch => noted.1 = noted.1.max(flushed),
            Some(noted) => *noted = (epoch, flushed),
            None => drop(seen.insert(namespace.into(), (epoch, flushed))),
        }
    }
}

fn in_ms(lasts: Duration) -> i64 {
    i64::try_from(lasts.as_nanos().div_ceil(1_000_000).min(FOREVER_MS)).unwrap_or(i64::MAX)
}

fn behind() -> JournalError {
    JournalError::refused("the outbox holds more than could be put into order at once")
}

impl Journal for PostgresJournal {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move { self.open_still()?.history(namespace).await })
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move { self.open_still()?.page(namespace, None, after, limit).await })
    }

    /// One question, unless others could not yet see that the node is there.
    fn read_attending<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        lasts: Duration,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move { self.open_still()?.page(namespace, Some((node, lasts)), after, limit).await })
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move { self.open_still()?.record(namespace, act, targets, cause).await })
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.open_still()?.roll(namespace, seen).await })
    }

    fn attend<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.open_still()?.attend(namespace, node, applied, lasts).await })
    }

    fn attendance<'a>(
        &'a self,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(async move { self.open_still()?.attendance(namespace).await })
    }

    /// Completes at each hint, and whenever one may have been missed. A closed journal's never completes.
    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move {
            if self.open_still().is_err() {
                pending::<()>().await;
            }
            self.ear(namespace).notified().await;
            Hint::Look
        })
    }

    fn is_listening(&self, _namespace: &str) -> Option<bool> {
        Some(self.shared.listener.get().is_some_and(Listener::is_listening))
    }

    fn name(&self) -> &'static str {
        "postgres"
    }

    /// Closes this handle; its clones go on, and the connections with the last of them.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        self.ears.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Box::pin(ready(()))
    }
}

impl Clone for PostgresJournal {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared), self.closed.load(Ordering::Relaxed))
    }
}
