//! The store as its users hold it: the port, its queues, and the end of its threads.

use super::file::Fault;
use super::options::SqliteStoreOptions;
use super::reader::{Question, Reader};
use super::writer::{Request, Work, Writer};
use crate::sqlite::{DatabaseFile, Worker};
use larder_core::port::{BoxFuture, Store, StoreError, Stored};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Questions that may wait for a reader; beyond it, `get_many` is refused.
const READ_QUEUE: usize = 1024;
/// The unit in which the write queue counts bytes.
const QUEUE_UNIT: usize = 1024;

/// A store in an SQLite file of its own.
///
/// `put_many` completes once committed. What it refuses, for want of room in its queue, or cannot write, for want of
/// room on the disk, was not put; it works again by itself once there is room. A file that is damaged, at open or
/// later, is renamed to `<name>.damaged` with a warning, and the store begins empty.
pub struct SqliteStore {
    requests: Mutex<Option<Sender<Request>>>,
    questions: Mutex<Option<SyncSender<Question>>>,
    room: Arc<Semaphore>,
    /// All of `room`.
    room_max: u32,
    entry_bytes_max: usize,
    threads: Vec<Worker>,
    signals: Arc<Signals>,
}

/// What the threads and the handle tell each other without asking.
pub(super) struct Signals {
    /// Dropped without being closed.
    pub(super) closing: AtomicBool,
    /// Counts the files the writer opened.
    generation: AtomicU64,
    /// The generation of the file in which a reader found damage; 0 for none.
    suspect: AtomicU64,
}

impl Signals {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn suspect(&self, generation: u64) {
        self.suspect.fetch_max(generation, Ordering::AcqRel);
    }

    /// Whether the file the writer has open now is the one a reader complained of.
    pub(super) fn take_suspicion(&self) -> bool {
        let suspect = self.suspect.swap(0, Ordering::AcqRel);
        suspect != 0 && suspect == self.generation()
    }
}

impl SqliteStore {
    /// Opens, or creates, the store at this path. Blocks for a few file operations.
    ///
    /// # Errors
    /// When the path is `:memory:` or a URI, names another application's database or one of a newer schema, or
    /// cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteStoreOptions::default())
    }

    /// [`SqliteStore::open`] with options.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(path: impl AsRef<Path>, options: SqliteStoreOptions) -> Result<Self, StoreError> {
        let file = DatabaseFile::at(path.as_ref()).map_err(StoreError::refused)?;
        Self::start(&file, &options)
            .map_err(|fault| StoreError::new(format!("{}: {fault}", file.path().display()), fault))
    }

    fn start(file: &DatabaseFile, options: &SqliteStoreOptions) -> Result<Self, Fault> {
        let signals = Arc::new(Signals {
            closing: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            suspect: AtomicU64::new(0),
        });
        let writer = Writer::open(file, options, &signals)?;
        let (requests, for_writer) = channel();
        let (questions, for_readers) = sync_channel(READ_QUEUE);
        let for_readers = Arc::new(Mutex::new(for_readers));
        let room_max = u32::try_from((options.queue_bytes_max / QUEUE_UNIT).clamp(1, Semaphore::MAX_PERMITS));
        let room_max = room_max.unwrap_or(u32::MAX);
        let mut store = SqliteStore {
            requests: Mutex::new(Some(requests)),
            questions: Mutex::new(Some(questions)),
            room: Arc::new(Semaphore::new(room_max as usize)),
            room_max,
            entry_bytes_max: usize::try_from(options.bytes_max / 4).unwrap_or(usize::MAX),
            threads: Vec::new(),
            signals: Arc::clone(&signals),
        };
        // From here on, a failure ends the threads begun so far with the handle.
        store.spawn("larder-store-w", move || writer.run(&for_writer))?;
        for _ in 0..options.readers {
            let (reader, questions) = (Reader::new(file, &signals), Arc::clone(&for_readers));
            store.spawn("larder-store-r", move || reader.run(&questions))?;
        }
        Ok(store)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.threads.push(Worker::spawn(name, body).map_err(Fault::System)?);
        Ok(())
    }

    /// Deletes what has expired by now, as the background does by itself, and says how many entries went.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn reclaim(&self) -> Result<u64, StoreError> {
        let mut reclaimed = 0;
        loop {
            match self.write(Work::Reclaim).await? {
                0 => return Ok(reclaimed),
                n => reclaimed += n,
            }
        }
    }

    /// Takes room in the queue (refused, when `put`s find none; waited for, by others), then waits for the commit.
    async fn write(&self, work: Work) -> Result<u64, StoreError> {
        let units = u32::try_from(work.bytes() / QUEUE_UNIT + 1).unwrap_or(u32::MAX).min(self.room_max);
        let room = Arc::clone(&self.room);
        let room = match work {
            Work::Put(_) => room.try_acquire_many_owned(units).map_err(|_| {
                StoreError::refused(format!(
                    "the queue holds {} KiB of entries not yet written; expected room for {units} more",
                    self.room_max as usize - self.room.available_permits()
                ))
            })?,
            Work::Remove(_) | Work::Reclaim => room.acquire_many_owned(units).await.map_err(|_| closed())?,
        };
        let (reply, answer) = oneshot::channel();
        self.send(Request { work, reply, _room: Some(room) })?;
        answer.await.map_err(|_| closed())?
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.as_ref().ok_or_else(closed)?.send(request).map_err(|_| closed())
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Question,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = questions.as_ref().ok_or_else(closed)?.try_send(question(reply));
            sent.map_err(|error| match error {
                TrySendError::Full(_) => {
                    StoreError::refused(format!("{READ_QUEUE} reads wait already; expected fewer"))
                }
                TrySendError::Disconnected(_) => closed(),
            })?;
        }
        answer.await.map_err(|_| closed())?
    }

    /// The threads end once they have served what is queued.
    fn hang_up(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.questions.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.signals.closing.store(true, Ordering::Relaxed);
        self.hang_up();
        self.threads.iter().for_each(Worker::join);
    }
}

fn closed() -> StoreError {
    StoreError::refused("the SQLite store is closed")
}

impl Store for SqliteStore {
    fn get_many<'a>(
        &'a self,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            let keys = keys.to_vec();
            self.ask(|reply| Question::Get { keys, reply }).await
        })
    }

    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let largest = entries.iter().map(|e| e.key.len() + e.bytes.len()).max().unwrap_or(0);
            if largest > self.entry_bytes_max {
                return Err(StoreError::refused(format!(
                    "an entry takes {largest} bytes; expected at most {}, a quarter of bytes_max",
                    self.entry_bytes_max
                )));
            }
            self.write(Work::Put(entries)).await.map(|_| ())
        })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.write(Work::Remove(keys.to_vec())).await.map(|_| ()) })
    }

    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        Box::pin(self.ask(|reply| Question::Usage { reply }))
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.hang_up();
            for thread in &self.threads {
                thread.ended().await;
            }
        })
    }
}
