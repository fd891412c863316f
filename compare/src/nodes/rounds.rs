//! The rounds, the same for each engine: a write to the origin and its invalidation on node B, while node A is loading, or
//! is cut off, or Redis dies; a cold key under load; a cold read without Redis.
//!
//! Many keys share one fault: they are as many rounds, each judged by itself. A round counts as stale when a read that
//! begins after the invalidation, and after the time that the engine is given to hear of it, returns the older value.

use super::stage::Origin;
use super::{Effort, Node, Row};
use crate::Failure;
use crate::output::progress;
use crate::stats::{rounded, share};
use larder_rig::{Flavour, Server};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long after the invalidation a node is read: longer than Larder's default bound of 1 s.
const BOUND: Duration = Duration::from_millis(1100);
/// Longer than the rival takes to connect again.
const RECONNECTED: Duration = Duration::from_secs(7);
/// Readers of a cold key on each node.
const READERS: usize = 200;

/// Two nodes on one server, and the keys used so far.
struct Play<N> {
    engine: &'static str,
    server: Server,
    a: Arc<N>,
    b: Arc<N>,
    next_key: u64,
}

/// Everything, for one engine.
pub(crate) async fn all<N: Node>(
    engine: &'static str,
    flavour: Flavour,
    effort: Effort,
    deadline: Option<Duration>,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut play = Play::<N>::new(engine, flavour).await?;
    rows.extend(play.invalidated_while_loading(effort).await?);
    rows.push(play.cold_key(effort).await?);
    rows.extend(play.subscription_cut(effort).await?);
    rows.extend(play.restarted_empty(effort).await?);
    rows.push(play.without_redis("redis-dead", deadline, Server::kill, Server::restart).await?);
    let resume = |server: &Server| {
        server.resume();
        Ok(())
    };
    rows.push(play.without_redis("redis-frozen", deadline, Server::pause, resume).await?);
    Ok(rows)
}

impl<N: Node> Play<N> {
    async fn new(engine: &'static str, flavour: Flavour) -> Result<Self, Failure> {
        let server = tokio::task::spawn_blocking(move || Server::start(flavour)).await??;
        let (a, b) = (N::start(&server.url()).await?, N::start(&server.url()).await?);
        let mut play = Play { engine, server, a: Arc::new(a), b: Arc::new(b), next_key: 0 };
        // Subscriptions are made in the background.
        tokio::time::sleep(Duration::from_secs(1)).await;
        play.control().await?;
        Ok(play)
    }

    fn keys(&mut self, n: u32) -> Vec<(u64, Origin)> {
        let first = self.next_key;
        self.next_key += u64::from(n);
        (first..self.next_key).map(|key| (key, Origin::default())).collect()
    }

    fn say(&self, what: &str) {
        progress(&format!("race-nodes: {}: {what}", self.engine));
    }

    /// An engine that keeps nothing, or never hears of anything, must not look clean, or dirty.
    async fn control(&mut self) -> Result<(), Failure> {
        let (key, origin) = self.keys(1).remove(0);
        let wrong = |what: &str| -> Failure { format!("{}: {what}", self.engine).into() };
        self.a.read(key, origin.load()).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.b.read(key, origin.load()).await?;
        self.a.read(key, origin.load()).await?;
        if origin.loads() != 1 {
            return Err(wrong("what was loaded on one node is not a hit on both"));
        }
        origin.write();
        self.b.invalidate(key).await?;
        tokio::time::sleep(BOUND).await;
        if self.a.read(key, origin.load()).await? != origin.version() {
            return Err(wrong("an invalidation without any fault is not heard of"));
        }
        Ok(())
    }

    /// Reads keys on a node; how many are older than the origin.
    async fn stale(node: &Arc<N>, keys: &[(u64, Origin)]) -> Result<u32, Failure> {
        let mut stale = 0;
        for (key, origin) in keys {
            stale += u32::from(node.read(*key, origin.load()).await? < origin.version());
        }
        Ok(stale)
    }

    fn row(&self, round: &'static str, node: &'static str, stale: u32, rounds: u32) -> Result<Row, Failure> {
        let stale_share = share(stale, rounds).ok_or("no rounds were asked for")?;
        Ok(Row::Stale { engine: self.engine, round, node, rounds, stale_share })
    }

    /// A loads and has read the origin; the origin is written and B invalidates; A's load ends.
    async fn invalidated_while_loading(&mut self, effort: Effort) -> Result<Vec<Row>, Failure> {
        self.say("invalidated on B while A loads");
        let keys = self.keys(effort.rounds);
        for (key, origin) in &keys {
            let (load, mut hold) = origin.held_load();
            let (a, key) = (self.a.clone(), *key);
            let reading = tokio::spawn(async move { a.read(key, load).await });
            hold.reached().await;
            origin.write();
            self.b.invalidate(key).await?;
            // The load goes on for longer than it takes A to hear of it.
            tokio::time::sleep(Duration::from_millis(10)).await;
            hold.release();
            reading.await??;
        }
        tokio::time::sleep(BOUND).await;
        let (a, b) = (Self::stale(&self.a, &keys).await?, Self::stale(&self.b, &keys).await?);
        let round = "invalidated-while-loading";
        Ok(vec![self.row(round, "a", a, effort.rounds)?, self.row(round, "b", b, effort.rounds)?])
    }

    /// A hundred keys, one after the other, each asked for by all readers of both nodes at once.
    async fn cold_key(&mut self, effort: Effort) -> Result<Row, Failure> {
        self.say("a cold key under load");
        let keys = self.keys(effort.rounds);
        for (key, origin) in &keys {
            let gate = Arc::new(Semaphore::new(0));
            let readers: Vec<_> = (0..2 * READERS)
                .map(|n| {
                    let node = if n % 2 == 0 { self.a.clone() } else { self.b.clone() };
                    let (key, load) = (*key, origin.gated_load(&gate));
                    tokio::spawn(async move { node.read(key, load).await })
                })
                .collect();
            // Long enough for everybody to have found nothing.
            tokio::time::sleep(Duration::from_millis(20)).await;
            gate.add_permits(2 * READERS);
            for reader in readers {
                reader.await??;
            }
        }
        let loads: Vec<u32> = keys.iter().map(|(_, origin)| origin.loads()).collect();
        let loads_mean = f64::from(loads.iter().sum::<u32>()) / f64::from(effort.rounds);
        Ok(Row::Loads {
            engine: self.engine,
            round: "cold-key",
            nodes: 2,
            readers: 2 * READERS,
            rounds: effort.rounds,
            loads_most: loads.iter().copied().max().unwrap_or(0),
            loads_mean: rounded(loads_mean, 2),
        })
    }

    async fn warm(&self, keys: &[(u64, Origin)]) -> Result<(), Failure> {
        for (key, origin) in keys {
            self.a.read(*key, origin.load()).await?;
        }
        // What is on its way to Redis arrives.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (key, origin) in keys {
            self.b.read(*key, origin.load()).await?;
        }
        Ok(())
    }

    /// Every subscription is cut again and again while B invalidates what both nodes hold.
    async fn subscription_cut(&mut self, effort: Effort) -> Result<Vec<Row>, Failure> {
        let per_fault = effort.rounds / effort.faults;
        let (mut soon, mut late) = (0, 0);
        for fault in 0..effort.faults {
            self.say(&format!("subscription cut, {} of {}", fault + 1, effort.faults));
            let keys = self.keys(per_fault);
            self.warm(&keys).await?;
            let mut connection = self.server.connection()?;
            let mut cut = move || connection.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).map(|_| ());
            cut()?;
            for (key, origin) in &keys {
                origin.write();
                cut()?;
                self.b.invalidate(*key).await?;
            }
            cut()?;
            tokio::time::sleep(BOUND).await;
            soon += Self::stale(&self.a, &keys).await?;
            tokio::time::sleep(RECONNECTED - BOUND).await;
            late += Self::stale(&self.a, &keys).await?;
        }
        let rounds = per_fault * effort.faults;
        Ok(vec![
            self.row("subscription-cut", "a", soon, rounds)?,
            self.row("subscription-cut-and-back", "a", late, rounds)?,
        ])
    }

    /// Redis dies, B invalidates what both nodes hold, Redis comes back with nothing in it.
    async fn restarted_empty(&mut self, effort: Effort) -> Result<Vec<Row>, Failure> {
        let per_fault = effort.rounds / effort.faults;
        let (mut at_a, mut at_b) = (0, 0);
        for fault in 0..effort.faults {
            self.say(&format!("restarted empty, {} of {}", fault + 1, effort.faults));
            let keys = self.keys(per_fault);
            self.warm(&keys).await?;
            self.server.kill();
            let invalidations: Vec<_> = keys
                .iter()
                .map(|(key, origin)| {
                    origin.write();
                    let (b, key) = (self.b.clone(), *key);
                    tokio::spawn(async move { b.invalidate(key).await })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.server.restart_empty()?;
            for invalidation in invalidations {
                // An engine may say that it could not: what counts is what is served in the end.
                let _ = invalidation.await?;
            }
            tokio::time::sleep(RECONNECTED).await;
            at_a += Self::stale(&self.a, &keys).await?;
            at_b += Self::stale(&self.b, &keys).await?;
        }
        let rounds = per_fault * effort.faults;
        Ok(vec![
            self.row("restarted-empty", "a", at_a, rounds)?,
            self.row("restarted-empty", "b", at_b, rounds)?,
        ])
    }

    /// Two reads of cold keys, one after the other, without Redis.
    async fn without_redis(
        &mut self,
        round: &'static str,
        deadline: Option<Duration>,
        end: impl FnOnce(&Server),
        begin: impl FnOnce(&Server) -> Result<(), larder_rig::Error>,
    ) -> Result<Row, Failure> {
        self.say(round);
        end(&self.server);
        let mut took = [0.0; 2];
        for (place, (key, origin)) in self.keys(2).into_iter().enumerate() {
            let began = Instant::now();
            // Minutes, in which anybody would have given up.
            let read = tokio::time::timeout(Duration::from_secs(120), self.a.read(key, origin.load())).await;
            took[place] = rounded(began.elapsed().as_secs_f64() * 1000.0, 1);
            if !matches!(read, Ok(Ok(_))) {
                progress(&format!("race-nodes: {}: {round}: the read failed", self.engine));
            }
        }
        begin(&self.server)?;
        tokio::time::sleep(RECONNECTED).await;
        let [first_ms, second_ms] = took;
        let deadline_ms = deadline.map(|deadline| deadline.as_secs_f64() * 1000.0);
        Ok(Row::Read { engine: self.engine, round, first_ms, second_ms, deadline_ms })
    }
}
