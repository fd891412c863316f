//! The thread that writes: entries, removals, reclaiming, and mending a damaged file.
//!
//! Requests that wait while one transaction runs share the next, and its fate.

use super::file::{self, Fault};
use super::handle::Signals;
use super::options::SqliteStoreOptions;
use super::space;
use crate::sqlite::{DatabaseFile, Slot, begin_immediate};
use larder_core::port::{StoreError, Stored};
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes of entries one transaction writes at most, beyond the first request.
const BATCH_BYTES: usize = 8 << 20;
/// Requests one transaction takes at most.
const BATCH_MAX: usize = 256;

/// What the thread is asked to do.
pub(super) struct Request {
    pub(super) work: Work,
    /// Answers with how many entries were touched.
    pub(super) reply: oneshot::Sender<Result<u64, StoreError>>,
    /// The room it takes in the queue.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

pub(super) enum Work {
    Put(Vec<Stored>),
    Remove(Vec<Vec<u8>>),
    /// One step; asked for again while it finds something.
    Reclaim,
}

impl Work {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Work::Put(entries) => entries.iter().map(|e| e.key.len() + e.bytes.len()).sum(),
            Work::Remove(keys) => keys.iter().map(Vec::len).sum(),
            Work::Reclaim => 0,
        }
    }
}

/// The state of the thread.
pub(super) struct Writer {
    file: DatabaseFile,
    slot: Slot,
    options: SqliteStoreOptions,
    signals: Arc<Signals>,
}

impl Writer {
    /// Opens the file; a damaged one is set aside first.
    pub(super) fn open(
        file: &DatabaseFile,
        options: &SqliteStoreOptions,
        signals: &Arc<Signals>,
    ) -> Result<Self, Fault> {
        let mut writer = Writer {
            file: file.clone(),
            slot: Slot::default(),
            options: options.clone(),
            signals: Arc::clone(signals),
        };
        match writer.connection().map(|_| ()) {
            Err(fault) if fault.is_damage() => writer.begin_anew(&fault)?,
            opened => opened?,
        }
        Ok(writer)
    }

    /// Serves requests until their senders are gone, and keeps the file small in between.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut due = Instant::now() + self.options.reclaim_every;
        loop {
            match requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(first) => self.serve(gather(first, requests)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= due {
                // While there is more to do, it is done step by step between requests.
                let more = self.tidy();
                due = Instant::now()
                    + if more { std::time::Duration::ZERO } else { self.options.reclaim_every };
            }
        }
    }

    fn serve(&mut self, batch: Vec<Request>) {
        if self.signals.closing.load(Ordering::Relaxed) {
            // Dropped without being closed; what is queued is only a cache.
            return;
        }
        self.mend_if_suspect();
        let outcome = self.transact(|connection, options| {
            let touched = batch.iter().map(|request| request.work.execute(connection, options)).collect();
            space::make_room(connection, options.bytes_max)?;
            touched
        });
        let outcome: Result<Vec<u64>, Arc<Fault>> = outcome.map_err(Arc::new);
        for (i, request) in batch.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(touched) => Ok(touched.get(i).copied().unwrap_or(0)),
                Err(fault) => Err(StoreError::new(format!("writing failed: {fault}"), Arc::clone(fault))),
            };
            // Whoever asked may have gone; the entries stay.
            let _ = request.reply.send(answer);
        }
    }

    /// One step of housekeeping; `true` while there is more.
    fn tidy(&mut self) -> bool {
        self.mend_if_suspect();
        let step = self.transact(|connection, options| {
            let reclaimed = space::reclaim_step(connection, (options.wall)())?;
            Ok(reclaimed + space::make_room(connection, options.bytes_max)?)
        });
        let vacuumed = step.and_then(|freed| Ok(self.vacuum()? || freed > 0));
        vacuumed.unwrap_or_else(|fault| {
            tracing::debug!(path = %self.file.path().display(), %fault, "the store could not be tidied");
            false
        })
    }

    fn vacuum(&mut self) -> Result<bool, Fault> {
        let connection = self.connection()?;
        let slack = space::is_slack(connection)?;
        if slack {
            space::vacuum_step(connection)?;
        }
        Ok(slack)
    }

    /// Runs `work` in one transaction. Damage found on the way is mended, and still an error.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection, &SqliteStoreOptions) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let (options, signals) = (self.options.clone(), Arc::clone(&self.signals));
        let outcome = self.connection().and_then(|connection| {
            begin_immediate(connection, options.busy_wait, &signals.closing)?;
            let done = work(connection, &options)?;
            connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        self.slot.settle(outcome.as_ref().err().is_some_and(Fault::is_doubtful));
        if let Err(fault) = &outcome
            && fault.is_damage()
            && let Err(again) = self.begin_anew(fault)
        {
            tracing::warn!(path = %self.file.path().display(), fault = %again, "the store could not begin anew");
        }
        outcome
    }

    fn connection(&mut self) -> Result<&Connection, Fault> {
        let Writer { file, slot, options, signals } = self;
        slot.current(|| {
            let live = file::open_writer(file, options.busy_wait, &signals.closing)?;
            signals.next_generation();
            Ok(live)
        })
    }

    /// Looks after what a reader found: a damaged file, or none.
    fn mend_if_suspect(&mut self) {
        if !self.signals.take_suspicion() {
            return;
        }
        let mended = if self.slot.is_current() {
            self.begin_anew(&Fault::Sqlite(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some("a reader found the file damaged".to_owned()),
            )))
        } else {
            // Another file by now, or none: opening it is all there is to do.
            self.connection().map(|_| ())
        };
        if let Err(fault) = mended {
            tracing::warn!(path = %self.file.path().display(), %fault, "the store's file could not be mended");
        }
    }

    fn begin_anew(&mut self, fault: &Fault) -> Result<(), Fault> {
        self.slot.clear();
        let aside = file::set_aside(&self.file)?;
        tracing::warn!(
            path = %self.file.path().display(),
            aside = %aside.display(),
            %fault,
            "the store's file is damaged; it was set aside, and the store begins empty"
        );
        self.connection().map(|_| ())
    }
}

fn gather(first: Request, requests: &Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.work.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX
        && bytes < BATCH_BYTES
        && let Ok(next) = requests.try_recv()
    {
        bytes += next.work.bytes();
        batch.push(next);
    }
    batch
}

impl Work {
    fn execute(&self, connection: &Connection, options: &SqliteStoreOptions) -> rusqlite::Result<u64> {
        match self {
            Work::Put(entries) => put(connection, entries),
            Work::Remove(keys) => remove(connection, keys),
            Work::Reclaim => space::reclaim_step(connection, (options.wall)()),
        }
    }
}

fn put(connection: &Connection, entries: &[Stored]) -> rusqlite::Result<u64> {
    // Not an upsert: a rewritten entry must move to the young end of the order of eviction.
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
    let mut insert =
        connection.prepare_cached("INSERT INTO entries(key, expires_ms, bytes) VALUES (?1, ?2, ?3)")?;
    let mut added = 0;
    for Stored { key, bytes, expires_ms } in entries {
        added -= delete.execute([key])? as i64;
        let expires_ms = i64::try_from(*expires_ms).unwrap_or(i64::MAX);
        added += insert.execute(params![key, expires_ms, bytes])? as i64;
    }
    space::count(connection, added)?;
    Ok(entries.len() as u64)
}

fn remove(connection: &Connection, keys: &[Vec<u8>]) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
    let mut removed = 0;
    for key in keys {
        removed += delete.execute([key])?;
    }
    space::count(connection, -(removed as i64))?;
    Ok(removed as u64)
}
