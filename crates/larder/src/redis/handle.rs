//! The handle: what adapters ask of Redis, and what a person can see of its state.

use super::error::RedisError;
use super::line::Deadline;
use super::listen::{Heard, Listener, Station};
use super::node::Lane;
use super::options::RedisOptions;
use super::reply;
use super::script::Script;
use super::sentinel::Sentinels;
use super::servers::Servers;
use redis::{Cmd, FromRedisValue, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Redis or Valkey: connections that mend themselves, shared by all clones. The last clone's end ends them.
///
/// Needs RESP3: Redis 6 or Valkey; on a cluster Redis 7, for sharded channels. Commands are never repeated by themselves,
/// save when the server said that it did nothing.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<RedisOptions>,
    servers: Arc<Servers>,
    _watch: Option<AbortOnDropHandle<()>>,
}

/// What a person may want to know of the connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisStatus {
    /// Servers known to take writes: one, or a cluster's masters. 0 while a cluster has not answered yet.
    pub servers: usize,
    /// How many of them are connected.
    pub connected: usize,
    /// Connections made so far to the servers known now.
    pub connections_made: u64,
    /// What keeps one of them from being connected, if anything does.
    pub fault: Option<String>,
}

impl Redis {
    /// Connects to what a URL names; see [`RedisOptions::parse`] for its forms. Waits for the first attempt, and no
    /// longer: a server that is down is no error, since attempts go on in the background for as long as it takes.
    ///
    /// # Errors
    /// [`RedisError::is_unusable`] when the URL cannot be used.
    pub async fn connect(url: &str) -> Result<Self, RedisError> {
        Ok(Self::connect_with(RedisOptions::parse(url)?).await)
    }

    /// [`Redis::connect`] with options.
    pub async fn connect_with(options: RedisOptions) -> Self {
        let options = Arc::new(options);
        let servers = Arc::new(Servers::of(&options));
        let watch = match &*servers {
            Servers::One { sentinels: Some(sentinels), .. } => {
                let watch = follow(Arc::clone(sentinels), Arc::clone(&servers), Arc::clone(&options));
                Some(AbortOnDropHandle::new(tokio::spawn(watch)))
            }
            _ => None,
        };
        servers.settle(Deadline::after(options.connect_deadline())).await;
        Redis { inner: Arc::new(Inner { options, servers, _watch: watch }) }
    }

    /// How the connections are.
    pub fn status(&self) -> RedisStatus {
        let fault = self.inner.servers.fault();
        let mut status = RedisStatus {
            servers: 0,
            connected: 0,
            connections_made: 0,
            fault: fault.map(|error| error.to_string()),
        };
        self.inner.servers.each_master(|is_up, made, fault| {
            status.servers += 1;
            status.connected += usize::from(is_up);
            status.connections_made += made;
            status.fault = status.fault.take().or_else(|| fault.map(|error| error.to_string()));
        });
        status
    }

    /// Sends a command to where its key lives, and reads the answer. Dropped, it may still take effect.
    pub(crate) async fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, RedisError> {
        reply::read(self.answer(cmd).await?)
    }

    pub(crate) async fn answer(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        self.inner.servers.send(cmd, Lane::Ordinary, self.by(Lane::Ordinary)).await
    }

    /// Sends commands together, to all the nodes concerned at once. Each has an answer of its own, in order.
    pub(crate) async fn ask_each(&self, cmds: &[Cmd]) -> Vec<Result<Value, RedisError>> {
        self.inner.servers.send_each(cmds, Lane::Ordinary, self.by(Lane::Ordinary)).await
    }

    /// [`Redis::ask_each`] over the connections for large values; within their deadline, or another.
    pub(crate) async fn ask_each_large(
        &self,
        cmds: &[Cmd],
        within: Option<Duration>,
    ) -> Vec<Result<Value, RedisError>> {
        let by = within.map_or_else(|| self.by(Lane::Large), Deadline::after);
        self.inner.servers.send_each(cmds, Lane::Large, by).await
    }

    /// The answers of all masters to a command without a key.
    pub(crate) async fn ask_all<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<Vec<T>, RedisError> {
        let answers = self.inner.servers.send_to_all(cmd, self.by(Lane::Ordinary)).await?;
        answers.into_iter().map(reply::read).collect()
    }

    /// The answer of one master of several, and whether it is the last of them; `None` when there is none of this number.
    pub(crate) async fn ask_one_of<T: FromRedisValue>(
        &self,
        number: usize,
        cmd: &Cmd,
    ) -> Result<Option<(T, bool)>, RedisError> {
        match self.inner.servers.send_to_one_of(number, cmd, self.by(Lane::Ordinary)).await? {
            Some((answer, last)) => Ok(Some((reply::read(answer)?, last))),
            None => Ok(None),
        }
    }

    /// Runs a script where its first key lives. Sends it whole to a server that does not know it.
    ///
    /// # Errors
    /// An error raised inside of the script is indeterminate: it may have written before.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        self.run_on(Lane::Ordinary, script, keys, args).await
    }

    /// [`Redis::run`] over the connections for large values.
    pub(crate) async fn run_large<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        self.run_on(Lane::Large, script, keys, args).await
    }

    async fn run_on<T: FromRedisValue>(
        &self,
        lane: Lane,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let by = self.by(lane);
        let send = async |cmd: Cmd| self.inner.servers.send(&cmd, lane, by).await;
        let answer = match send(script.by_hash(keys, args)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => send(script.whole(keys, args)).await,
            answer => answer,
        };
        reply::read(answer.map_err(RedisError::after_script)?)
    }

    /// [`Redis::run`], once for each of these keys with its arguments: together, each with an answer of its own.
    pub(crate) async fn run_each(
        &self,
        script: &Script,
        calls: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    ) -> Vec<Result<Value, RedisError>> {
        let cmd = |(key, args): &(Vec<u8>, Vec<Vec<u8>>), whole: bool| {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            if whole { script.whole(&[key], &args) } else { script.by_hash(&[key], &args) }
        };
        let cmds: Vec<Cmd> = calls.iter().map(|call| cmd(call, false)).collect();
        let mut answers = self.ask_each(&cmds).await;
        let unknown = |answer: &Result<Value, RedisError>| {
            answer.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT"))
        };
        let again: Vec<usize> = (0..calls.len()).filter(|at| unknown(&answers[*at])).collect();
        if !again.is_empty() {
            let cmds: Vec<Cmd> = again.iter().map(|at| cmd(&calls[*at], true)).collect();
            for (at, answer) in again.into_iter().zip(self.ask_each(&cmds).await) {
                answers[at] = answer;
            }
        }
        answers.into_iter().map(|answer| answer.map_err(RedisError::after_script)).collect()
    }

    /// Hears what is published on a channel, for as long as the listener lives.
    pub(crate) fn listen(&self, channel: &[u8]) -> Listener {
        let station = Station::Servers(Arc::clone(&self.inner.servers));
        Listener::at(station, channel, Arc::clone(&self.inner.options))
    }

    /// Says something on a channel; to nobody, if nobody listens.
    pub(crate) async fn publish(&self, channel: &[u8], message: &[u8]) -> Result<(), RedisError> {
        let cmd = self.publication(channel, message);
        self.ask::<u64>(&cmd).await.map(|_| ())
    }

    /// What [`Redis::publish`] sends.
    pub(crate) fn publication(&self, channel: &[u8], message: &[u8]) -> Cmd {
        let mut cmd = redis::cmd(self.publishing());
        cmd.arg(channel).arg(message);
        cmd
    }

    /// The command that publishes on channels one can [`Redis::listen`] to, for use in scripts.
    pub(crate) fn publishing(&self) -> &'static str {
        if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Whether this failure is that of a part of a cluster, while other parts can be reached.
    pub(crate) fn is_partly_down(&self, error: &RedisError) -> bool {
        let is_down = error.is_unsent() || error.code() == Some("CLUSTERDOWN");
        is_down && self.is_cluster() && self.status().connected > 0
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(*self.inner.servers, Servers::Cluster(_))
    }

    /// How long an operation may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.inner.options.deadline
    }

    fn by(&self, lane: Lane) -> Deadline {
        Deadline::after(match lane {
            Lane::Ordinary => self.inner.options.deadline,
            Lane::Large => self.inner.options.large_deadline(),
        })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("options", &self.inner.options).field("status", &self.status()).finish()
    }
}

/// Follows a failover when a Sentinel announces it, without waiting for the old master to refuse.
async fn follow(sentinels: Arc<Sentinels>, servers: Arc<Servers>, options: Arc<RedisOptions>) {
    let listener =
        Listener::at(Station::Sentinels(Arc::clone(&sentinels)), b"+switch-master", Arc::clone(&options));
    let about = format!("{} ", sentinels.master).into_bytes();
    loop {
        let heard = listener.heard().await;
        let Servers::One { node, .. } = &*servers else { return };
        match heard {
            Heard::Message(message) if message.starts_with(&about) => {
                tracing::info!("the Sentinels have made another server the master");
                node.renew();
            }
            Heard::Message(_) => {}
            // The announcement may have been missed; the old master answers until somebody tells it that it is none.
            Heard::Gap => {
                if let Ok(master) = sentinels.find_master(&options).await {
                    node.lead_to(&master);
                }
            }
        }
    }
}
