//! The journal as its users hold it: options, the port, and the end of its threads.

use super::reader::{Question, Reader, Reply, Seen};
use super::schema::Fault;
use super::writer::{Nudge, Request, Work, Writer};
use crate::journal::limits;
use crate::sqlite::{DatabaseFile, Slot, Worker};
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Cause, Epoch, Link, Target};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait for the writer; more wait in their callers.
const WRITE_QUEUE: usize = 64;

/// How a [`SqliteJournal`] behaves.
#[derive(Clone, Debug)]
pub struct SqliteJournalOptions {
    records_max: Option<u64>,
    poll: Duration,
    busy_wait: Duration,
}

impl SqliteJournalOptions {
    /// Keeps at least the newest `records_max` (at least 1) records of each namespace. Stored in the file, so that
    /// whoever appends knows it; the last one to set it decides. Unset: what the file says, or 100,000.
    #[must_use]
    pub fn records_max(mut self, records_max: u64) -> Self {
        self.records_max = Some(records_max.max(1));
        self
    }

    /// How often the file is looked at for commits of other connections, while somebody waits for one. Default
    /// 5 ms.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(Duration::from_millis(1));
        self
    }

    /// How long a write waits for other connections' transactions before it fails. Default 4 s.
    #[must_use]
    pub fn busy_wait(mut self, busy_wait: Duration) -> Self {
        self.busy_wait = busy_wait.min(Duration::from_secs(3600));
        self
    }
}

impl Default for SqliteJournalOptions {
    fn default() -> Self {
        SqliteJournalOptions {
            records_max: None,
            poll: Duration::from_millis(5),
            busy_wait: Duration::from_secs(4),
        }
    }
}

/// The journal in the application's own SQLite database. Clones share two threads, which end with the last one.
///
/// Records of committed transactions are what [`crate::outbox::invalidate`] wrote there and what
/// [`Journal::append`] adds. A file restored from a backup, in place by SQLite or under the same name, is
/// noticed at the next read, which then says that history diverged.
pub struct SqliteJournal {
    threads: Mutex<Option<Arc<Threads>>>,
    signals: Arc<Signals>,
    /// The generation this handle's reader has looked at.
    seen: AtomicU64,
}

/// The two threads and the ways to ask them.
struct Threads {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    questions: Mutex<Option<blocking::Sender<Question>>>,
    writer: Worker,
    reader: Worker,
    signals: Arc<Signals>,
}

/// What the threads and the handles tell each other without asking.
pub(super) struct Signals {
    /// Counts changes.
    generation: watch::Sender<u64>,
    /// How many wait for one.
    watching: AtomicUsize,
    /// Nobody wants an answer any more.
    pub(super) closing: AtomicBool,
}

impl Signals {
    pub(super) fn announce(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }
}

/// Counts one who waits, until dropped.
struct Watching<'a>(&'a Signals);

impl<'a> Watching<'a> {
    fn new(signals: &'a Signals) -> Self {
        signals.watching.fetch_add(1, Ordering::Relaxed);
        Watching(signals)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SqliteJournal {
    /// Opens, or creates, the journal in the database at this path. Blocks for a few file operations.
    ///
    /// # Errors
    /// When the path is `:memory:` or a URI, the file is no database or of a newer schema, or cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::open_with(path, SqliteJournalOptions::default())
    }

    /// [`SqliteJournal::open`] with options.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(path: impl AsRef<Path>, options: SqliteJournalOptions) -> Result<Self, JournalError> {
        let file = DatabaseFile::at(path.as_ref()).map_err(JournalError::refused)?;
        let signals = Arc::new(Signals {
            generation: watch::Sender::new(0),
            watching: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let threads = Threads::start(&file, &options, &signals)
            .map_err(|e| JournalError::failed(format!("{}: {e}", file.path().display()), e))?;
        Ok(SqliteJournal { threads: Mutex::new(Some(Arc::new(threads))), signals, seen: AtomicU64::new(0) })
    }

    fn threads(&self) -> Result<Arc<Threads>, JournalError> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.clone().ok_or_else(closed)
    }

    async fn write(&self, namespace: &str, work: Work) -> Result<Link, JournalError> {
        let threads = self.threads()?;
        let requests = threads.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = oneshot::channel();
        let request = Request { namespace: namespace.to_owned(), work, reply };
        requests.ok_or_else(closed)?.send(request).await.map_err(|_| closed())?;
        answer.await.map_err(|_| {
            JournalError::indeterminate("the journal's writer ended during the request", "no answer")
        })?
    }

    async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Question) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.threads()?.send(question(reply))?;
        let (generation, answer) = answer.await.map_err(|_| closed())?;
        self.seen.fetch_max(generation, Ordering::Relaxed);
        answer
    }
}

impl Threads {
    fn start(
        file: &DatabaseFile,
        options: &SqliteJournalOptions,
        signals: &Arc<Signals>,
    ) -> Result<Self, Fault> {
        let mut writer = Writer {
            file: file.clone(),
            slot: Slot::default(),
            busy_wait: options.busy_wait,
            signals: Arc::clone(signals),
        };
        let records_max = options.records_max.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        writer.open(records_max)?;
        let (requests, for_writer) = mpsc::channel(WRITE_QUEUE);
        let mut reader = Reader {
            file: file.clone(),
            slot: Slot::default(),
            poll: options.poll,
            signals: Arc::clone(signals),
            seen: Seen::default(),
            writer: Nudge(requests.downgrade()),
        };
        reader.open()?;
        let (questions, for_reader) = blocking::channel();
        let no_thread = |e: std::io::Error| Fault::System(e);
        Ok(Threads {
            writer: Worker::spawn("larder-journal-w", move || writer.run(for_writer)).map_err(no_thread)?,
            reader: Worker::spawn("larder-journal-r", move || reader.run(&for_reader)).map_err(no_thread)?,
            requests: Mutex::new(Some(requests)),
            questions: Mutex::new(Some(questions)),
            signals: Arc::clone(signals),
        })
    }

    fn send(&self, question: Question) -> Result<(), JournalError> {
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.as_ref().ok_or_else(closed)?.send(question).map_err(|_| closed())
    }

    /// The threads end once they have served what is queued.
    fn hang_up(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.questions.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Does not wait for another connection's long transaction.
        self.signals.closing.store(true, Ordering::Relaxed);
        self.hang_up();
        self.writer.join();
        self.reader.join();
    }
}

fn closed() -> JournalError {
    JournalError::refused("the SQLite journal is closed")
}

impl Journal for SqliteJournal {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move {
            loop {
                let namespace = namespace.to_owned();
                let found =
                    self.ask(|reply| Question::History { namespace: namespace.clone(), reply }).await?;
                match found {
                    Some(history) => return Ok(history),
                    None => self.write(&namespace, Work::Create).await?,
                };
            }
        })
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        let namespace = namespace.to_owned();
        Box::pin(self.ask(move |reply| Question::Read { namespace, after, limit, reply }))
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move {
            let work =
                Work::Append { act, targets: limits::encode(targets)?, cause: cause.as_str().to_owned() };
            Ok(Appended { link: self.write(namespace, work).await?, after: None })
        })
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.write(namespace, Work::Roll { seen }).await.map(|_| ()) })
    }

    fn changed<'a>(&'a self, _namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move {
            let seen = self.seen.load(Ordering::Relaxed);
            let mut generation = self.signals.generation.subscribe();
            let _watching = Watching::new(&self.signals);
            // A closed journal never completes this.
            let _ = self.threads().and_then(|threads| threads.send(Question::Watch));
            if let Ok(now) = generation.wait_for(|now| *now > seen).await {
                self.seen.fetch_max(*now, Ordering::Relaxed);
            }
            Hint::Look
        })
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }

    /// Closes this handle. With the last one, what was asked before is answered, and the threads end.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A request still under way holds them too; they then end with it.
            if let Some(threads) = threads.and_then(Arc::into_inner) {
                threads.hang_up();
                threads.writer.ended().await;
                threads.reader.ended().await;
            }
        })
    }
}

impl Clone for SqliteJournal {
    fn clone(&self) -> Self {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SqliteJournal {
            threads: Mutex::new(threads),
            signals: Arc::clone(&self.signals),
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
        }
    }
}
