//! A line: one connection that is made anew whenever it is lost, for as long as anybody holds the line.
//!
//! Whoever finds no connection is told so at once, save while the first attempt after a start or a loss is under way:
//! that one is awaited. A line never repeats a command. It notices a peer that went silent: it asks for a sign of life
//! every second, and at once when a command went unanswered.

use super::address::Address;
use super::dial::dial;
use super::error::RedisError;
use super::options::{RedisOptions, Role};
use super::reply;
use super::sentinel::Sentinels;
use crate::backoff::Backoff;
use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushKind, Value};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How often a connection is asked for a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// A connection that lasted so long was sound: the next attempt need not wait.
pub(super) const SOUND: Duration = Duration::from_secs(1);

/// When an operation must have ended, and how long that was when it began.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) after: Duration,
}

impl Deadline {
    pub(super) fn after(after: Duration) -> Self {
        Deadline { at: Instant::now() + after, after }
    }
}

/// Where a line leads.
#[derive(Clone)]
pub(super) enum Aim {
    Server(Address),
    /// Whoever the Sentinels say is the master.
    Master(Arc<Sentinels>),
}

impl Aim {
    async fn find(&self, options: &RedisOptions) -> Result<Address, RedisError> {
        match self {
            Aim::Server(address) => Ok(address.clone()),
            Aim::Master(sentinels) => sentinels.find_master(options).await,
        }
    }
}

/// A connection that mends itself.
pub(super) struct Line {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// What the line and its task share.
struct Shared {
    wire: ArcSwapOption<Wire>,
    phase: watch::Sender<Phase>,
    /// A command went unanswered.
    suspicion: Notify,
    /// Connections made.
    made: AtomicU64,
}

#[derive(Clone)]
enum Phase {
    /// The first attempt since the start, or since a loss.
    Connecting,
    Up,
    /// Attempts fail, and go on.
    Down(RedisError),
}

/// One connection while it lasts.
pub(super) struct Wire {
    address: Address,
    connection: MultiplexedConnection,
    end: Arc<Notify>,
}

impl Wire {
    /// The connection is of no more use, whatever it says.
    pub(super) fn condemn(&self) {
        self.end.notify_one();
    }
}

impl Line {
    pub(super) fn to(aim: Aim, options: Arc<RedisOptions>) -> Self {
        let shared = Arc::new(Shared {
            wire: ArcSwapOption::empty(),
            phase: watch::Sender::new(Phase::Connecting),
            suspicion: Notify::new(),
            made: AtomicU64::new(0),
        });
        let task = tokio::spawn(tend(Arc::clone(&shared), aim, options));
        Line { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// The connection; waits, until `by`, for an attempt that may be the first to fail.
    async fn wire(&self, by: Instant) -> Result<Arc<Wire>, RedisError> {
        match self.shared.wire.load_full() {
            Some(wire) => Ok(wire),
            // Boxed: nearly always it is there, and what is sent should not carry this along.
            None => match Box::pin(tokio::time::timeout_at(by, self.connected())).await {
                Ok(wire) => wire,
                Err(_) => Err(RedisError::unsent("no connection in time")),
            },
        }
    }

    async fn connected(&self) -> Result<Arc<Wire>, RedisError> {
        let mut phase = self.shared.phase.subscribe();
        loop {
            match phase.borrow_and_update().clone() {
                Phase::Down(error) => return Err(RedisError::unsent(format!("no connection: {error}"))),
                Phase::Up => {
                    if let Some(wire) = self.shared.wire.load_full() {
                        return Ok(wire);
                    }
                }
                Phase::Connecting => {}
            }
            if phase.changed().await.is_err() {
                return Err(RedisError::unsent("the connection is closed"));
            }
        }
    }

    /// Waits for the outcome of the first attempt.
    pub(super) async fn settle(&self, by: Instant) {
        let _ = self.wire(by).await;
    }

    /// Sends one command and waits for the answer. Dropped, it may still take effect; answers to others are not moved.
    pub(super) async fn send(&self, cmd: &Cmd, by: Deadline) -> Result<Value, RedisError> {
        let wire = self.wire(by.at).await?;
        let mut connection = wire.connection.clone();
        // Pinned here: a future that is handed on by value is as large again for each hand.
        let answer = pin!(connection.send_packed_command(cmd));
        self.watch(&wire, by, answer, reply::of).await
    }

    /// Sends several commands at once, without anything in between, and waits for the answers after the first `skip`.
    /// Error replies are among the answers.
    pub(super) async fn send_all(
        &self,
        pipe: &Pipeline,
        skip: usize,
        by: Deadline,
    ) -> Result<Vec<Value>, RedisError> {
        let wire = self.wire(by.at).await?;
        let mut connection = wire.connection.clone();
        let answers = pin!(connection.send_packed_commands(pipe, skip, pipe.len() - skip));
        self.watch(&wire, by, answers, |answers| answers.map_err(|error| RedisError::lost(&error))).await
    }

    /// Waits for an answer in time, and judges the connection by it.
    async fn watch<A, T>(
        &self,
        wire: &Wire,
        by: Deadline,
        answer: Pin<&mut impl Future<Output = A>>,
        read: impl FnOnce(A) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let mut doubt = Doubt(Some(&self.shared));
        let result = match tokio::time::timeout_at(by.at, answer).await {
            Ok(answer) => read(answer),
            Err(_) => return Err(RedisError::late(by.after)),
        };
        doubt.0 = None;
        if let Err(error) = &result {
            self.judge(wire, error);
        }
        result
    }

    /// Ends a connection whose other end turned out to be the wrong one, or that is broken.
    fn judge(&self, wire: &Wire, error: &RedisError) {
        if !error.is_refused() || matches!(error.code(), Some("READONLY" | "NOAUTH")) {
            wire.condemn();
        }
    }

    /// Makes the connection anew.
    pub(super) fn renew(&self) {
        if let Some(wire) = &*self.shared.wire.load() {
            wire.condemn();
        }
    }

    /// Makes the connection anew if it leads elsewhere.
    pub(super) fn lead_to(&self, address: &Address) {
        if let Some(wire) = &*self.shared.wire.load()
            && wire.address != *address
        {
            wire.condemn();
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.shared.wire.load().is_some()
    }

    /// How many connections were made.
    pub(super) fn made(&self) -> u64 {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// What the last attempt failed with, while there is no connection.
    pub(super) fn fault(&self) -> Option<RedisError> {
        match &*self.shared.phase.borrow() {
            Phase::Down(error) => Some(error.clone()),
            Phase::Connecting | Phase::Up => None,
        }
    }
}

/// While a command waits: dropped before its answer came, it makes the line ask whether the peer is alive.
struct Doubt<'a>(Option<&'a Shared>);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.suspicion.notify_one();
        }
    }
}

/// The life of a line: connect, watch, and begin again, without an end.
async fn tend(shared: Arc<Shared>, aim: Aim, options: Arc<RedisOptions>) {
    let mut backoff = Backoff::default();
    loop {
        match connect(&aim, &options).await {
            Ok(wire) => {
                let address = &wire.address;
                let began = Instant::now();
                let again = shared.made.fetch_add(1, Ordering::Relaxed) > 0;
                tracing::debug!(%address, again, "connected to Redis");
                shared.wire.store(Some(Arc::clone(&wire)));
                shared.phase.send_replace(Phase::Up);
                let why = outlive(&wire, &shared, &options).await;
                shared.phase.send_replace(Phase::Connecting);
                shared.wire.store(None);
                tracing::warn!(%address, why, "a connection to Redis ended; another is being made");
                if began.elapsed() >= SOUND {
                    backoff.reset();
                }
            }
            Err(error) => {
                if !matches!(&*shared.phase.borrow(), Phase::Down(_)) {
                    tracing::warn!(%error, "cannot connect to Redis; attempts go on");
                }
                shared.phase.send_replace(Phase::Down(error));
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn connect(aim: &Aim, options: &RedisOptions) -> Result<Arc<Wire>, RedisError> {
    let address = aim.find(options).await?;
    let end = Arc::new(Notify::new());
    let on_end = Arc::clone(&end);
    let pushed = move |info: redis::PushInfo| {
        if info.kind == PushKind::Disconnection {
            on_end.notify_one();
        }
    };
    let mut connection = dial(options, &address, Role::Server, pushed).await?;
    if let Aim::Master(sentinels) = aim {
        sentinels.check_master(&mut connection, &address, options).await?;
    }
    Ok(Arc::new(Wire { address, connection, end }))
}

/// Waits until the connection is over, and says why.
async fn outlive(wire: &Wire, shared: &Shared, options: &RedisOptions) -> &'static str {
    loop {
        tokio::select! {
            () = wire.end.notified() => return "closed",
            () = shared.suspicion.notified() => {}
            () = tokio::time::sleep(BEAT) => {}
        }
        if !is_alive(&mut wire.connection.clone(), &wire.end, options.silence()).await {
            return "silent";
        }
    }
}

/// Whether the other end gives a sign of life in time. An error reply is one.
pub(super) async fn is_alive(
    connection: &mut MultiplexedConnection,
    end: &Notify,
    deadline: Duration,
) -> bool {
    let ping = redis::cmd("PING");
    tokio::select! {
        () = end.notified() => false,
        answer = tokio::time::timeout(deadline, connection.send_packed_command(&ping)) => match answer {
            Ok(answer) => !reply::of(answer).is_err_and(|error| error.is_indeterminate()),
            Err(_) => false,
        },
    }
}
