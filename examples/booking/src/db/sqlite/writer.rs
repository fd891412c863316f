//! The one writing connection, on a thread of its own.
//!
//! `db` hands it jobs; each job is one transaction. It never batches two jobs into one commit:
//! an acknowledged booking is a committed one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::ServiceError;

/// Jobs that may wait before callers do.
const QUEUE_JOBS_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The writer's handle.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread, which owns the connection until the last job is done.
    pub(crate) fn start(connection: Connection) -> Result<Writer, ServiceError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_JOBS_MAX);
        let path = connection.path().unwrap_or("").to_owned();
        let thread = std::thread::Builder::new()
            .name("booking-writer".to_owned())
            .spawn(move || {
                let mut connection = connection;
                while let Some(job) = queue.blocking_recv() {
                    // A job that panics is a bug of that job: its transaction rolls back as it unwinds, its caller
                    // sees `Closing`, and the others go on.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
                }
            })
            .map_err(|error| ServiceError::Open {
                path,
                reason: format!("no thread for writing: {error}"),
            })?;
        Ok(Writer { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `write` in one immediate transaction and returns after its commit; an error rolls everything back.
    ///
    /// Dropping the future before the answer leaves the outcome unknown to the caller: the job still runs.
    pub(crate) async fn write<T, F>(&self, write: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        let jobs =
            self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(ServiceError::Closing)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = transact(connection, write);
            // The caller may have gone; what it asked for has happened all the same.
            let _ = answer.send(outcome);
        });
        jobs.send(job).await.map_err(|_| ServiceError::Closing)?;
        answered.await.map_err(|_| ServiceError::Closing)?
    }

    /// Refuses new jobs, finishes the accepted ones and joins the thread.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Panics of jobs were caught; there is nothing to learn from the thread's end.
            let _ = thread.join();
        }
    }
}

fn transact<T>(
    connection: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    // Immediate: take the write lock before reading, so that nothing read can be outdated at the commit.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = write(&tx)?;
    tx.commit()?;
    Ok(value)
}
