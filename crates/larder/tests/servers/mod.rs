//! Servers that the tests of one binary share, each started when it is first asked for, and namespaces of their own for
//! each test, since what is shared is not empty.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod node;

use larder::Cause;
use larder::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder::redis::{Redis, RedisOptions};
use larder_core::{Act, Attendance, Epoch, Link, NodeId, Target};
use larder_rig::{Cluster, Flavour, Sentinel, Server};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A single server of this flavour; `None` where it is not installed.
pub fn single(flavour: Flavour) -> Option<&'static Server> {
    static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
    Flavour::installed()
        .contains(&flavour)
        .then(|| SERVERS[flavour as usize].get_or_init(|| Server::start(flavour).expect("a server")))
}

/// A cluster of what is installed last.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let newest = || Flavour::installed().pop();
    CLUSTER.get_or_init(|| newest().map(|flavour| Cluster::start(flavour).expect("a cluster"))).as_ref()
}

/// Two servers and three Sentinels of what is installed first.
pub fn sentinel() -> Option<&'static Sentinel> {
    static SENTINEL: OnceLock<Option<Sentinel>> = OnceLock::new();
    let oldest = || Flavour::installed().into_iter().next();
    SENTINEL.get_or_init(|| oldest().map(|flavour| Sentinel::start(flavour).expect("Sentinels"))).as_ref()
}

/// Connections that are patient with a busy machine.
pub async fn patient(url: &str, deadline: Duration) -> Redis {
    Redis::connect_with(RedisOptions::parse(url).expect("a good URL").deadline(deadline)).await
}

/// The same, from a function that is not async inside of a test that is.
pub fn connected(options: RedisOptions) -> Redis {
    let connecting = Redis::connect_with(options.deadline(PATIENCE));
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(connecting))
}

/// How long something that happens by itself may take before a test calls it lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that happens by itself, and looks again every other millisecond.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut pace = pace(Duration::from_millis(2));
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        pace.tick().await;
    }
}

/// The rhythm of what is done again and again while something else happens.
pub fn pace(every: Duration) -> tokio::time::Interval {
    let mut pace = tokio::time::interval(every);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pace
}

/// A word that no other test has.
pub fn own_word() -> String {
    static WORDS: AtomicU64 = AtomicU64::new(0);
    format!("t{}", WORDS.fetch_add(1, Ordering::Relaxed))
}

/// A journal whose namespaces are another's with a word before them.
pub struct Prefixed<J>(pub Arc<J>, pub Arc<str>);

impl<J: Journal> Prefixed<J> {
    fn name(&self, namespace: &str) -> String {
        format!("{} {namespace}", self.1)
    }
}

impl<J: Journal> Journal for Prefixed<J> {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move { self.0.history(&self.name(namespace)).await })
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move { self.0.read(&self.name(namespace), after, limit).await })
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move { self.0.record(&self.name(namespace), act, targets, cause).await })
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.0.roll(&self.name(namespace), seen).await })
    }

    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move { self.0.changed(&self.name(namespace)).await })
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn attend<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.0.attend(&self.name(namespace), node, applied, lasts).await })
    }

    fn attendance<'a>(
        &'a self,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(async move { self.0.attendance(&self.name(namespace)).await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}
