//! The matrix's side of its nodes: starts them, asks them, kills and stops them.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use larder_rig::{Error, Process};
use tokio::sync::oneshot;

use super::wire::{Answer, Ask, Line};

/// How long a node may take to come up.
const START: Duration = Duration::from_secs(20);

type Waiting = HashMap<u64, oneshot::Sender<Answer>>;

/// One node, alive or not.
#[derive(Debug)]
pub(super) struct Node {
    args: Vec<OsString>,
    running: Mutex<Option<Running>>,
    ids: AtomicU64,
}

#[derive(Debug)]
struct Running {
    process: Process,
    stdin: ChildStdin,
    waiting: Arc<Mutex<Waiting>>,
}

impl Node {
    /// Starts it, and waits until it says that it is up.
    pub(super) fn start(args: Vec<OsString>) -> Result<Self, Error> {
        let node = Self { args, running: Mutex::new(None), ids: AtomicU64::new(1) };
        node.restart()?;
        Ok(node)
    }

    /// Kills it if it runs, and starts it again, with nothing in memory.
    pub(super) fn restart(&self) -> Result<(), Error> {
        self.kill();
        let program =
            std::env::current_exe().map_err(|_| failed("this program does not know where it is"))?;
        let mut process = Process::start(program, |command| {
            command.arg("node").args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let streams = process.streams();
        let (Some(stdin), Some(stdout)) = (streams.stdin.take(), streams.stdout.take()) else {
            return Err(failed("a node has no streams"));
        };
        let (up, is_up) = std::sync::mpsc::channel();
        let waiting = Arc::new(Mutex::new(Waiting::new()));
        let answers = Arc::clone(&waiting);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match Line::<Answer>::parse(&line) {
                    // The matrix has given up on the node.
                    Some(Line { said: Answer::Ready, .. }) => drop(up.send(())),
                    Some(Line { id, said }) => {
                        if let Some(asker) = locked(&answers).remove(&id) {
                            // The asker has given up on the answer.
                            let _ = asker.send(said);
                        }
                    }
                    None => {}
                }
            }
            // The node is dead: so are the questions.
            locked(&answers).clear();
        });
        is_up.recv_timeout(START).map_err(|_| failed("a node does not come up"))?;
        *locked(&self.running) = Some(Running { process, stdin, waiting });
        Ok(())
    }

    /// Asks; none if the node is dead, or dies before it answers.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Answer> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let answer = {
            let mut running = locked(&self.running);
            let running = running.as_mut()?;
            let (sender, answer) = oneshot::channel();
            locked(&running.waiting).insert(id, sender);
            running.stdin.write_all(Line { id, said: ask }.text().as_bytes()).ok()?;
            answer
        };
        answer.await.ok()
    }

    /// kill -9.
    pub(super) fn kill(&self) {
        *locked(&self.running) = None;
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) {
        if let Some(running) = &*locked(&self.running) {
            running.process.pause();
        }
    }

    /// SIGCONT.
    pub(super) fn resume(&self) {
        if let Some(running) = &*locked(&self.running) {
            running.process.resume();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(why: &str) -> Error {
    Error::new(why)
}
