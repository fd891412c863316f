//! The thread that writes: appends of this process, new namespaces, new epochs.
//!
//! Requests that wait while one transaction runs share the next, and its fate.

use super::append::{append, head_or_create, may_open, roll};
use super::handle::Signals;
use super::schema::{self, Fault};
use crate::journal::limits;
use crate::sqlite::{DatabaseFile, Live, Slot, begin_immediate, is_busy};
use larder_core::port::JournalError;
use larder_core::{Act, Epoch, Link};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests one transaction takes at most.
const BATCH_MAX: usize = 64;

/// What the thread is asked to do.
pub(super) struct Request {
    pub(super) namespace: String,
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Link, JournalError>>,
}

/// Makes the thread look whether its file was replaced. Keeps nothing alive.
pub(super) struct Nudge(pub(super) mpsc::WeakSender<Request>);

impl Nudge {
    pub(super) fn nudge(&self) {
        if let Some(requests) = self.0.upgrade() {
            // Nobody waits for the answer, so the thread does nothing but look. When its queue is full it looks anyway.
            let (reply, _) = oneshot::channel();
            let _ = requests.try_send(Request { namespace: String::new(), work: Work::Create, reply });
        }
    }
}

/// Each answers with a link: the record's place, or the head.
pub(super) enum Work {
    Append { act: Act, targets: Vec<u8>, cause: String },
    Create,
    Roll { seen: Epoch },
}

/// The state of the thread.
pub(super) struct Writer {
    pub(super) file: DatabaseFile,
    pub(super) slot: Slot,
    pub(super) busy_wait: Duration,
    pub(super) signals: Arc<Signals>,
}

enum Failure {
    /// Nothing was written.
    Failed(Arc<dyn std::error::Error + Send + Sync>),
    /// The commit may or may not have taken effect.
    Indeterminate(Arc<dyn std::error::Error + Send + Sync>),
}

impl Writer {
    /// Opens the file and brings its tables up to date.
    pub(super) fn open(&mut self, records_max: Option<i64>) -> Result<(), Fault> {
        let live = open(&self.file, true, self.busy_wait, &self.signals, records_max)?;
        self.slot.put(live);
        Ok(())
    }

    /// Serves requests until their senders are gone.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = requests.try_recv()
            {
                batch.push(next);
            }
            self.slot.drop_replaced();
            // Nobody waits for these any more, and nothing of them was written.
            batch.retain(|request| !request.reply.is_closed());
            if !batch.is_empty() {
                self.serve(batch);
            }
        }
    }

    fn serve(&mut self, batch: Vec<Request>) {
        let outcome = self.write(&batch);
        if outcome.is_ok() {
            self.signals.announce();
        }
        for (i, request) in batch.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(links) => links.get(i).copied().flatten().ok_or_else(limits::not_opened),
                Err(Failure::Failed(e)) => {
                    Err(JournalError::failed(format!("writing failed: {e}"), Arc::clone(e)))
                }
                Err(Failure::Indeterminate(e)) => Err(JournalError::indeterminate(
                    format!("the commit failed, and may have taken effect: {e}"),
                    Arc::clone(e),
                )),
            };
            // Whoever asked may have gone; the record stands.
            let _ = request.reply.send(answer);
        }
    }

    fn write(&mut self, batch: &[Request]) -> Result<Vec<Option<Link>>, Failure> {
        let reopen = || open(&self.file, false, self.busy_wait, &self.signals, None);
        let connection = self.slot.current(reopen).map_err(Failure::failed)?;
        let outcome = transact(connection, batch, self.busy_wait, &self.signals);
        self.slot.settle(outcome.is_err());
        if outcome.is_ok() && !self.slot.is_current() {
            let what = Fault::Damaged("the database file was replaced while it was written".into());
            return Err(Failure::Indeterminate(Arc::new(what)));
        }
        outcome
    }
}

/// Opens the file, which may have to exist, and brings its tables up to date.
fn open(
    file: &DatabaseFile,
    create: bool,
    busy_wait: Duration,
    signals: &Signals,
    records_max: Option<i64>,
) -> Result<Live, Fault> {
    let live = file.open(create, |connection| {
        // A record must not be lost in a power failure that the data it follows survived.
        connection.execute_batch("PRAGMA synchronous = FULL")
    })?;
    if records_max.is_some() || !schema::is_complete(&live.connection)? {
        begin_immediate(&live.connection, busy_wait, &signals.closing)?;
        schema::ensure(&live.connection)?;
        if let Some(records_max) = records_max {
            schema::set_records_max(&live.connection, records_max)?;
        }
        live.connection.execute_batch("COMMIT")?;
    }
    Ok(live)
}

impl Failure {
    fn failed(fault: Fault) -> Self {
        Failure::Failed(Arc::new(fault))
    }
}

fn transact(
    connection: &Connection,
    batch: &[Request],
    busy_wait: Duration,
    signals: &Signals,
) -> Result<Vec<Option<Link>>, Failure> {
    begin_immediate(connection, busy_wait, &signals.closing).map_err(|e| Failure::failed(e.into()))?;
    let links: Result<Vec<Option<Link>>, Fault> =
        batch.iter().map(|request| request.work.execute(connection, &request.namespace)).collect();
    let links = links.map_err(Failure::failed)?;
    match connection.execute_batch("COMMIT") {
        Ok(()) => Ok(links),
        Err(error) if is_busy(&error) => Err(Failure::failed(error.into())),
        // The log may hold the commit though SQLite could not make sure of it; only a restart would tell.
        Err(error) => Err(Failure::Indeterminate(Arc::new(error))),
    }
}

impl Work {
    /// `None` when an intent may not be opened: nothing of this request was written, and the others go on.
    fn execute(&self, connection: &Connection, namespace: &str) -> Result<Option<Link>, Fault> {
        let link = match self {
            Work::Append { act: Act::Open { intent, .. }, .. }
                if !may_open(connection, namespace, *intent)? =>
            {
                return Ok(None);
            }
            Work::Append { act, targets, cause } => append(connection, namespace, *act, targets, cause),
            Work::Create => head_or_create(connection, namespace),
            Work::Roll { seen } => {
                // A file restored from before the journal's time has no tables.
                super::schema::ensure(connection)?;
                roll(connection, namespace, *seen)?;
                head_or_create(connection, namespace)
            }
        };
        link.map(Some)
    }
}
