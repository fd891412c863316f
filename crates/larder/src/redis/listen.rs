//! Subscriptions that survive: on a connection of their own, made anew whenever it is lost, and honest about what they
//! may have missed.
//!
//! A message is a hint. Every doubt (subscribed anew, overflow, moved, an error) is heard as [`Heard::Gap`]. On a
//! cluster the channel is sharded: it lives where a key of the same name would.

use super::address::Address;
use super::dial::dial;
use super::error::RedisError;
use super::line::{BEAT, SOUND, is_alive};
use super::options::{RedisOptions, Role};
use super::reply;
use super::sentinel::Sentinels;
use super::servers::Servers;
use crate::backoff::Backoff;
use redis::{PushInfo, PushKind, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Messages that may wait to be heard; beyond them there is a gap.
const QUEUE: usize = 1024;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message, whole.
    Message(Vec<u8>),
    /// Anything may have been missed, before now or until just now.
    Gap,
}

/// A subscription to one channel. Ends when dropped.
pub(crate) struct Listener {
    ear: Arc<Ear>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Ear {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Vec<u8>>,
    gap: bool,
    subscribed: bool,
}

impl Ear {
    fn gap(&self, subscribed: bool) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.gap = true;
        queue.subscribed = subscribed;
        drop(queue);
        self.news.notify_one();
    }

    fn take(&self) -> Option<Heard> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut queue.gap) {
            return Some(Heard::Gap);
        }
        queue.messages.pop_front().map(Heard::Message)
    }

    fn message(&self, message: Vec<u8>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.messages.len() < QUEUE {
            queue.messages.push_back(message);
        } else {
            queue.gap = true;
        }
        drop(queue);
        self.news.notify_one();
    }
}

/// Where a channel is heard.
pub(super) enum Station {
    Servers(Arc<Servers>),
    /// At any of the Sentinels, which say when the master changes.
    Sentinels(Arc<Sentinels>),
}

impl Station {
    async fn find(
        &self,
        channel: &[u8],
        attempt: usize,
        options: &RedisOptions,
    ) -> Result<(Address, bool, Role), RedisError> {
        match self {
            Station::Servers(servers) => {
                let (address, sharded) = servers.place_of(channel, options).await?;
                Ok((address, sharded, Role::Server))
            }
            Station::Sentinels(sentinels) => {
                let address = sentinels.addresses[attempt % sentinels.addresses.len()].clone();
                Ok((address, false, Role::Sentinel))
            }
        }
    }

    fn doubt(&self) {
        if let Station::Servers(servers) = self {
            servers.doubt();
        }
    }
}

impl Listener {
    pub(super) fn at(station: Station, channel: &[u8], options: Arc<RedisOptions>) -> Self {
        let ear = Arc::new(Ear::default());
        let task = attend(Arc::clone(&ear), station, channel.to_vec(), options);
        Listener { ear, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    /// The next message or gap; gaps first. The first thing heard is the gap of having subscribed.
    pub(crate) async fn heard(&self) -> Heard {
        loop {
            if let Some(heard) = self.ear.take() {
                return heard;
            }
            self.ear.news.notified().await;
        }
    }

    /// Completes when anything was heard or may have been missed since the last time; forgets what the messages said.
    pub(crate) async fn changed(&self) {
        self.heard().await;
        let mut queue = self.ear.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.messages.clear();
        queue.gap = false;
    }

    /// Whether the subscription stands at the moment.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.ear.queue.lock().unwrap_or_else(PoisonError::into_inner).subscribed
    }
}

/// The life of a subscription, without an end.
async fn attend(ear: Arc<Ear>, station: Station, channel: Vec<u8>, options: Arc<RedisOptions>) {
    let mut backoff = Backoff::default();
    let mut attempt = 0;
    loop {
        let began = Instant::now();
        if let Err(error) = listen(&ear, &station, &channel, attempt, &options).await {
            tracing::debug!(%error, "a subscription to Redis ended; another is being made");
        }
        ear.gap(false);
        station.doubt();
        attempt += 1;
        if began.elapsed() >= SOUND {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Subscribes, and stays until it is over.
async fn listen(
    ear: &Arc<Ear>,
    station: &Station,
    channel: &[u8],
    attempt: usize,
    options: &RedisOptions,
) -> Result<(), RedisError> {
    let (address, sharded, role) = station.find(channel, attempt, options).await?;
    let end = Arc::new(Notify::new());
    let (on_end, on_message) = (Arc::clone(&end), Arc::clone(ear));
    let pushed = move |info: PushInfo| match info.kind {
        // Unsubscribed without having asked: the channel now lives elsewhere.
        PushKind::Disconnection | PushKind::Unsubscribe | PushKind::SUnsubscribe => on_end.notify_one(),
        PushKind::Message | PushKind::SMessage => match info.data.into_iter().nth(1) {
            Some(Value::BulkString(message)) => on_message.message(message),
            _ => on_end.notify_one(),
        },
        _ => {}
    };
    let mut connection = dial(options, &address, role, pushed).await?;
    let mut cmd = redis::cmd(if sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" });
    cmd.arg(channel);
    let deadline = options.connect_deadline();
    let answer = tokio::time::timeout(deadline, connection.send_packed_command(&cmd)).await;
    reply::of(answer.map_err(|_| RedisError::late(deadline))?)?;
    // What was published before this moment was missed.
    ear.gap(true);
    loop {
        tokio::select! {
            () = end.notified() => return Err(RedisError::unsent(format!("{address}: the subscription ended"))),
            () = tokio::time::sleep(BEAT) => {}
        }
        if !is_alive(&mut connection, &end, options.silence()).await {
            return Err(RedisError::unsent(format!("{address}: silent")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ear, Heard, QUEUE};

    #[test]
    fn more_than_can_be_kept_is_a_gap_and_what_was_kept_is_heard_after_it() {
        let ear = Ear::default();
        for n in 0..QUEUE + 10 {
            ear.message(n.to_be_bytes().to_vec());
        }
        assert_eq!(ear.take(), Some(Heard::Gap));
        for n in 0..QUEUE {
            assert_eq!(ear.take(), Some(Heard::Message(n.to_be_bytes().to_vec())));
        }
        assert_eq!(ear.take(), None);
        ear.gap(true);
        ear.gap(true);
        assert_eq!((ear.take(), ear.take()), (Some(Heard::Gap), None), "said once");
    }
}
