//! The threads that read. They take questions from one queue.

use super::file::{self, Fault};
use super::handle::Signals;
use super::space;
use crate::sqlite::{DatabaseFile, Slot};
use larder_core::port::StoreError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// What a thread is asked.
pub(super) enum Question {
    Get { keys: Vec<Vec<u8>>, reply: oneshot::Sender<Result<Vec<Option<Vec<u8>>>, StoreError>> },
    Usage { reply: oneshot::Sender<Result<(u64, u64), StoreError>> },
}

/// The state of one thread.
pub(super) struct Reader {
    file: DatabaseFile,
    slot: Slot,
    /// Which file of the writer's the slot was opened after.
    generation: u64,
    signals: Arc<Signals>,
}

impl Reader {
    pub(super) fn new(file: &DatabaseFile, signals: &Arc<Signals>) -> Self {
        Reader { file: file.clone(), slot: Slot::default(), generation: 0, signals: Arc::clone(signals) }
    }

    /// Serves questions until their senders are gone.
    pub(super) fn run(mut self, questions: &Mutex<Receiver<Question>>) {
        loop {
            // One thread waits for a question, the others for their turn to wait.
            let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(Question::Get { keys, reply }) if !reply.is_closed() => {
                    let found = self.with(|connection| get(connection, &keys));
                    let _ = reply.send(found);
                }
                Ok(Question::Usage { reply }) if !reply.is_closed() => {
                    let usage = self.with(|connection| {
                        Ok((space::entries(connection)?, space::bytes_in_use(connection)?))
                    });
                    let _ = reply.send(usage);
                }
                // Whoever asked has gone.
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn with<T>(&mut self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let (signals, generation) = (&self.signals, &mut self.generation);
        let open = || {
            *generation = signals.generation();
            file::open_reader(&self.file)
        };
        let answer = self.slot.current(open).and_then(|connection| ask(connection).map_err(Fault::Sqlite));
        self.slot.settle(answer.as_ref().err().is_some_and(Fault::is_doubtful));
        answer.map_err(|fault| {
            if fault.is_damage() || !self.file.exists() {
                // The writer mends the file; until then, the slot would only repeat this.
                self.signals.suspect(self.generation);
                self.slot.clear();
            }
            StoreError::new(format!("reading failed: {fault}"), fault)
        })
    }
}

fn get(connection: &Connection, keys: &[Vec<u8>]) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    // One snapshot for all of them; it ends with the guard.
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached("SELECT bytes FROM entries WHERE key = ?1")?;
    keys.iter().map(|key| statement.query_row([key], |row| row.get_ref(0).map(envelope)).optional()).collect()
}

/// The bytes of a row. What is no blob, or larger than any envelope, is empty, which no envelope is: a row that somebody
/// else wrote must not fail the rows asked for with it, nor be read into memory whole.
fn envelope(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Blob(bytes) if bytes.len() <= ENVELOPE_BYTES_MAX => bytes.to_vec(),
        _ => Vec::new(),
    }
}

/// No larger envelope is read: 1 GiB, SQLite's own limit on a value.
const ENVELOPE_BYTES_MAX: usize = 1_000_000_000;
