//! The thread that reads, and that watches for changes while somebody waits for one.

use super::handle::Signals;
use super::query;
use super::writer::Nudge;
use crate::sqlite::{DatabaseFile, Live, Slot, if_there};
use larder_core::Link;
use larder_core::port::{History, JournalError, Page};
use rusqlite::Connection;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a read waits where SQLite makes even readers wait, such as during recovery after a crash.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Where an answer goes, with the generation of changes it surely contains.
pub(super) type Reply<T> = oneshot::Sender<(u64, Result<T, JournalError>)>;

/// What the thread is asked to do.
pub(super) enum Question {
    /// `None` when the namespace has no history yet.
    History { namespace: String, reply: Reply<Option<History>> },
    /// The records after a place.
    Read { namespace: String, after: Link, limit: usize, reply: Reply<Page> },
    /// Somebody began to wait for a change.
    Watch,
}

/// The state of the thread.
pub(super) struct Reader {
    pub(super) file: DatabaseFile,
    pub(super) slot: Slot,
    pub(super) poll: Duration,
    pub(super) signals: Arc<Signals>,
    pub(super) seen: Seen,
    pub(super) writer: Nudge,
}

/// What the last look at the file found.
#[derive(Default)]
pub(super) struct Seen {
    /// Moves when another connection commits.
    data_version: Option<i64>,
    /// A digest of every namespace's head; what else the application writes is none of our business.
    heads: u64,
}

impl Reader {
    /// Opens the file, which the writer has created.
    pub(super) fn open(&mut self) -> rusqlite::Result<()> {
        self.slot.put(open(&self.file)?);
        Ok(())
    }

    /// Serves questions until their senders are gone.
    pub(super) fn run(mut self, questions: &Receiver<Question>) {
        loop {
            let next = if self.signals.is_watched() {
                questions.recv_timeout(self.poll)
            } else {
                questions.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(question) => self.answer(question),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, question: Question) {
        self.look();
        let generation = self.signals.generation();
        match question {
            Question::Watch => {}
            Question::History { namespace, reply } if !reply.is_closed() => {
                let history = self.with(|c| query::history(c, &namespace).map_err(query::failed));
                let _ = reply.send((generation, history));
            }
            Question::Read { namespace, after, limit, reply } if !reply.is_closed() => {
                let page = self.with(|c| query::page(c, &namespace, after, limit));
                let _ = reply.send((generation, page));
            }
            // Whoever asked has gone.
            Question::History { .. } | Question::Read { .. } => {}
        }
    }

    /// Runs `ask` on a connection to the file that is there now.
    fn with<T>(
        &mut self,
        ask: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let connection = self
            .slot
            .current(|| open(&self.file))
            .map_err(|e| JournalError::failed(format!("the database file cannot be opened: {e}"), e))?;
        let answer = ask(connection);
        // Any error that is not an answer makes the connection doubtful.
        self.slot.settle(answer.as_ref().err().is_some_and(|e| !e.is_diverged() && !e.is_compacted()));
        answer
    }

    /// Looks whether anything was committed since the last look, and tells those who wait.
    fn look(&mut self) {
        if !self.slot.is_current() {
            // A replaced file is worth a look by whoever waits. A missing one is looked for at every poll, but told
            // of only once.
            let replaced = self.slot.drop_replaced();
            self.seen.data_version = None;
            if replaced {
                tracing::warn!(path = %self.file.path().display(), "the journal's database file was replaced");
                // It may be idle, and holds locks as long as it has not noticed.
                self.writer.nudge();
            }
            if self.slot.current(|| open(&self.file)).is_ok() || replaced {
                self.signals.announce();
            }
            return;
        }
        let changed = self.slot.current(|| open(&self.file)).and_then(|c| self.seen.update(c));
        if changed.unwrap_or(false) {
            self.signals.announce();
        }
    }
}

fn open(file: &DatabaseFile) -> rusqlite::Result<Live> {
    let live = file.open_to_read(|connection| connection.execute_batch("PRAGMA cache_size = -1024"))?;
    live.connection.busy_timeout(BUSY_WAIT)?;
    Ok(live)
}

impl Seen {
    fn update(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached("PRAGMA data_version")?;
        let version = statement.query_row([], |row| row.get(0))?;
        if self.data_version == Some(version) {
            return Ok(false);
        }
        let heads = heads(connection)?;
        let changed = heads != self.heads;
        *self = Seen { data_version: Some(version), heads };
        Ok(changed)
    }
}

fn heads(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT namespace, epoch, position, nonce FROM main.larder_head ORDER BY namespace";
    let digest = connection.prepare_cached(sql).and_then(|mut statement| {
        let mut rows = statement.query([])?;
        let mut digest = DefaultHasher::new();
        while let Some(row) = rows.next()? {
            for column in 0..4 {
                format!("{:?}", row.get_ref(column)?).hash(&mut digest);
            }
        }
        Ok(digest.finish())
    });
    Ok(if_there(digest)?.unwrap_or(0))
}
